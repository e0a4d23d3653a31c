"""Rank the places of an index for a question's embedding, in memory; ``layout`` describes the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Floats
from ..errors import InputError
from ..frameworks.shown_text import visible
from .building import build
from .layout import EMBEDDINGS, FACTS, FORMAT, IMAGES, PLACES, SETTINGS, Entry, read_index

__all__ = ["EMBEDDINGS", "FACTS", "FORMAT", "IMAGES", "PLACES", "SETTINGS", "Entry", "Index", "build"]


class Index:
    """A built index, in memory except for its images."""

    def __init__(self, folder: Path) -> None:
        """Read the index.

        Raises:
            ConfigError: The index is missing, broken or of another version; names the file and the line.
        """
        self.settings: Mapping[str, Any]
        self._embeddings: Floats
        self.settings, images, self.entries, self._embeddings = read_index(folder)
        self.folder, self.images = folder.resolve(), images.resolve()
        rows = [last - first for first, last in (entry.rows for entry in self.entries)]
        self._owner = np.repeat(np.arange(len(self.entries)), rows)
        self._numbers = {id(entry): number for number, entry in enumerate(self.entries)}
        self._by_id: dict[str, Entry] = {}
        self._by_image = {entry.image: entry for entry in self.entries if entry.image is not None}
        for entry in self.entries:
            self._by_id.setdefault(entry.id, entry)
        for entry in self.entries:
            self._by_id.setdefault(visible(entry.id), entry)  # the name that answers show

    def search(self, question: Floats, count: int) -> list[tuple[Entry, float]]:
        """Return the places nearest to an embedding ``(dimension,)`` with their cosines, best first.

        A place's score is the best of its image and the pieces of its text.

        Raises:
            InputError: The question's embedding is not finite.
        """
        if not np.isfinite(question).all():
            raise InputError("the question has no embedding: it is not a finite vector.")
        scores = np.full(len(self.entries), -np.inf, dtype=np.float32)
        np.fmax.at(scores, self._owner, self._embeddings @ question)
        best = [number for number in np.argsort(-scores, kind="stable")[:count] if np.isfinite(scores[number])]
        return [(self.entries[number], float(scores[number])) for number in best]

    def get(self, name: str) -> Entry | None:
        """Return the place with that id, as stored or as answers show it, or None."""
        return self._by_id.get(name)

    def of_image(self, path: str) -> Entry | None:
        """Return the place whose image has that path in the index, or None."""
        return self._by_image.get(path)

    def neighbours(self, entry: Entry) -> tuple[Entry | None, Entry | None]:
        """Return the places before and after ``entry`` in the same file, or None."""
        number = self._numbers[id(entry)]
        before, after = self.entries[max(0, number - 1)], self.entries[min(len(self.entries) - 1, number + 1)]
        return tuple(  # type: ignore[return-value]
            other if other is not entry and other.source == entry.source else None for other in (before, after)
        )

    def embedding(self, entry: Entry) -> Floats:
        """Return the stored embedding ``(dimension,)`` of a place's image, or of its text if it has none."""
        row: Floats = self._embeddings[entry.rows[0]]
        return row
