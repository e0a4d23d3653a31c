"""The calls for token weights: what each token of a text counts in a search by words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Any

from .._arrays import Floats
from ..inputs import items as inputs
from ..inputs.items import Checked
from ..prompts.base import PromptName
from .base import Base
from .telemetry import observed

EMPTY = "weights are empty"
"""What a warning says of bad texts that are skipped."""


class TokenWeightCalls(Base):
    """The calls of an embedder whose model was trained for token weights."""

    def embed_sparse(
        self,
        texts: Iterable[str],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> list[dict[int, float]]:
        """Return what the tokens of each text weigh: a sparse vector over the vocabulary.

        A query matches a text by the sum of the products of their weights of equal ids. Nothing is kept in a cache.
        Source: FlagEmbedding, M3Embedder, ``lexical_weights`` and ``compute_lexical_matching_score``.

        Args:
            texts: The texts.
            prompt_name: As in ``embed``.
            input_type: As in ``embed``.
            task: For this call; None takes the embedder's.
            show_progress: For this call; None takes the embedder's.

        Returns:
            For each text the weights by token id: over 0, the largest one of an id that stands there several times.
            None is left of ids that weigh 0, of the special tokens around a text, and of letters that the tokenizer
            does not know.

        Raises:
            InputError: As in ``embed``; texts with an error have no weights.
            ConfigError: The model has no token weights, or no server gives them.
            ClosedError: After ``close()``.
        """
        options: dict[str, Any] = {"input_type": input_type, "task": task, "show_progress": show_progress}
        return self._weights(inputs.texts(texts), prompt_name, **options)

    async def aembed_sparse(
        self,
        texts: Iterable[str],
        *,
        prompt_name: PromptName | None = None,
        input_type: str | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> list[dict[int, float]]:
        """Await ``embed_sparse``."""
        options: dict[str, Any] = {"input_type": input_type, "task": task, "show_progress": show_progress}
        return await self._aweights(inputs.texts(texts), prompt_name, **options)

    def _weights(self, items: list[Checked], prompt_name: str | None, **options: Any) -> list[dict[int, float]]:
        role, mode, overrides, _ = self._understood(prompt_name, **options)
        overrides["weights"] = True
        with observed(self.settings, items, overrides):
            outcome = self.outcome(items, role, **overrides)
            return _dicts(outcome.checked(self.settings, on_error=mode, skipped=EMPTY))

    async def _aweights(self, items: list[Checked], prompt_name: str | None, **options: Any) -> list[dict[int, float]]:
        role, mode, overrides, _ = self._understood(prompt_name, **options)
        overrides["weights"] = True
        with observed(self.settings, items, overrides):
            outcome = await self.aoutcome(items, role, **overrides)
            return _dicts(outcome.checked(self.settings, on_error=mode, skipped=EMPTY))


def of_ids(ids: Sequence[int], weights: Floats, *, without: Set[int]) -> dict[int, float]:
    """Return the largest weight of each id that has one over 0.

    Args:
        ids: The tokens of a prompt, ``(n_tokens,)``.
        weights: What each of them weighs, ``(n_tokens,)``.
        without: Ids that have none.
    """
    largest: dict[int, float] = {}
    for one, weight in zip(ids, weights.tolist(), strict=True):
        if weight > largest.get(one, 0.0) and one not in without:
            largest[one] = weight
    return largest


def _dicts(rows: Sequence[Any]) -> list[dict[int, float]]:
    """Return the weights of each text; those of a bad one are empty."""
    return [row if isinstance(row, dict) else {} for row in rows]
