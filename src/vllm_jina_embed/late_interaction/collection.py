"""What an index asks of the store that holds its vectors; Qdrant and LanceDB are such stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .._arrays import Floats
from .batches import Rows

EMBEDDING, MULTI_VECTOR = "embedding", "multi_vector"
"""Names of the two vectors of an item."""
METADATA_KEY = "vllm_jina_embed"
"""Where a store keeps the settings that its vectors were made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One result of a search.

    Attributes:
        id: As passed to ``add``, or returned by it.
        score: That of the last stage; without a reranker MaxSim, the sum over the query's tokens of the best dot
            product with one of the item's tokens.
        payload: As passed to ``add``.
        scores: Of every stage that ranked it: ``embedding`` (cosine), ``maxsim`` and ``rerank``.
    """

    id: str
    score: float
    payload: Mapping[str, Any]
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a search asks of a store.

    Attributes:
        embedding: Of the query, ``(dimensions,)``; None leaves the first stage out.
        multi_vector: Of the query, ``(n_tokens, token_dimensions)``; None leaves MaxSim out.
        count: Hits to return.
        candidates: Items that the first stage passes on, where there are both stages.
        only: The store's own filter.
    """

    embedding: Floats | None
    multi_vector: Floats | None
    count: int
    candidates: int
    only: Any = None


class Collection(Protocol):
    """Items with both kinds of vector; safe to call from any thread and event loop."""

    @property
    def most_numbers(self) -> int | None:
        """Numbers that one multi-vector may have; None for any number."""
        ...

    def ready(self) -> None:
        """Create the collection, or check that the existing one was made with the same settings."""
        ...

    def write(self, rows: Rows) -> None:
        """Put items into it; one with the same id is replaced."""
        ...

    async def awrite(self, rows: Rows) -> None:
        """Await ``write``."""
        ...

    def remove(self, ids: Iterable[str] | None, only: Any) -> None:
        """Remove the items of these ids, or those that a filter finds."""
        ...

    async def aremove(self, ids: Iterable[str] | None, only: Any) -> None:
        """Await ``remove``."""
        ...

    def search(self, question: Question) -> list[Hit]:
        """Return the best items, best first, with the score of each stage."""
        ...

    async def asearch(self, question: Question) -> list[Hit]:
        """Await ``search``."""
        ...

    def count(self) -> int:
        """Return the number of items."""
        ...

    async def acount(self) -> int:
        """Await ``count``."""
        ...

    def having(self, key: str, value: str) -> Any:
        """Return a filter for payloads whose ``key`` is ``value``."""
        ...

    def close(self) -> None:
        """Close what was opened here."""
        ...

    async def aclose(self) -> None:
        """Await ``close``."""
        ...


def differences(facts: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """Return which settings a collection was made with and how they differ from ``facts``; empty if they do not."""
    return ", ".join(
        f"{key}={stored[key]!r} (here {facts[key]!r})" for key in facts if stored.get(key, facts[key]) != facts[key]
    )
