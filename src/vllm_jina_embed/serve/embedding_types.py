"""Embeddings in the types of ``/v2/embed``: float, int8, uint8, binary, ubinary and base64.

Source: vLLM 0.32, entrypoints/pooling/embed/protocol.py, build_typed_embeddings; it lacks int8 and uint8.
"""

from __future__ import annotations

import base64
from typing import Any

from .._arrays import Floats
from ..pooling.quantization import BYTES, PACKED, quantized

TYPES = ("float", *BYTES, *PACKED, "base64")


def converted(vectors: Floats, kind: str) -> list[Any]:
    """Return embeddings in one of ``TYPES``, a list of numbers or a base64 text for each.

    Args:
        vectors: float32, ``(n, dimensions)``, of L2 norm 1; whole bytes of them for the types in ``PACKED``.
        kind: The type; see ``pooling.quantization`` for whole numbers and bits.
    """
    if kind == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
    return list((vectors if kind == "float" else quantized(vectors, kind)).tolist())
