"""Both kinds of vector of the same items, computed at the same time.

Enters: checked items. Leaves: their embeddings and multi-vectors. This file refuses to know where they are kept.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..calls import Calls
from ..inputs import Item
from ..pipeline import Outcome
from ..pooling import Floats

Pair = tuple[Floats, list[Floats]]
"""Embeddings ``(n, dimensions)``, and ``n`` multi-vectors ``(n_tokens, token_dimensions)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoKinds:
    """What computes them; an engine gives one kind per request, so each item passes through it twice."""

    embedder: Calls
    dimensions: int
    task: str

    def embed(self, items: list[Item], prompt_name: str) -> Pair:
        """Return both; errors are those of ``embed_multi_vector``."""
        with ThreadPoolExecutor(1) as pool:
            outcome = pool.submit(self.embedder._run, items, prompt_name, **self._single)
            rows = self.embedder._wait_multi(items, prompt_name, **self._multi)
            return self._both(outcome.result(), rows)

    async def aembed(self, items: list[Item], prompt_name: str) -> Pair:
        """Await ``embed``."""
        single = asyncio.create_task(self.embedder._arun(items, prompt_name, **self._single))
        try:
            rows = await self.embedder._await_multi(items, prompt_name, **self._multi)
            return self._both(await single, rows)
        finally:
            single.cancel()

    def _both(self, outcome: Outcome, rows: list[Floats]) -> Pair:
        """Both were given the same items and find the same wrong: one error or warning, from the multi-vectors."""
        if outcome.errors and all(map(len, rows)):
            self.embedder._checked(outcome, len(rows))
        return outcome.embeddings, rows

    @property
    def _single(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions, **self._multi}

    @property
    def _multi(self) -> dict[str, Any]:
        return {"task": self.task, "show_progress": False}
