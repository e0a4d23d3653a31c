"""Open a corpus in Parquet: its rows, its images, and an exact search."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Floats
from .._extras import require
from ..errors import ConfigError, InputError
from ..inputs.images import ImageInput, LoadedImage, load_image
from ..inputs.policy import MediaPolicy
from .journal import MANIFEST, Journal
from .names import unescape
from .parquet_parts import BITS, EMBEDDING, MULTI_VECTOR
from .pdf import Pdf
from .places import Placed, best_of, floats_of
from .walking import IMAGES, PDF

VECTORS = (EMBEDDING, BITS, MULTI_VECTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An item of a corpus.

    Attributes:
        id: Its id.
        source: Its file, as ``names.escape`` writes it.
        page: Number of the page of a PDF, from 1.
        kind: ``text``, ``image`` or ``both``.
        text: Its text, where the corpus keeps it; empty elsewhere.
        image: Its image as a file, where the corpus keeps it.
        kept: The kept columns.
        score: How well it answers the query of a search: a cosine, or MaxSim.
    """

    id: str
    source: str
    page: int | None = None
    kind: str = "text"
    text: str = ""
    image: bytes | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)
    score: float | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """What a framework's document holds beside the content: flat, and without None."""
        named = {"source": self.source, "page": self.page, "kind": self.kind, **self.kept}
        return {name: value for name, value in named.items() if value is not None}


