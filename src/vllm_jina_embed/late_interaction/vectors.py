"""Compute the embeddings and the multi-vectors of the same items at the same time.

A model that has multi-vectors alone gets the mean of their rows in place of an embedding: it finds the candidates that
MaxSim ranks. Source: "Scaling PDF Retrieval with Qdrant" (qdrant.tech), mean pooling for the first stage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .._arrays import Floats
from ..embedding.calls import Calls
from ..embedding.outcomes import Outcome, empty_rows
from ..inputs.items import Checked
from ..pooling.single_vector import normalize
from ..settings import OnError

Pair = tuple[Floats, list[Floats]]
"""Embeddings ``(n, dimensions)``, and ``n`` multi-vectors ``(n_tokens, token_dimensions)``."""

Asked = tuple[Floats | None, Floats | None]
"""The embedding ``(dimensions,)`` and the multi-vector of a query; None for a kind that is not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoKinds:
    """Computes both kinds, from one pass of the engine where it has one."""

    embedder: Calls
    dimensions: int
    task: str

    def embed(self, items: list[Checked], prompt_name: str, *, on_error: OnError | None = None) -> Pair:
        """Return both; an item is bad if either kind fails, and one error names all bad items."""
        return self._both(self.embedder.outcome(items, prompt_name, **self._asked), on_error)

    async def aembed(self, items: list[Checked], prompt_name: str, *, on_error: OnError | None = None) -> Pair:
        """Await ``embed``."""
        return self._both(await self.embedder.aoutcome(items, prompt_name, **self._asked), on_error)

    def query(self, items: list[Checked], *, embedding: bool, multi: bool) -> Asked:
        """Return the vectors of a query, of the kinds that are asked for; a bad one is an error whatever is set."""
        if embedding and (multi or self._is_alone):
            (one,), (rows,) = self.embed(items, "query", on_error="raise")
            return one, rows if multi else None
        outcome = self.embedder.outcome(items, "query", **(self._single if embedding else self._multi))
        return self._one(outcome, embedding)

    async def aquery(self, items: list[Checked], *, embedding: bool, multi: bool) -> Asked:
        """Await ``query``."""
        if embedding and (multi or self._is_alone):
            (one,), (rows,) = await self.aembed(items, "query", on_error="raise")
            return one, rows if multi else None
        outcome = await self.embedder.aoutcome(items, "query", **(self._single if embedding else self._multi))
        return self._one(outcome, embedding)

    def _one(self, outcome: Outcome, embedding: bool) -> Asked:
        (row,) = outcome.checked(self.embedder.settings, on_error="raise")
        return (row, None) if embedding else (None, row)

    def _both(self, outcome: Outcome, on_error: OnError | None) -> Pair:
        """Return both kinds; errors are those of multi-vectors."""
        rows = outcome.embeddings
        multi = rows if self._is_alone else rows.multi_vectors
        replace(outcome, embeddings=multi).checked(self.embedder.settings, on_error=on_error, skipped="left out")
        return self._means(multi) if self._is_alone else rows.embeddings, multi

    @property
    def _is_alone(self) -> bool:
        """Whether the model has multi-vectors alone."""
        return self.embedder.checkpoint.row.pooling is None

    def _means(self, multi: list[Floats]) -> Floats:
        """Return the mean of each multi-vector's rows, of norm 1, for the first stage; NaN where there is none."""
        means: Floats = empty_rows(len(multi), self.dimensions, multi=False)
        for row, vectors in enumerate(multi):
            if len(vectors):
                means[row] = normalize(vectors.mean(0))
        return means

    @property
    def _single(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions, "task": self.task, "show_progress": False}

    @property
    def _multi(self) -> dict[str, Any]:
        return {"multi_vector": True, "task": self.task, "show_progress": False}

    @property
    def _asked(self) -> dict[str, Any]:
        """What both kinds are asked with; a model that has multi-vectors alone gives those."""
        return self._multi if self._is_alone else {"both": True, **self._single}
