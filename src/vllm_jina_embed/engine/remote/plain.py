"""What a plain vLLM server leaves to its clients: it gives token states, which are pooled here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..._arrays import Floats
from ...checkpoints.description import Model
from ...pooling import single_vector
from ...prompts.base import Prompt
from .messages import VectorRequest


def pooled(row: Model, prompt: Prompt, states: Floats, request: VectorRequest) -> Floats:
    """Return the embedding ``(dimensions,)`` of a prompt's token states ``(n_tokens, hidden_size)``."""
    assert row.pooling is not None
    mask = _spans(prompt, len(states)) if row.pooling == "vision_span_mean" else None
    with np.errstate(over="ignore"):  # of numbers that no model gives; the norm tells it
        vector = single_vector.pooled(states, row.pooling, mask=mask, layer_norm=row.layer_norm)
        return single_vector.finish(vector, request.dimensions, normalized=request.normalize)


def _spans(prompt: Prompt, count: int) -> npt.NDArray[np.bool_]:
    """Return a mask ``(count,)`` of the vision spans, which stand side by side, or of a text's whole prompt."""
    before, after = prompt.around
    mask = np.zeros(count, dtype=bool)
    mask[before : count - after] = True
    return mask