def open_corpus(folder: str | os.PathLike[str]) -> Corpus:
    """Return a corpus that ``embed_corpus`` wrote; nothing but its journal is read.

    Raises:
        ConfigError: There is none, or a part is missing or was cut; names it.
        MissingExtraError: pyarrow is not installed.
    """
    require("corpus", "pyarrow")
    path = Path(folder).expanduser().absolute()
    journal = Journal(path)
    manifest = journal.manifest()
    if manifest is None:
        raise ConfigError(f"{str(folder)!r} is not a corpus: it has no {MANIFEST}. Make it: vllm-jina-embed embed")
    if table := manifest["items"].get("out"):
        raise ConfigError(f"{str(folder)!r} is the journal of {table}: open that with the store's own client.")
    parts: list[Path] = []
    count = 0
    for number in journal.numbers():
        record = journal.done(number) or {}
        part = path / f"part-{number:05d}.parquet"
        size = part.stat().st_size if part.exists() else 0
        if size != record.get("bytes"):
            raise ConfigError(
                f"{str(part)!r} has {size} bytes; expected {record.get('bytes')}. Run the command embed again: it "
                "computes this shard anew."
            )
        count += int(record.get("rows", 0))
        parts += [part] if size else []
    return Corpus(folder=path, manifest=manifest, parts=tuple(parts), count=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A corpus in Parquet, of which only what a call needs is read.

    Attributes:
        folder: Where it is.
        manifest: What it was made with.
        parts: The files of the shards that are done.
        count: Number of its rows.
    """

    folder: Path
    manifest: Mapping[str, Any]
    parts: tuple[Path, ...]
    count: int

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that its vectors were made with."""
        found: Mapping[str, Any] = self.manifest["vectors"]
        return found

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.count

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows without their vectors, in the order of the corpus."""
        import pyarrow.parquet as pq

        for part in self.parts:
            file = pq.ParquetFile(part)
            names = self._plain(file)
            for group in range(file.num_row_groups):
                yield from map(_row, file.read_row_group(group, columns=names).to_pylist())

    def embeddings(self) -> Iterator[Floats]:
        """Yield the embeddings of each row group, float32 ``(n, dimensions)``, in the order of the rows.

        Of float32 they are the file's own numbers, not copied again; int8 and binary become about what they were.

        Raises:
            ConfigError: The corpus has none.
        """
        for _, _, rows in self._embeddings():
            yield rows

    def search(
        self,
        embedding: Floats | None = None,
        *,
        multi_vector: Floats | None = None,
        count: int = 10,
        candidates: int | None = None,
    ) -> list[Row]:
        """Return the rows that answer a query best, best first: every vector is compared, in constant memory.

        Args:
            embedding: Of the query, ``(dimensions,)``; the score is the cosine.
            multi_vector: Of the query, ``(n_tokens, token_dimensions)``; the score is MaxSim.
            count: How many rows.
            candidates: With both: how many rows the embedding selects, which MaxSim ranks; None takes ten times
                ``count``, at least 100.

        Raises:
            InputError: Neither is passed, or the query has another length or is not finite.
            ConfigError: The corpus has no vectors of a kind that is passed.
        """
        if embedding is None and multi_vector is None:
            raise InputError("got neither an embedding nor a multi-vector to search by.")
        if embedding is None:
            assert multi_vector is not None
            return self._rows(self._by_tokens(multi_vector, None, count))
        most = count if multi_vector is None else candidates or max(100, 10 * count)
        found = self._by_embedding(embedding, most)
        if multi_vector is not None:
            found = self._by_tokens(multi_vector, {place for _, place in found}, count)
        return self._rows(found)

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
            path = Path(unescape(source["root"]), unescape(name))
            if not row.source.startswith(source["prefix"]) or not path.is_file():
                continue
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

    # --- how --------------------------------------------------------------------------------------------------------

    def _plain(self, file: Any) -> list[str]:
        return [name for name in file.schema_arrow.names if name not in VECTORS]

    def _groups(self, column: str) -> Iterator[tuple[int, int, Any]]:
        """Yield the number of each part and row group, and a column of it as one array."""
        import pyarrow.parquet as pq

        for number, part in enumerate(self.parts):
            file = pq.ParquetFile(part)
            if column not in file.schema_arrow.names:
                raise ConfigError(f"the corpus {str(self.folder)!r} has no column {column!r}: it was made without.")
            for group in range(file.num_row_groups):
                yield number, group, file.read_row_group(group, columns=[column]).column(0).combine_chunks()

    def _embeddings(self) -> Iterator[tuple[int, int, Floats]]:
        dtype, dimensions = self.settings["dtype"], self._dimensions()
        for number, group, column in self._groups(BITS if dtype == "binary" else EMBEDDING):
            numbers = column.flatten().to_numpy(zero_copy_only=True).reshape(len(column), -1)
            yield number, group, floats_of(numbers, dtype, dimensions)

    def _dimensions(self) -> int:
        if (dimensions := self.settings["dimensions"]) is None:
            raise ConfigError(f"the corpus {str(self.folder)!r} has multi-vectors alone.")
        return int(dimensions)

    def _by_embedding(self, query: Floats, count: int) -> list[Placed]:
        query = np.asarray(query, dtype=np.float32)
        if query.shape != (self._dimensions(),) or not np.isfinite(query).all():
            raise InputError(f"got a query of shape {query.shape}; expected {(self._dimensions(),)} finite numbers.")
        query = query / max(1e-12, float(np.linalg.norm(query)))
        has_unit_rows = self.settings["normalize"] and self.settings["dtype"] in ("float32", "float16")
        best: list[Placed] = []
        for number, group, rows in self._embeddings():
            scores = rows @ query
            if not has_unit_rows:
                scores = scores / np.maximum(1e-12, np.linalg.norm(rows, axis=1))
            best = best_of(best, scores, number, group, count)
        return best

    def _by_tokens(self, query: Floats, among: set[tuple[int, int, int]] | None, count: int) -> list[Placed]:
        from ..scoring.maxsim import maxsim

        query = np.asarray(query, dtype=np.float32)
        best: list[Placed] = []
        for number, group, column in self._groups(MULTI_VECTOR):
            chosen = [at for at in range(len(column)) if among is None or (number, group, at) in among]
            if not chosen:
                continue
            tokens = column.flatten()
            length = tokens.type.list_size
            if query.ndim != 2 or query.shape[1] != length or not np.isfinite(query).all():
                raise InputError(f"got a query of shape {query.shape}; expected finite numbers (n_tokens, {length}).")
            numbers = tokens.flatten().to_numpy(zero_copy_only=True).reshape(-1, length)
            ends = np.asarray(column.offsets) - int(column.offsets[0].as_py())
            items = [numbers[ends[at] : ends[at + 1]].astype(np.float32) for at in chosen]
            best = best_of(best, maxsim([query], items)[0], number, group, count, chosen)
        return best

    def _rows(self, found: list[Placed]) -> list[Row]:
        """Return the rows at these places, each row group read once."""
        import pyarrow.parquet as pq

        rows: dict[tuple[int, int, int], dict[str, Any]] = {}
        for number, group in sorted({place[:2] for _, place in found}):
            file = pq.ParquetFile(self.parts[number])
            table = file.read_row_group(group, columns=self._plain(file))
            for _, place in found:
                if place[:2] == (number, group):
                    (rows[place],) = table.slice(place[2], 1).to_pylist()
        return [_row(rows[place], score) for score, place in found]


def _row(values: Mapping[str, Any], score: float | None = None) -> Row:
    known = {"id", "source", "page", "kind", "text", "image"}
    return Row(
        id=values["id"],
        source=values["source"],
        page=values["page"],
        kind=values["kind"],
        text=values.get("text") or "",
        image=values.get("image"),
        kept={name: value for name, value in values.items() if name not in known},
        score=score,
    )
