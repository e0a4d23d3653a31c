"""Define what a corpus gives back: its rows, and what each place that holds rows can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from .._arrays import Floats


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search, checked: the shapes are those of the corpus, and all numbers are finite.

    Attributes:
        embedding: float32 ``(dimensions,)`` of L2 norm 1; None ranks every row by ``multi_vector``.
        multi_vector: float32 ``(n_tokens, token_dimensions)``.
        count: How many rows to return.
        candidates: With both kinds of vector: how many rows ``embedding`` selects, which MaxSim ranks.
    """

    embedding: Floats | None
    multi_vector: Floats | None
    count: int
    candidates: int

    @property
    def selected(self) -> int:
        """How many rows ``embedding`` selects."""
        return self.count if self.multi_vector is None else self.candidates


@runtime_checkable  # pydantic looks into the dataclass Corpus, a field of LangChain's CorpusRetriever
class RowStore(Protocol):
    """Where the rows of a corpus are: files, or a store's table."""

    def count(self) -> int:
        """Return the number of rows that are there."""
        ...

    def rows(self) -> Iterator[Row]:
        """Yield every row without its vectors, in constant memory; in files in the order of the corpus."""
        ...

    def nearest(self, query: Query) -> list[Row]:
        """Return the rows that answer a query best, best first, with their scores."""
        ...

    def get(self, keys: Sequence[str]) -> list[Row]:
        """Return the rows of some keys, in this order; a key is what the store itself calls the row.

        Raises:
            KeyError: There is no such row.
        """
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...
