"""Open a corpus: its rows, its images and its search, in Parquet files or in a store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Floats
from .._closing import Closing
from .._extras import require
from ..errors import ConfigError, InputError
from ..inputs.images import ImageInput, LoadedImage, load_image
from ..inputs.policy import MediaPolicy
from .destinations import place_of
from .journal import MANIFEST, Journal
from .names import unescape
from .parquet_parts import MULTI_VECTOR
from .parquet_search import ParquetRows
from .pdf import Pdf
from .stored import Query, Row, RowStore
from .walking import IMAGES, PDF

__all__ = ["Corpus", "Row", "open_corpus"]


def open_corpus(corpus: str | os.PathLike[str], *, journal: str | os.PathLike[str] | None = None) -> Corpus:
    """Return a corpus that ``embed_corpus`` wrote; nothing but its journal is read.

    Args:
        corpus: What ``embed_corpus`` was given as ``out``: a folder, or the name of a table.
        journal: Folder of a table's journal, where ``embed_corpus`` was given one.

    Raises:
        ConfigError: There is none, or a part is missing or was cut; names it.
        WriteError: The store does not answer.
        MissingExtraError: The library of the store, or pyarrow, is not installed.
    """
    require("corpus", "pyarrow")
    place = place_of(corpus, journal)
    found = Journal(place.folder)
    manifest = found.manifest()
    if manifest is None:
        missing = f"{str(place.folder)!r} is not a corpus: it has no {MANIFEST}"
        raise ConfigError(f"{missing}. Make it: vllm-jina-embed embed SOURCE --out {os.fspath(corpus)}")
    table = manifest["items"].get("out")
    if place.table is None and table:
        raise ConfigError(f"{str(corpus)!r} is the journal of {table}: open that.")
    if place.table is not None and not table:
        raise ConfigError(f"{str(place.folder)!r} is not the journal of {os.fspath(corpus)!r}, but a corpus itself.")
    records = [found.done(number) or {} for number in found.numbers()]
    count = sum(int(record.get("rows", 0)) for record in records)
    if place.read is None:
        store: RowStore = ParquetRows(_parts(place.folder, found), manifest["vectors"], count)
    else:
        store = place.read(manifest)
        _check_count(store, count, os.fspath(corpus))
    return Corpus(folder=place.folder, manifest=manifest, count=count, store=store)


def _parts(folder: Path, journal: Journal) -> list[Path]:
    """Return the files of the shards that are done."""
    parts: list[Path] = []
    for number in journal.numbers():
        record = journal.done(number) or {}
        part = folder / f"part-{number:05d}.parquet"
        size = part.stat().st_size if part.exists() else 0
        if size != record.get("bytes"):
            raise ConfigError(
                f"{str(part)!r} has {size} bytes; expected {record.get('bytes')}. Run the command embed again: it "
                "computes this shard anew."
            )
        parts += [part] if size else []
    return parts


def _check_count(store: RowStore, count: int, name: str) -> None:
    """Check that the rows of the shards that are done are there; those of one that is not may be too."""
    try:
        there = store.count()
        if there < count:
            raise ConfigError(
                f"{name!r} has {there} rows; expected {count}. Run the command embed again: it computes the shards "
                "anew that lost some."
            )
    except BaseException:
        store.close()
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus(Closing):
    """A corpus, of which only what a call needs is read.

    Attributes:
        folder: Of its journal; that of the files.
        manifest: What it was made with.
        count: Number of its rows.
        store: Where the rows are. An embedded Qdrant is open for this process alone until ``close``.
    """

    folder: Path
    manifest: Mapping[str, Any]
    count: int
    store: RowStore

    @property
    def parts(self) -> tuple[Path, ...]:
        """The Parquet files; none in a store."""
        return self.store.parts if isinstance(self.store, ParquetRows) else ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that its vectors were made with."""
        found: Mapping[str, Any] = self.manifest["vectors"]
        return found

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.count

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows without their vectors; of files in the order of the corpus."""
        return self.store.rows()

    def embeddings(self) -> Iterator[Floats]:
        """Yield the embeddings of each row group, float32 ``(n, dimensions)``, in the order of the rows.

        Of float32 they are the file's own numbers, not copied again; int8 and binary become about what they were.

        Raises:
            ConfigError: The corpus has none, or is not in Parquet.
        """
        self._dimensions()
        if not isinstance(self.store, ParquetRows):
            raise ConfigError(f"the corpus {str(self.folder)!r} is in a store: read its vectors by the store's client.")
        return self.store.embeddings()

    def search(
        self,
        embedding: Floats | None = None,
        *,
        multi_vector: Floats | None = None,
        count: int = 10,
        candidates: int | None = None,
    ) -> list[Row]:
        """Return the rows that answer a query best, best first: every vector is compared, in constant memory.

        A Chroma collection is asked by its index, which is approximate.

        Args:
            embedding: Of the query, ``(dimensions,)``; the score is the cosine.
            multi_vector: Of the query, ``(n_tokens, token_dimensions)``; the score is MaxSim.
            count: How many rows.
            candidates: With both: how many rows the embedding selects, which MaxSim ranks; None takes ten times
                ``count``, at least 100.

        Raises:
            InputError: Neither is passed, or the query has another length or is not finite.
            ConfigError: The corpus has no vectors of a kind that is passed.
            WriteError: The store does not answer.
        """
        if embedding is None and multi_vector is None:
            raise InputError("got neither an embedding nor a multi-vector to search by.")
        query = Query(
            embedding=None if embedding is None else self._embedding(embedding),
            multi_vector=None if multi_vector is None else self._tokens(multi_vector),
            count=count,
            candidates=max(count, candidates or max(100, 10 * count)),
        )
        return self.store.nearest(query) if self.count else []

    def image(self, row: Row, *, media: MediaPolicy | None = None) -> LoadedImage | None:
        """Return the image of a row: the kept one, or the file or page that it came from; None for a text.

        Raises:
            InputError: The file is gone or cannot be opened, or it was a table's and was not kept.
        """
        media = media or MediaPolicy()
        if row.kind == "text":
            return None
        if row.image is not None:
            return load_image(row.image, media)
        items = self.manifest["items"]
        for source in items["sources"]:
            name = row.source.removeprefix(source["prefix"])
            root = Path(unescape(source["root"])).resolve()
            path = (root / unescape(name)).resolve()
            if not (row.source.startswith(source["prefix"]) and path.is_relative_to(root) and path.is_file()):
                continue  # the file is gone, of another source, or outside of what was embedded
            if path.suffix.lower() == PDF and row.page is not None:
                with Pdf(path, extra="corpus") as pdf:
                    return LoadedImage(pixels=pdf.image(row.page, dpi=items["dpi"], longest=4000))
            if path.suffix.lower() in IMAGES:
                return load_image(path, media)
        raise InputError(
            f"{row.id}: its image is not in the corpus, and its file is not there. Embed with --keep image."
        )

    def image_input(self, row: Row, *, media: MediaPolicy | None = None) -> ImageInput | None:
        """Return what opens the image of a row: a path, a file's bytes or a page's pixels; None for a text.

        Raises:
            InputError: As ``image``.
        """
        loaded = self.image(row, media=media)
        return None if loaded is None else loaded.path or loaded.data or loaded.pixels

    def _dimensions(self) -> int:
        if (dimensions := self.settings["dimensions"]) is None:
            raise ConfigError(f"the corpus {str(self.folder)!r} has multi-vectors alone.")
        return int(dimensions)

    def _embedding(self, query: Floats) -> Floats:
        query = np.asarray(query, dtype=np.float32)
        if query.shape != (self._dimensions(),) or not np.isfinite(query).all():
            raise InputError(f"got a query of shape {query.shape}; expected {(self._dimensions(),)} finite numbers.")
        return query / np.float32(max(1e-12, float(np.linalg.norm(query))))

    def _tokens(self, query: Floats) -> Floats:
        query = np.asarray(query, dtype=np.float32)
        if (length := self.settings["token_dimensions"]) is None:
            raise ConfigError(f"the corpus {str(self.folder)!r} has no column {MULTI_VECTOR!r}: it was made without.")
        if query.ndim != 2 or query.shape[1] != length or not np.isfinite(query).all():
            raise InputError(f"got a query of shape {query.shape}; expected finite numbers (n_tokens, {length}).")
        return query
