"""The result of a call: rows, and the errors of the items that have none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .._arrays import Floats
from ..errors import EmbeddingWarning, InputError, warn_of_items
from ..inputs.items import BadItem, Checked
from ..prompts.base import Truncate
from ..settings import OnError


class Reporting(Protocol):
    """What settings say of bad items and of texts that are too long."""

    @property
    def on_error(self) -> OnError:
        """``raise`` or ``skip``."""
        ...

    @property
    def truncate(self) -> Truncate:
        """Which end of a text is cut."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BothKinds:
    """Both kinds of vectors of the same items; a row is a pair of an embedding and a multi-vector.

    Attributes:
        embeddings: float32 ``(n, dimensions)``; NaN where there is none.
        multi_vectors: For each item float32 ``(n_tokens, token_dimensions)``; without tokens where there is none.
        token_dimensions: Length of their rows.
    """

    embeddings: Floats
    multi_vectors: list[Floats]
    token_dimensions: int

    @classmethod
    def empty(cls, count: int, dimensions: int, token_dimensions: int) -> BothKinds:
        """Return the rows of ``count`` items without vectors."""
        return cls(
            embeddings=empty_rows(count, dimensions, multi=False),
            multi_vectors=empty_rows(count, token_dimensions, multi=True),
            token_dimensions=token_dimensions,
        )

    def like(self, count: int) -> BothKinds:
        """Return the rows of ``count`` items without vectors, of the same lengths."""
        return self.empty(count, self.embeddings.shape[1], self.token_dimensions)

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self.multi_vectors)

    def __iter__(self) -> Iterator[tuple[Floats, Floats]]:
        """Return both vectors of each item."""
        return zip(self.embeddings, self.multi_vectors, strict=True)

    def __setitem__(self, row: int, pair: tuple[Floats, Floats]) -> None:
        """Set both vectors of an item."""
        self.embeddings[row], self.multi_vectors[row] = pair


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The result of one call.

    Attributes:
        embeddings: Shape ``(n, dimensions)``, float32; rows of items with an error are NaN. For multi-vectors a list
            of ``(n_tokens, dimensions)``, with no tokens where there was an error; or ``BothKinds``.
        errors: One error per bad item, ascending by position.
        truncated: Positions of texts that were cut.
    """

    embeddings: Any
    errors: list[InputError] = field(default_factory=list)
    truncated: list[int] = field(default_factory=list)

    def among(self, items: Sequence[Checked], length: int) -> Outcome:
        """Return this outcome of the good items as one of all ``items``; ``length`` is the length of a row."""
        bad = [item.error for item in items if isinstance(item, BadItem)]
        if not bad:
            return self
        if isinstance(self.embeddings, BothKinds):
            rows: Any = self.embeddings.like(len(items))
        else:
            rows = empty_rows(len(items), length, multi=isinstance(self.embeddings, list))
        places = [row for row, item in enumerate(items) if not isinstance(item, BadItem)]
        for place, row in zip(places, self.embeddings, strict=True):
            rows[place] = row
        errors = sorted([*bad, *self.errors], key=lambda error: error.positions)
        return Outcome(embeddings=rows, errors=errors, truncated=self.truncated)

    def checked(self, settings: Reporting, *, on_error: OnError | None = None, skipped: str | None = None) -> Any:
        """Return the rows; warn about cut texts, and raise or warn where there are errors.

        Args:
            settings: The embedder's.
            on_error: ``raise`` or ``skip``; None takes the embedder's.
            skipped: How the warning describes the bad items, such as ``left out``; None describes their rows.

        Raises:
            InputError: There are errors, and ``on_error`` is ``raise``.
            EmbeddingWarning: There is a warning, and warnings are errors.
        """
        fails = bool(self.errors) and (on_error or settings.on_error) == "raise"
        if self.truncated:
            try:
                self._warn_of_cuts(settings.truncate)
            except EmbeddingWarning:  # warnings are errors here, and the call's own error comes first
                if not fails:
                    raise
        if self.errors:
            error = InputError.collect(self.errors, total=len(self.embeddings))
            error.embeddings = self.embeddings
            if fails:
                raise error
            rows = "multi-vectors are empty" if isinstance(self.embeddings, list) else "rows are NaN"
            if isinstance(self.embeddings, BothKinds):
                rows = "rows are NaN, and multi-vectors empty"
            warn_of_items(f"{skipped or rows}: {error}", self.embeddings, stacklevel=4)
        return self.embeddings

    def _warn_of_cuts(self, truncate: str) -> None:
        warn_of_items(
            f"{len(self.truncated)} of {len(self.embeddings)} texts were longer than max_length and lost their "
            f"{truncate} (positions {_listed(self.truncated)}).",
            self.embeddings,
            stacklevel=5,
        )


def empty_rows(count: int, length: int, *, multi: bool) -> Any:
    """Return the rows of ``count`` items without a vector: NaN, and multi-vectors of no tokens."""
    if multi:
        return [np.empty((0, length), dtype=np.float32) for _ in range(count)]
    return np.full((count, length), np.nan, dtype=np.float32)


def _listed(positions: list[int], most: int = 10) -> str:
    shown = ", ".join(map(str, sorted(positions)[:most]))
    return shown if len(positions) <= most else f"{shown}, ..."
