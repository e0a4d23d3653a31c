"""Order items by their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One item in the order that a reranker gives.

    Attributes:
        position: Of the item in the list that was reranked.
        score: How well it answers the query; more is better.
    """

    position: int
    score: float


def ranked(scores: npt.NDArray[np.floating[Any]], top_n: int | None = None) -> list[Ranked]:
    """Return the items by falling score; equal ones keep their order, and those whose score is NaN are left out.

    Args:
        scores: Float32 or float64, shape ``(n_items,)``.
        top_n: How many to return at most; None returns all.

    Raises:
        ConfigError: ``top_n`` is not a whole number over 0.
    """
    check_top_n(top_n)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    best = [Ranked(position=int(position), score=float(scores[position])) for position in order]
    return [one for one in best if not np.isnan(one.score)][:top_n]


def check_top_n(top_n: int | None) -> None:
    """Check the number of items that a reranker returns.

    Raises:
        ConfigError: It is neither None nor a whole number over 0.
    """
    if top_n is not None and (isinstance(top_n, bool) or not isinstance(top_n, int) or top_n < 1):
        raise ConfigError(f"top_n={top_n!r} must be a whole number over 0, or None for all.")
