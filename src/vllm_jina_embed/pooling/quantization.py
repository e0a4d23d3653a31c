"""Embeddings in smaller types: float16, a byte per number, or a bit per number.

Sources: sentence-transformers 6.2, util/quantization.py, quantize_embeddings, for int8 and uint8; vLLM 0.32,
entrypoints/pooling/embed/protocol.py, build_typed_embeddings, for binary and ubinary, in which 0 is a set bit
(quantize_embeddings clears it).
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from .._arrays import Floats
from ..errors import ConfigError, InputError

OutputDtype = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
DTYPES: tuple[str, ...] = get_args(OutputDtype)
BYTES, PACKED = ("int8", "uint8"), ("binary", "ubinary")
"""Types of one byte for each number, and of eight numbers in a byte."""
REACH = 8.0
"""Largest number that int8 and uint8 tell from larger ones, in units of the root mean square of a vector of norm 1."""
_STEPS = 255
_LARGEST = float(np.finfo(np.float16).max)


def default_ranges(dimensions: int) -> Floats:
    """Return the ranges of int8 and uint8 that nothing was measured for, ``(2, dimensions)``: ``8 / sqrt(dimensions)``.

    At most 1, below and above 0. They depend on nothing else, so that a query and a document of another day are
    comparable. (The range of a batch, as sentence-transformers takes it by default, would make an embedding depend on
    its neighbours.)
    """
    end = min(1.0, REACH / math.sqrt(dimensions))
    return np.repeat(np.array([[-end], [end]], dtype=np.float32), dimensions, axis=1)


def calibrated(embeddings: Floats) -> Floats:
    """Return the smallest and the largest of each number in a sample of embeddings, for the ``ranges`` of int8.

    Keep them beside the index (``numpy.save``): its queries and every later item need the same ones.

    Args:
        embeddings: float, ``(n, dimensions)``, of what will be searched; a few thousand.

    Returns:
        float32, ``(2, dimensions)``, the same as ``ranges`` of ``quantize_embeddings``.

    Raises:
        InputError: There are fewer than two, a number is NaN or infinite, or they are whole numbers already.
    """
    try:
        sample = np.asarray(embeddings)
    except ValueError as error:  # of rows of several lengths
        raise InputError(f"the sample to calibrate by is not an array ({error}).") from None
    if sample.dtype.kind in "iu":
        raise InputError(
            f"got a sample of {sample.dtype} to calibrate by; expected the numbers before they become whole ones: "
            "embed it with output_dtype='float32'."
        )
    if sample.ndim != 2 or len(sample) < 2 or not np.isfinite(sample).all():
        raise InputError(
            f"got a sample of shape {sample.shape} to calibrate by; expected at least two embeddings (n, dimensions) "
            "of finite numbers."
        )
    return np.stack([sample.min(axis=0), sample.max(axis=0)]).astype(np.float32)


def quantized(embeddings: Floats, dtype: str, ranges: npt.ArrayLike | None = None) -> npt.NDArray[Any]:
    """Return embeddings in another type.

    Args:
        embeddings: float32, ``(n, dimensions)``; whole bytes of them for ``binary`` and ``ubinary``.
        dtype: One of ``DTYPES``. ``int8`` is ``uint8`` minus 128, ``binary`` is ``ubinary`` minus 128; a bit is set
            where a number is at least 0, and the first number is the highest bit.
        ranges: For ``int8`` and ``uint8``, where each number's 256 steps begin and end, ``(2, dimensions)``; what is
            beyond them becomes their end. None takes ``default_ranges``, for vectors of L2 norm 1.

    Returns:
        Shape ``(n, dimensions)``, or ``(n, dimensions / 8)`` for ``binary`` and ``ubinary``.

    Raises:
        ConfigError: ``dtype`` or ``ranges`` cannot be used with embeddings of this length.
        InputError: A number is beyond those of float16.
    """
    limits = checked(dtype, embeddings.shape[-1], ranges)
    if dtype == "float16" and (np.abs(embeddings) > _LARGEST).any():
        raise InputError(
            f"got a number of {np.nanmax(np.abs(embeddings)):.6g}; float16 holds {_LARGEST:g} at most. Take float32, "
            "or normalize=True."
        )
    if dtype in ("float32", "float16"):
        return embeddings.astype(dtype)
    if limits is None:
        whole = np.packbits(embeddings >= 0, axis=-1)
    else:
        start, end = limits
        step = (end - start) / np.float32(_STEPS)
        step = np.where(step == 0, np.float32(1), step)
        whole = np.clip(np.floor((embeddings - start) / step), 0, _STEPS).astype(np.uint8)
    return whole if dtype in ("uint8", "ubinary") else (whole.astype(np.int16) - 128).astype(np.int8)


def checked(dtype: str, dimensions: int, ranges: npt.ArrayLike | None = None) -> Floats | None:
    """Return the ranges to use, or None for a type that has none.

    Raises:
        ConfigError: ``dtype`` is unknown, ``dimensions`` are not whole bytes of bits, or ``ranges`` have another shape,
            are not finite, end before they begin, or belong to another type.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"output_dtype={dtype!r} is unknown; choose one of {', '.join(DTYPES)}.")
    if dtype in PACKED and dimensions % 8:
        raise ConfigError(
            f"output_dtype={dtype!r} holds 8 numbers in a byte, and {dimensions} dimensions are not a multiple of 8."
        )
    if dtype not in BYTES:
        if ranges is not None:
            raise ConfigError(f"ranges=... are those of int8 and uint8, and output_dtype={dtype!r} has none.")
        return None
    if ranges is None:
        return default_ranges(dimensions)
    try:
        limits = np.asarray(ranges, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"ranges=... are not an array of numbers ({error}); pass what calibrated() returns."
        ) from None
    if limits.shape != (2, dimensions) or not np.isfinite(limits).all() or not (limits[0] <= limits[1]).all():
        raise ConfigError(
            f"ranges=... of shape {limits.shape}: expected the finite beginning and end of each number, "
            f"{(2, dimensions)}, as calibrated() returns them."
        )
    return limits
