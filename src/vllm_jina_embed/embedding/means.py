"""Means: of the embeddings of a text and its images, of those of a long text's chunks, and of the states of spans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .._arrays import Floats
from ..errors import EngineError, InputError
from ..pooling.single_vector import finish, normalize, pooled

LEAST = 1e-5
"""Smallest L2 norm of a mean that has a direction: float32 rounding of two opposite unit vectors leaves under 1e-6."""


def of_both(vectors: Floats) -> Floats:
    """Return the mean of the vectors ``(2, dimensions)`` of a text and its images, itself of norm 1, float32.

    Raises:
        InputError: They cancel each other.
    """
    middle = vectors.mean(axis=0, dtype=np.float64)
    return _direction(middle, "the embeddings of its text and its image are opposite", "Embed them as two items.")


def of_chunks(vectors: Floats, weights: Sequence[int], *, normalized: bool) -> Floats:
    """Return the mean of the vectors ``(n, dimensions)`` of chunks, float32 ``(dimensions,)``.

    vLLM's servers do the same with ``enable_chunked_processing``, but count the tokens of the template too and cut
    through it. Source: vLLM 0.32, entrypoints/pooling/embed/io_processor.py, _post_process_chunked.

    Args:
        vectors: Of L2 norm 1, or what was pooled.
        weights: How many tokens of the text each stands for.
        normalized: Whether the mean gets L2 norm 1.

    Raises:
        InputError: They cancel each other, so that their mean has no direction.
    """
    middle = np.average(vectors.astype(np.float64), axis=0, weights=weights)
    if not normalized:
        return np.asarray(middle, dtype=np.float32)
    return _direction(middle, "the embeddings of its chunks cancel each other", "Split the text into items of its own.")


def of_spans(states: Floats, counts: Sequence[int], dimensions: int, *, layer_norm: bool, normalized: bool) -> Floats:
    """Return the embeddings ``(n_spans, dimensions)`` of the spans of a prompt, float32.

    Args:
        states: The states of its tokens, ``(n_tokens, hidden_size)``.
        counts: How many of them each span has.
        dimensions: Length of an embedding.
        layer_norm: Whether the row has a layer norm behind its mean.
        normalized: Whether each gets L2 norm 1.

    Raises:
        EngineError: There are more or fewer states than tokens.
        InputError: A mean has no direction.
    """
    if len(states) != sum(counts):
        raise EngineError(f"got {len(states)} token states for {sum(counts)} tokens.")
    parts = np.split(states, np.cumsum(counts)[:-1])
    rows = finish(
        np.stack([pooled(part, "mean", layer_norm=layer_norm) for part in parts]), dimensions, normalized=False
    )
    if not normalized:
        return rows
    return np.stack(
        [
            _direction(row.astype(np.float64), "a chunk's states cancel each other", "Join it with another.")
            for row in rows
        ]
    )


def _direction(middle: npt.NDArray[np.float64], what: str, advice: str) -> Floats:
    length = float(np.linalg.norm(middle))
    if not length > LEAST:
        raise InputError(f"{what}: their mean has the L2 norm {length:.1e} and no direction. {advice}")
    return normalize((middle / length).astype(np.float32))
