"""Late interaction as a second look: rank the candidates of any search by MaxSim over all their tokens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from .._arrays import Floats
from .._closing import Closing
from ..cache.embedder import CachedEmbedder
from ..cache.stores import SQLiteStore, Store
from ..embedding import scoring
from ..embedding.abilities import check_multi_vectors
from ..embedding.calls import Calls
from ..embedding.outcomes import Outcome
from ..embedding.progress import progress_bar
from ..errors import ConfigError
from ..inputs.items import Checked, EmbedInput
from ..scoring.ranking import Ranked, check_top_n, ranked
from ..settings import Settings


class MaxSimReranker(Closing):
    """Scores and reorders texts and images by MaxSim, with no other model and no store of multi-vectors.

    The candidates may come from any search; each is embedded per token, at every call or once per ``cache``. Every call
    has its a-twin; any thread and event loop may call.
    """

    def __init__(
        self, embedder: Calls, *, task: str | None = None, cache: Store | str | os.PathLike[str] | None = None
    ) -> None:
        """Check the settings; nothing starts.

        Args:
            embedder: A ``JinaEmbedder`` or ``CachedEmbedder``; you close it.
            task: For all items and queries; None takes the embedder's.
            cache: A path for an SQLite file, or an object with ``get_many(keys)`` and ``put_many(values)``, which keeps
                the multi-vectors of queries and items. None takes those of a ``CachedEmbedder`` with
                ``multi_vectors=True``, and else computes them at every call.

        Raises:
            ConfigError: The model has no vector per token or does not serve ``task``, or ``cache`` is not a store or
                cannot be used with the checkpoint.
        """
        if not isinstance(embedder, Calls):
            raise ConfigError(f"got a {type(embedder).__name__} as embedder; expected a JinaEmbedder.")
        check_multi_vectors(embedder.checkpoint)
        self.task = embedder.settings.for_call(task=task).task
        self.embedder = embedder if cache is None else CachedEmbedder(embedder, cache, multi_vectors=True)
        self._opened = isinstance(cache, str | os.PathLike)

    @property
    def settings(self) -> Settings:
        """The embedder's settings."""
        return self.embedder.settings

    def score(self, query: EmbedInput, items: Iterable[EmbedInput]) -> Floats:
        """Return how well each item answers a query.

        Args:
            query: A text, which gets the query prefix, or an image, as in ``JinaEmbedder.embed``.
            items: Texts, images and both, mixed; any iterable, of which one window of 256 items is in memory.

        Returns:
            float32, shape ``(n_items,)``: MaxSim, between minus and plus the query's number of tokens. With
            ``on_error="skip"`` on the embedder, bad items have NaN and a warning names them.

        Raises:
            InputError: The query, or an item, cannot be embedded; names it.
            ClosedError: After the embedder was closed.
        """
        scores: Floats = scoring.score(self._rows, [query], items, self._bar, self.embedder.model)[0]
        return scores

    async def ascore(self, query: EmbedInput, items: Iterable[EmbedInput]) -> Floats:
        """Await ``score``."""
        scores: Floats = (await scoring.ascore(self._arows, [query], items, self._bar, self.embedder.model))[0]
        return scores

    def rerank(self, query: EmbedInput, items: Iterable[EmbedInput], top_n: int | None = None) -> list[Ranked]:
        """Return the positions and scores of the items that answer a query best, best first.

        Args:
            query: As in ``score``.
            items: As in ``score``.
            top_n: How many to return at most; None returns all. Bad items that ``score`` skips are left out.

        Raises:
            InputError: As in ``score``.
            ConfigError: ``top_n`` is not a whole number over 0.
        """
        check_top_n(top_n)
        return ranked(self.score(query, items), top_n)

    async def arerank(self, query: EmbedInput, items: Iterable[EmbedInput], top_n: int | None = None) -> list[Ranked]:
        """Await ``rerank``."""
        check_top_n(top_n)
        return ranked(await self.ascore(query, items), top_n)

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _kind(self) -> dict[str, Any]:
        return {"multi_vector": True, "task": self.task, "show_progress": False}

    @property
    def _bar(self) -> Any:
        return progress_bar(self.settings, None, None)

    def _rows(self, items: list[Checked], role: str) -> Any:
        return self._checked(self.embedder.outcome(items, role, **self._kind), role)

    async def _arows(self, items: list[Checked], role: str) -> Any:
        return self._checked(await self.embedder.aoutcome(items, role, **self._kind), role)

    def _checked(self, outcome: Outcome, role: str) -> Any:
        """Return the multi-vectors; without one of the query there is nothing to compare, whatever ``on_error`` is."""
        return outcome.checked(self.settings, on_error="raise" if role == "query" else None, skipped="not ranked")

    # --- life -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the cache's file if it was opened here; the embedder stays open. Further calls do nothing."""
        if self._opened and isinstance(self.embedder, CachedEmbedder) and isinstance(self.embedder.store, SQLiteStore):
            self.embedder.store.close()

    def __repr__(self) -> str:
        """Return the embedder and the task."""
        return f"MaxSimReranker({self.embedder!r}, task={self.task!r})"
