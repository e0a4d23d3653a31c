"""What vLLM's numbers for one prompt are: an embedding, rows, or both behind one another."""

from __future__ import annotations

import math

import numpy as np

from ..._arrays import Floats
from ...errors import EngineError, InputError
from ...pooling.single_vector import NORM_LIMIT


def finite(values: Floats) -> Floats:
    """Return ``values`` themselves.

    Raises:
        InputError: Some values are not finite.
    """
    if not np.isfinite(values).all():
        raise InputError("the model's numbers overflowed on this item; use dtype bfloat16 or float32.")
    return values


def unit(vector: Floats) -> Floats:
    """Return ``vector`` itself.

    Raises:
        InputError: Its norm is not 1, for example because the average is 0, or is not finite.
    """
    if not abs(math.sqrt(vector.dot(vector)) - 1) <= NORM_LIMIT:  # linalg.norm takes a tenth of a request's time here
        finite(vector)
        raise InputError(f"the model's vector of this item has norm {np.linalg.norm(vector):g} instead of 1.")
    return vector


def parted(numbers: Floats, dimensions: int, count: int) -> tuple[Floats, Floats]:
    """Return the embedding ``(dimensions,)`` and the rows ``(count, token_dimensions)`` of one line of numbers.

    Raises:
        EngineError: They are not of this length: the plugin is another one, or was not loaded.
    """
    rows = numbers[dimensions:]
    if numbers.ndim != 1 or count < 1 or len(rows) < count or len(rows) % count:
        raise EngineError(
            f"vLLM gave numbers of shape {numbers.shape} for an embedding of {dimensions} and {count} rows. Was the "
            "plugin 'vllm_jina_embed' loaded? Check VLLM_PLUGINS."
        )
    return numbers[:dimensions], rows.reshape(count, -1)
