"""MaxSim in numpy: late-interaction scores of multi-vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .._arrays import Floats, MultiVectors
from ..errors import InputError

QUERY_TOKENS, ITEM_TOKENS = 512, 8192
"""Tokens whose dot products are held together: 16 MB, more only where one item has more tokens."""


def maxsim(queries: MultiVectors, items: MultiVectors) -> Floats:
    """Return how well each item answers each query, by late interaction.

    Memory beyond the multi-vectors is bounded, however many there are. ``maxsim_torch`` does the same on a GPU.

    Args:
        queries: Multi-vectors ``(n_tokens, token_dimensions)``, each of at least one row.
        items: Multi-vectors of the same ``token_dimensions``.

    Returns:
        float32, shape ``(n_queries, n_items)``: the sum over a query's tokens of the largest dot product with one of
        the item's tokens. With rows of L2 norm 1 it lies between minus and plus the query's number of tokens.

    Raises:
        InputError: A multi-vector is empty or its rows have another length; names its position.

    Source: ColBERT, arXiv:2004.12832, section 3.1; the model card's score_multi_vector.
    """
    check_multi_vectors(queries, items)
    scores = np.zeros((len(queries), len(items)), dtype=np.float32)
    if not queries or not items:
        return scores
    query_rows = np.concatenate([np.asarray(query, dtype=np.float32) for query in queries])
    owners = np.repeat(np.arange(len(queries)), [len(query) for query in queries])
    for first, last in blocks([len(item) for item in items], ITEM_TOKENS):
        lengths = [len(item) for item in items[first:last]]
        item_rows = np.concatenate([np.asarray(item, dtype=np.float32) for item in items[first:last]])
        starts = np.cumsum([0, *lengths[:-1]])
        for start in range(0, len(query_rows), QUERY_TOKENS):
            products = query_rows[start : start + QUERY_TOKENS] @ item_rows.T
            best = np.maximum.reduceat(products, starts, axis=1)
            np.add.at(scores[:, first:last], owners[start : start + QUERY_TOKENS], best)
    return scores


def check_multi_vectors(queries: MultiVectors, items: MultiVectors) -> None:
    """Check that ``maxsim`` can compare the multi-vectors.

    Raises:
        InputError: A multi-vector is empty, is not a matrix, or its rows have another length; names its position.
    """
    length = None
    for name, vectors in (("queries", queries), ("items", items)):
        for position, rows in enumerate(vectors):
            where = f"{name}[{position}]"
            if rows.ndim != 2 or rows.shape[0] == 0:
                problem = "an empty multi-vector" if rows.ndim == 2 else f"an array of shape {tuple(rows.shape)}"
                raise InputError(
                    f"got {problem}; expected (n_tokens, token_dimensions) with at least one token.",
                    where=where,
                    positions=[position],
                )
            length = length or rows.shape[1]
            if rows.shape[1] != length:
                raise InputError(
                    f"got rows of {rows.shape[1]} numbers where others have {length}; compare multi-vectors of one "
                    "checkpoint.",
                    where=where,
                    positions=[position],
                )


def blocks(lengths: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of neighbours whose ``lengths`` add up to at most ``most``, or hold one longer one."""
    first = total = 0
    for position, length in enumerate(lengths):
        if position > first and total + length > most:
            yield first, position
            first, total = position, 0
        total += length
    if first < len(lengths):
        yield first, len(lengths)
