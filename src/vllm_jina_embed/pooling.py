"""Token states to embeddings, in numpy: the reference for what the engine does; and multi-vectors to scores.

Enters: token states ``(n_tokens, hidden_size)`` after the final norm, never normalised; multi-vectors, one row per
token. Leaves: float32 embeddings and scores.
Source: modeling_jina_embeddings_v4.py, get_single_vector_embeddings; paper arXiv:2506.18902, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from .errors import EngineError, InputError

Floats = npt.NDArray[np.float32]
MultiVectors = Sequence[npt.NDArray[np.floating]]
EPSILON = 1e-12  # torch.nn.functional.normalize's
NORM_LIMIT = 1e-2
"""How far an L2 norm may be from 1: a row rounded to bfloat16, whose numbers have 8 bits, is at most 4e-3 off."""
QUERY_TOKENS, ITEM_TOKENS = 512, 8192
"""Tokens whose dot products are held together: 16 MB, more only where one item has more tokens."""


def norm_error(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return how far the L2 norm of each row ``(..., n)`` is from 1, float64 ``(...,)``; NaN where a row holds NaN."""
    found: npt.NDArray[np.float64] = np.abs(np.linalg.norm(rows.astype(np.float64), axis=-1) - 1)
    return found


def vision_mask(token_ids: Sequence[int], *, vision_start: int, vision_end: int) -> npt.NDArray[np.bool_]:
    """Return which tokens are averaged.

    Args:
        token_ids: Expanded prompt tokens, shape ``(n_tokens,)``.
        vision_start: Token id that opens a vision span.
        vision_end: Token id that closes it.

    Returns:
        Booleans ``(n_tokens,)``: every vision span with both its markers; all tokens where there is none.

    Raises:
        EngineError: A span is not closed.
    """
    ids = np.asarray(token_ids)
    starts, ends = np.flatnonzero(ids == vision_start), np.flatnonzero(ids == vision_end)
    if len(starts) == 0:
        return np.ones(len(ids), dtype=bool)
    if len(starts) != len(ends) or (ends < starts).any() or (starts[1:] < ends[:-1]).any():
        raise EngineError(f"got {len(starts)} vision starts and {len(ends)} vision ends; expected closed spans.")
    mask = np.zeros(len(ids), dtype=bool)
    for start, end in zip(starts, ends, strict=True):
        mask[start : end + 1] = True
    return mask


def mean(states: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]) -> Floats:
    """Return the float32 mean ``(hidden_size,)`` of the masked rows of ``states`` ``(n_tokens, hidden_size)``.

    Raises:
        EngineError: ``states`` and ``mask`` differ in length.
    """
    if len(states) != len(mask):
        raise EngineError(f"got {len(states)} token states for {len(mask)} tokens.")
    return np.asarray(states[mask].mean(axis=0, dtype=np.float64), dtype=np.float32)


def finish(pooled: npt.NDArray[np.floating], dimensions: int) -> Floats:
    """Return the first ``dimensions`` numbers of ``pooled`` ``(..., hidden_size)`` with L2 norm 1, float32."""
    return normalize(np.asarray(pooled, dtype=np.float32)[..., :dimensions])


def normalize(values: Floats) -> Floats:
    """Return ``values`` ``(..., n)`` with L2 norm 1 along the last axis (norms under 1e-12 are not enlarged)."""
    norms = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.maximum(norms, EPSILON), dtype=np.float32)


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
        InputError: A multi-vector is empty or has rows of another length; names its position.

    Source: ColBERT, arXiv:2004.12832, section 3.1; the model card's score_multi_vector.
    """
    check_multi_vectors(queries, items)
    scores = np.zeros((len(queries), len(items)), dtype=np.float32)
    if not queries or not items:
        return scores
    asked = np.concatenate([np.asarray(query, dtype=np.float32) for query in queries])
    owners = np.repeat(np.arange(len(queries)), [len(query) for query in queries])
    for first, last in blocks([len(item) for item in items], ITEM_TOKENS):
        lengths = [len(item) for item in items[first:last]]
        told = np.concatenate([np.asarray(item, dtype=np.float32) for item in items[first:last]])
        starts = np.cumsum([0, *lengths[:-1]])
        for at in range(0, len(asked), QUERY_TOKENS):
            products = asked[at : at + QUERY_TOKENS] @ told.T
            best = np.maximum.reduceat(products, starts, axis=1)
            np.add.at(scores[:, first:last], owners[at : at + QUERY_TOKENS], best)
    return scores


def check_multi_vectors(queries: MultiVectors, items: MultiVectors) -> None:
    """Check that ``maxsim`` can compare all of them.

    Raises:
        InputError: One is empty or no matrix, or has rows of another length; names its position.
    """
    length = None
    for name, vectors in (("queries", queries), ("items", items)):
        for position, rows in enumerate(vectors):
            where = f"{name}[{position}]"
            if rows.ndim != 2 or rows.shape[0] == 0:
                what = "an empty multi-vector" if rows.ndim == 2 else f"an array of shape {tuple(rows.shape)}"
                raise InputError(
                    f"{where}: got {what}; expected (n_tokens, token_dimensions) with one token at least.",
                    positions=[position],
                )
            length = length or rows.shape[1]
            if rows.shape[1] != length:
                raise InputError(
                    f"{where}: got rows of {rows.shape[1]} numbers where others have {length}; compare multi-vectors "
                    "of one checkpoint.",
                    positions=[position],
                )


def blocks(lengths: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of neighbours whose ``lengths`` add up to at most ``most``, or hold one of them alone."""
    first = total = 0
    for position, length in enumerate(lengths):
        if position > first and total + length > most:
            yield first, position
            first, total = position, 0
        total += length
    if first < len(lengths):
        yield first, len(lengths)
