"""Token states to embeddings, in numpy: the reference for the pooling inside vLLM.

Token states have the shape ``(n_tokens, hidden_size)``; they come after the final norm and are not normalised.
Source: modeling_jina_embeddings_v4.py, get_single_vector_embeddings; paper arXiv:2506.18902, section 4;
sentence_transformers/models/Pooling.py for the first token, the last and the mean; the model card of
nomic-ai/nomic-embed-text-v1.5 for the layer norm, which stands before the cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .._arrays import Floats
from ..errors import EngineError

EPSILON = 1e-12  # torch.nn.functional.normalize's
LAYER_NORM_EPSILON = 1e-5  # torch.nn.functional.layer_norm's
NORM_LIMIT = 1e-2
"""How far an L2 norm may be from 1: a row rounded to bfloat16, whose numbers have 8 bits, is at most 4e-3 off."""


def norm_error(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return how far the L2 norm of each row ``(..., n)`` is from 1, float64 ``(...,)``; NaN where a row holds NaN."""
    errors: npt.NDArray[np.float64] = np.abs(np.linalg.norm(rows.astype(np.float64), axis=-1) - 1)
    return errors


def vision_mask(token_ids: Sequence[int], *, vision_start: int, vision_end: int) -> npt.NDArray[np.bool_]:
    """Return a mask of the tokens that are averaged.

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


def pooled(
    states: npt.NDArray[np.floating],
    kind: str,
    *,
    mask: npt.NDArray[np.bool_] | None = None,
    layer_norm: bool = False,
) -> Floats:
    """Return what a pooling makes of token states, float32 ``(hidden_size,)``: neither cut nor normalised.

    Args:
        states: Shape ``(n_tokens, hidden_size)``.
        kind: A ``Pooling`` of ``checkpoints/description.py``.
        mask: The tokens that count, ``(n_tokens,)``, such as those of ``vision_mask``; all without it.
        layer_norm: Whether a layer norm without weights follows.

    Raises:
        EngineError: ``states`` and ``mask`` differ in length, no token counts, or ``kind`` is unknown.
    """
    mask = np.ones(len(states), dtype=bool) if mask is None else mask
    if len(states) != len(mask):
        raise EngineError(f"got {len(states)} token states for {len(mask)} tokens.")
    if not mask.any():
        raise EngineError(f"got {len(mask)} tokens, of which none is pooled.")
    if kind == "first_token":
        vector = np.asarray(states[mask][0], dtype=np.float32)
    elif kind == "last_token":
        vector = np.asarray(states[mask][-1], dtype=np.float32)
    elif kind in {"mean", "vision_span_mean"}:
        vector = mean(states, mask)
    else:
        raise EngineError(f"got the pooling {kind!r}; expected first_token, last_token, mean or vision_span_mean.")
    return layer_normed(vector) if layer_norm else vector


def layer_normed(values: npt.NDArray[np.floating]) -> Floats:
    """Return ``values`` ``(..., n)`` with mean 0 and variance 1 along the last axis, float32."""
    exact = values.astype(np.float64)
    centred = exact - exact.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + LAYER_NORM_EPSILON), dtype=np.float32)


def mean(states: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]) -> Floats:
    """Return the float32 mean ``(hidden_size,)`` of the masked rows of ``states`` ``(n_tokens, hidden_size)``.

    Raises:
        EngineError: ``states`` and ``mask`` differ in length.
    """
    if len(states) != len(mask):
        raise EngineError(f"got {len(states)} token states for {len(mask)} tokens.")
    return np.asarray(states[mask].mean(axis=0, dtype=np.float64), dtype=np.float32)


def finish(pooled: npt.NDArray[np.floating], dimensions: int, *, normalized: bool = True) -> Floats:
    """Return the first ``dimensions`` numbers of ``pooled`` ``(..., hidden_size)``, float32.

    Args:
        pooled: What a pooling made of token states.
        dimensions: Length of an embedding.
        normalized: Whether its L2 norm is 1.
    """
    cut: Floats = np.asarray(pooled, dtype=np.float32)[..., :dimensions]
    return normalize(cut) if normalized else cut


def normalize(values: Floats) -> Floats:
    """Return ``values`` ``(..., n)`` with L2 norm 1 along the last axis (norms under 1e-12 are not enlarged)."""
    norms = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.maximum(norms, EPSILON), dtype=np.float32)
