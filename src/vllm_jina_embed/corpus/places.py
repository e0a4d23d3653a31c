"""Keep the best places of a corpus while it is read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._arrays import Floats
from ..pooling.quantization import default_ranges

Placed = tuple[float, tuple[int, int, int]]
"""A score, and the number of the part, of the row group in it, and of the row in that."""


def best_of(
    best: list[Placed],
    scores: Floats,
    number: int,
    group: int,
    count: int,
    rows: list[int] | None = None,
) -> list[Placed]:
    """Return the best ``count`` of those so far and of a row group; equal ones in the order of the corpus."""
    order = np.argsort(-scores, kind="stable")[:count]
    order = order[np.isfinite(scores[order])]  # of a damaged file; NaN is behind all others, and would sort nothing
    new = [(float(scores[at]), (number, group, int(at) if rows is None else rows[at])) for at in order]
    return sorted([*best, *new], key=lambda one: (-one[0], one[1]))[:count]


def floats_of(numbers: np.ndarray, dtype: str, dimensions: int) -> Floats:
    """Return stored numbers ``(n, dimensions)`` as float32; those of float32 themselves, without a copy."""
    if dtype == "float32":
        return numbers
    if dtype == "binary":
        return np.unpackbits(numbers, axis=1, count=dimensions).astype(np.float32) * 2 - 1
    if dtype == "int8":
        start, end = default_ranges(dimensions)
        floats: Floats = (numbers.astype(np.float32) + 128.5) * ((end - start) / np.float32(255)) + start
        return floats
    return numbers.astype(np.float32)


def cosines(rows: Floats, query: Floats, settings: Mapping[str, Any]) -> Floats:
    """Return the cosine of each row ``(n, dimensions)`` and a query of L2 norm 1.

    Args:
        rows: The numbers, as ``floats_of`` returns them.
        query: float32 ``(dimensions,)``.
        settings: Of the corpus: whether its rows have the norm 1 already.
    """
    scores: Floats = rows @ query
    if settings["normalize"] and settings["dtype"] in ("float32", "float16"):
        return scores
    scaled: Floats = scores / np.maximum(1e-12, np.linalg.norm(rows, axis=1))
    return scaled


def nearest_of(
    batches: Iterable[tuple[list[str], Floats]], query: Floats, settings: Mapping[str, Any], count: int
) -> list[tuple[float, str]]:
    """Return the scores and names of the rows nearest to a query, best first; one batch is in memory.

    Args:
        batches: Names and their embeddings, as ``floats_of`` returns them.
        query: float32 ``(dimensions,)`` of L2 norm 1.
        settings: Of the corpus.
        count: How many.
    """
    best: list[tuple[float, str]] = []
    for names, rows in batches:
        scores = cosines(rows, query, settings)
        order = np.argsort(-scores, kind="stable")[:count]
        best = sorted([*best, *((float(scores[at]), names[at]) for at in order)], key=lambda one: -one[0])[:count]
    return best
