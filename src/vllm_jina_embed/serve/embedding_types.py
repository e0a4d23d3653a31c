"""Embeddings in the types of ``/v2/embed``: float, int8, uint8, binary, ubinary and base64.

Sources: vLLM 0.32, entrypoints/pooling/embed/protocol.py, build_typed_embeddings, for float, binary, ubinary and
base64; sentence-transformers 6.2, util/quantization.py, quantize_embeddings, for int8 and uint8, which vLLM lacks.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from .._arrays import Floats

TYPES = ("float", "int8", "uint8", "binary", "ubinary", "base64")
PACKED = ("binary", "ubinary")
"""Types of eight numbers in a byte."""
REACH = 8.0
"""Largest number that int8 and uint8 tell from larger ones, in units of the root mean square of a vector of norm 1."""


def reach(dimensions: int) -> float:
    """Return the end of the range of int8 and uint8, which begins at its negative: ``8 / sqrt(dimensions)``, at most 1.

    It depends on nothing else, so that a query and a document of another day are comparable. (The range of a batch, as
    sentence-transformers takes it by default, would make an embedding depend on its neighbours.)
    """
    return min(1.0, REACH / math.sqrt(dimensions))


def converted(vectors: Floats, kind: str) -> list[Any]:
    """Return embeddings in one of ``TYPES``, a list of numbers or a base64 text for each.

    Args:
        vectors: float32, ``(n, dimensions)``, of L2 norm 1; whole bytes of them for the types in ``PACKED``.
        kind: The type. ``binary`` is ``ubinary`` minus 128, ``int8`` is ``uint8`` minus 128; bits begin at the highest.
    """
    if kind == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
    if kind == "float":
        return list(vectors.tolist())
    if kind in PACKED:
        whole = np.packbits(vectors >= 0, axis=-1)
    else:
        end = np.float32(reach(vectors.shape[1]))
        step = (end - -end) / np.float32(255)
        whole = np.clip(np.floor((vectors - -end) / step), 0, 255).astype(np.uint8)
    return list((whole.astype(np.int16) - 128 * (kind in ("binary", "int8"))).tolist())
