"""An index on disk: places with their embeddings, in files that anything can read.

    index.json      what the embeddings were computed with
    places.jsonl    one place per line: id, source, page, text, picture (a path below), rows (of the embeddings)
    embeddings.npy  float32 (rows, dimension): a place's picture and the pieces of its text, a row each
    pictures/       the pictures, encoded as they were found; pages of PDFs as JPEG

Enters: places, or a question's embedding. Leaves: ranked places. All embedding is ``JinaEmbedder``'s.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..inputs import EmbedInput
from ..pooling import Floats
from .reading import Place, chunks

FORMAT = 1
FACTS, PLACES, EMBEDDINGS, PICTURES = "index.json", "places.jsonl", "embeddings.npy", "pictures"
SETTINGS = ("model", "revision", "task", "dimensions", "min_pixels", "max_pixels")
"""What decides an embedding beside the weights; kept with the index, so that questions are embedded alike."""
SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A place of an index.

    Attributes:
        id: As in ``Place``; so are ``source``, ``page`` and ``text``.
        picture: Path of its picture in the index.
        rows: First row of its embeddings, and one past the last.
    """

    id: str
    source: str
    page: int | None
    text: str
    picture: str | None
    rows: tuple[int, int]

    @property
    def citation(self) -> str:
        """Where it comes from, for people."""
        return self.source if self.page is None else f"{self.source}, page {self.page}"


def build(places: Iterable[Place], folder: Path, embedder: Any) -> int:
    """Write an index and return its number of places; one that is there is replaced once the new one is whole.

    Raises:
        ConfigError: ``folder`` is there and is no index, or there is nothing to put into one.
    """
    if folder.exists() and not (folder / FACTS).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{str(folder)!r} exists and is no index; give the path of a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        new = Path(temporary) / "new"
        count = _write(places, new, embedder)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        new.rename(folder)
    return count


def _write(places: Iterable[Place], folder: Path, embedder: Any) -> int:
    (folder / PICTURES).mkdir(parents=True)
    entries: list[Entry] = []
    embeddings = list(embedder.embed_stream(_inputs(places, folder, entries)))
    if not embeddings:
        raise ConfigError("there is no picture, text or PDF to index.")
    np.save(folder / EMBEDDINGS, np.stack(embeddings), allow_pickle=False)
    with (folder / PLACES).open("w", encoding="utf-8") as file:
        for entry in entries:
            known = {name: getattr(entry, name) for name in Entry.__dataclass_fields__}
            file.write(json.dumps(known, ensure_ascii=False) + "\n")
    facts = {"format": FORMAT, **_settings(embedder)}
    (folder / FACTS).write_text(json.dumps(facts, indent=2), encoding="utf-8")
    return len(entries)


def _inputs(places: Iterable[Place], folder: Path, entries: list[Entry]) -> Iterator[EmbedInput]:
    """Yield what is embedded of each place, its picture before its text, and note the places."""
    row = 0
    for place in places:
        picture = None
        first = row
        if place.picture is not None:
            data, kind = place.picture
            picture = f"{PICTURES}/{len(entries):06d}{SUFFIXES.get(kind, '')}"
            (folder / picture).write_bytes(data)
            yield data
            row += 1
        for _, _, text in chunks(place.text):
            yield text
            row += 1
        if row > first:
            entries.append(
                Entry(
                    id=place.id,
                    source=place.source,
                    page=place.page,
                    text=place.text,
                    picture=picture,
                    rows=(first, row),
                )
            )


def _settings(embedder: Any) -> dict[str, Any]:
    engine = embedder.settings.engine
    return {
        "model": embedder.model,
        "revision": engine.revision,
        "task": embedder.task,
        "dimensions": embedder.dimension,
        "min_pixels": engine.min_pixels,
        "max_pixels": engine.max_pixels,
    }


class Index:
    """An index that was built, in memory but for its pictures."""

    def __init__(self, folder: Path) -> None:
        """Read it.

        Raises:
            ConfigError: There is none, or it is broken or of another version.
        """
        self.folder = folder.resolve()
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            lines = (folder / PLACES).read_text(encoding="utf-8").split("\n")
            self.entries = [_entry(json.loads(line)) for line in lines if line]
            self._embeddings: Floats = np.load(folder / EMBEDDINGS, allow_pickle=False)
            self.settings: Mapping[str, Any] = {name: facts[name] for name in SETTINGS}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{str(folder)!r} is no index that can be read ({error}). Make one: vllm-jina-embed index FOLDER INDEX"
            ) from None
        if facts.get("format") != FORMAT or self._shape != (self.entries[-1].rows[1], self.settings["dimensions"]):
            raise ConfigError(f"{str(folder)!r} was written by another version, or not to its end. Index it anew.")
        self._owner = np.repeat(np.arange(len(self.entries)), [last - first for first, last in self._rows])
        self._by_id = {entry.id: number for number, entry in enumerate(self.entries)}

    def search(self, question: Floats, count: int) -> list[tuple[Entry, float]]:
        """Return the places nearest to an embedding ``(dimension,)`` with their cosines, best first.

        A place counts by the best of its picture and the pieces of its text.
        """
        scores = np.full(len(self.entries), -np.inf, dtype=np.float32)
        np.maximum.at(scores, self._owner, self._embeddings @ question)
        best = np.argsort(-scores, kind="stable")[:count]
        return [(self.entries[number], float(scores[number])) for number in best]

    def get(self, name: str) -> Entry | None:
        """Return the place of that id, or None."""
        number = self._by_id.get(name)
        return None if number is None else self.entries[number]

    def neighbours(self, entry: Entry) -> tuple[Entry | None, Entry | None]:
        """Return the places before and after one in the same file."""
        number = self._by_id[entry.id]
        before, after = self.entries[max(0, number - 1)], self.entries[min(len(self.entries) - 1, number + 1)]
        return tuple(  # type: ignore[return-value]
            other if other is not entry and other.source == entry.source else None for other in (before, after)
        )

    def embedding(self, entry: Entry) -> Floats:
        """Return the stored embedding ``(dimension,)`` of a place's picture, or of its text where it has none."""
        row: Floats = self._embeddings[entry.rows[0]]
        return row

    @property
    def _rows(self) -> Sequence[tuple[int, int]]:
        return [entry.rows for entry in self.entries]

    @property
    def _shape(self) -> tuple[int, ...]:
        return self._embeddings.shape


def _entry(known: dict[str, Any]) -> Entry:
    first, last = known.pop("rows")
    return Entry(**known, rows=(first, last))
