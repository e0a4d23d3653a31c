"""Compute the embeddings and the multi-vectors of the same items at the same time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .._arrays import Floats
from ..embedding.calls import Calls
from ..embedding.outcomes import Outcome
from ..inputs.items import Checked
from ..settings import OnError

Pair = tuple[Floats, list[Floats]]
"""Embeddings ``(n, dimensions)``, and ``n`` multi-vectors ``(n_tokens, token_dimensions)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoKinds:
    """Computes both kinds; an engine gives one kind per request, so each item passes through it twice."""

    embedder: Calls
    dimensions: int
    task: str

    def embed(self, items: list[Checked], prompt_name: str, *, on_error: OnError | None = None) -> Pair:
        """Return both; an item is bad if either kind fails, and one error names all bad items."""
        with ThreadPoolExecutor(1) as pool:
            single = pool.submit(self.embedder.outcome, items, prompt_name, **self._single)
            multi = self.embedder.outcome(items, prompt_name, **self._multi)
            return self._both(single.result(), multi, on_error)

    async def aembed(self, items: list[Checked], prompt_name: str, *, on_error: OnError | None = None) -> Pair:
        """Await ``embed``."""
        single = asyncio.create_task(self.embedder.aoutcome(items, prompt_name, **self._single))
        try:
            multi = await self.embedder.aoutcome(items, prompt_name, **self._multi)
            return self._both(await single, multi, on_error)
        finally:
            single.cancel()

    def _both(self, single: Outcome, multi: Outcome, on_error: OnError | None) -> Pair:
        """Join the errors of both kinds; an error that occurs in both is reported once."""
        errors = {error.positions: error for error in [*single.errors, *multi.errors]}
        both = Outcome(
            embeddings=multi.embeddings,
            errors=[errors[positions] for positions in sorted(errors)],
            truncated=multi.truncated,
        )
        both.checked(self.embedder.settings, on_error=on_error, skipped="left out")
        return single.embeddings, multi.embeddings

    @property
    def _single(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions, "task": self.task, "show_progress": False}

    @property
    def _multi(self) -> dict[str, Any]:
        return {"multi_vector": True, "task": self.task, "show_progress": False}
