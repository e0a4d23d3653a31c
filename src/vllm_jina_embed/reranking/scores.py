"""Numbers of a reranker: what the engine is asked for a pair, scores, and the order of documents."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .._arrays import Floats
from ..engine.protocol import Engine
from ..prompts.base import Prompt
from ..scoring.ranking import Ranked, ranked

Logits = npt.NDArray[np.float64]


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


def by_score(logits: Logits, top_n: int | None) -> list[Ranked]:
    """Return the documents by falling score; see ``scoring.ranking.ranked``.

    The order is that of the logits, which differ where scores are rounded to 1. Documents without a score are left out.

    Args:
        logits: Of each document, or NaN ``(n,)``.
        top_n: How many to return; None for all.
    """
    scores = scores_of(logits)
    return [replace(one, score=float(scores[one.position])) for one in ranked(logits, top_n)]
