"""Numbers of a reranker: what the engine is asked for a pair, scores, and the order of documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arrays import Floats
from ..engine.protocol import Engine
from ..errors import ConfigError
from ..prompts.base import Prompt

Logits = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document in the order of its score.

    Attributes:
        index: Its place in the caller's list.
        score: From 0 to 1.
        item: The document, as the caller passed it.
    """

    index: int
    score: float
    item: Any


@dataclass(frozen=True, slots=True)
class Judging:
    """Asks the engine for the logits of pairs; a short list overtakes bulk work, as somebody waits for it."""

    urgent: bool = True

    def empty(self, count: int) -> Logits:
        """Return the logits of ``count`` documents that have none yet, NaN."""
        return np.full(count, np.nan)

    async def ask(self, engine: Engine, prompt: Prompt, *, urgent: bool) -> float:
        """Return the logit of a pair."""
        return await engine.logit(prompt, urgent=urgent)


def scores_of(logits: Logits) -> Floats:
    """Return the sigmoid of logits ``(n,)``, computed in float64; NaN stays."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)


def ranked(items: Sequence[Any], logits: Logits, top_n: int | None) -> list[Ranked]:
    """Return the documents by their score, the best first; of equal ones the first of the caller's list comes first.

    The order is that of the logits, which differ where scores are rounded to 1. Documents without a score are left out.

    Args:
        items: The documents.
        logits: Of each, or NaN ``(n,)``.
        top_n: How many to return; None for all.
    """
    scores = scores_of(logits)
    order = [int(place) for place in np.argsort(-logits, kind="stable") if not np.isnan(logits[place])]
    return [Ranked(place, float(scores[place]), items[place]) for place in order[:top_n]]


def check_top_n(top_n: int | None) -> int | None:
    """Return ``top_n`` itself.

    Raises:
        ConfigError: It is not a whole number over 0, nor None.
    """
    if top_n is not None and (isinstance(top_n, bool) or not isinstance(top_n, int) or top_n < 1):
        raise ConfigError(f"top_n={top_n!r} must be a whole number over 0, or None for all.")
    return top_n
