"""Scale grey and 16-bit values to 8 bits, by the values that stand for black and for white.

    values                     black to white        refused
    uint16 array, I;16, I      0 to 65535            32-bit values outside of it; a largest value of 1 to 4095, which
                                                     may be 12 bits in 16, 8 in 16, or a dark image
    the same in a TIFF that    the range it names    values outside of it
    names its range or has
    12 bits, in a PGM
    signed 8 or 16 bits in a   the range it names    8 bits, and 16 where it names none
    TIFF
    16 bits per colour         0 to 65535            no colour over 4095, or an alpha of at most that
    float array                0 to 1                outside of it, NaN
    F                          0 to 1; whole numbers everything else, NaN
                               up to 255 as Pillow
                               converts L to F
    F in a TIFF that names it  the range it names    values outside of it

Of 9 to 16 bits the highest 8 are kept, so that equal values give equal pixels in every container; other ranges are
rounded. If a TIFF says that 0 is white, the levels are inverted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ..errors import InputError

Values: TypeAlias = "np.ndarray[Any, Any]"
Scale: TypeAlias = Callable[[Values], Values]

WHITE_16 = 65_535
_DARK_16 = 4_095
_DARK_8 = _DARK_16 >> 8
_ADVICE = (
    "Scale them to 0..65535, or to 0..255 as uint8, for example with (array >> 4).astype(numpy.uint8) for 12 bits."
)
_MIN_TAGS, _MAX_TAGS = (340, 280), (341, 281)
"""SMinSampleValue and MinSampleValue, SMaxSampleValue and MaxSampleValue. Source: TIFF 6.0, sections 8 and 19."""
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_SIGNED = 2
_BITS_OF_WHITE = {2.0**bits - 1: bits for bits in range(8, 33)}


@dataclass(slots=True)
class Extent:
    """The smallest and largest of some values, and whether all are finite and whole numbers."""

    low: float = float("inf")
    high: float = float("-inf")
    finite: bool = True
    whole: bool = True

    @classmethod
    def of(cls, parts: Iterable[Values]) -> Extent:
        """Return the extent of arrays that make one image together."""
        extent = cls()
        for part in parts:
            if part.dtype.kind == "f":
                extent.finite = extent.finite and bool(np.isfinite(part).all())
                extent.whole = extent.whole and extent.finite and bool((part == np.rint(part)).all())
            extent.low = min(extent.low, float(part.min()))
            extent.high = max(extent.high, float(part.max()))
        return extent


def array_scale(dtype: np.dtype[Any], extent: Extent) -> Scale:
    """Return a function that turns an array's values into uint8.

    Raises:
        InputError: The array has another type, or the range of its values is not known.
    """
    if dtype.kind == "u" and dtype.itemsize == 2:
        return sixteen_bit_scale(extent)
    if dtype.kind == "f":
        if not (extent.finite and extent.low >= 0.0 and extent.high <= 1.0):
            raise InputError("got a float array with values outside 0..1; scale it, or pass uint8.")
        return _unit
    if dtype.kind == "b":
        return lambda values: values.astype(np.uint8) * 255
    if dtype != np.uint8:
        raise InputError(f"got an array of dtype {dtype}; expected uint8, uint16 or float in 0..1.")
    return lambda values: values


def image_scale(image: Image.Image, extent: Extent) -> Scale:
    """Return a function that turns the values of an image in mode I;16, I or F into uint8.

    Raises:
        InputError: The range of the values is not known.
    """
    scale = _value_scale(image, extent)
    if _tags(image).get(_PHOTOMETRIC) == 0:  # 0 is white: Pillow inverts only images of 8 bits
        return lambda values: 255 - scale(values)
    return scale


def check_signed(image: Image.Image) -> None:
    """Check that a TIFF of signed 8 or 16 bits says what black and white are.

    Raises:
        InputError: It does not. Pillow would read signed 8 bits as unsigned.
    """
    tags = _tags(image)
    if _SIGNED not in tags.get(_SAMPLE_FORMAT, ()) or max(tags.get(_BITS, (1,))) > 16:
        return
    if image.mode != "I" or not _is_declared(_declared(image)):
        raise InputError(
            "got a TIFF of signed integers that does not say which values are black and white. Save it with "
            "unsigned integers, scaled to 0..255 or 0..65535."
        )


def _value_scale(image: Image.Image, extent: Extent) -> Scale:
    declared = _declared(image)
    if image.mode == "F":
        return _float_scale(extent, declared)
    if declared is not None and _is_declared(declared):
        return _declared_scale(extent, *declared)
    if extent.low < 0 or extent.high > WHITE_16:
        raise InputError(
            f"got 32-bit integers from {extent.low:.0f} to {extent.high:.0f}; expected 0 to {WHITE_16}. {_ADVICE}"
        )
    return sixteen_bit_scale(extent)


def sixteen_bit_scale(extent: Extent) -> Scale:
    """Return a function that turns 16-bit values into uint8: their high byte.

    Raises:
        InputError: The largest value is 1 to 4095, so the range may be another.
    """
    if 0 < extent.high <= _DARK_16:
        raise InputError(
            f"got 16-bit values up to {extent.high:.0f} of {WHITE_16}: it is not known whether they are a dark image, "
            f"or 12 bits or fewer in 16. {_ADVICE}"
        )
    return _highest(16)


def check_sixteen_bit_colours(image: Image.Image) -> None:
    """Check an image that Pillow read from 16 bits per colour, of which it keeps the high byte.

    Raises:
        InputError: The colours, or an alpha channel that is not all 0, stay at 4095 or below, so the image may have
            fewer bits.
    """
    extrema: Any = image.getextrema()
    most = {band: high for band, (_, high) in zip(image.getbands(), extrema, strict=True)}
    alpha = most.pop("A", 0)
    if max(most.values()) <= _DARK_8 or 0 < alpha <= _DARK_8:
        raise InputError(
            f"got 16 bits per colour, but no colour or no alpha over {_DARK_16} of {WHITE_16}: it is not known whether "
            f"this is a dark image, or 12 bits or fewer in 16. {_ADVICE}"
        )


def _float_scale(extent: Extent, declared: tuple[float, float] | None) -> Scale:
    if extent.finite and declared is not None and declared[0] < declared[1]:
        _check_declared(extent, *declared)
        return _between(*declared)
    if extent.finite and extent.low >= 0.0 and extent.high <= 1.0:
        return _unit
    if extent.whole and extent.low >= 0.0 and _DARK_8 < extent.high <= 255.0:
        return lambda values: values.astype(np.uint8)
    also = "" if extent.finite else ", not all of them finite"
    raise InputError(
        f"got float values from {extent.low:g} to {extent.high:g}{also}; expected 0 (black) to 1 (white), or "
        "whole numbers up to 255. Scale them: (array - low) / (high - low)."
    )


def _declared_scale(extent: Extent, low: float, high: float) -> Scale:
    _check_declared(extent, low, high)
    bits = _BITS_OF_WHITE.get(high) if low == 0 else None
    return _between(low, high) if bits is None else _highest(bits)


def _is_declared(declared: tuple[float, float] | None) -> bool:
    """Tell whether a declared range is possible for integers."""
    return declared is not None and declared[0] <= 0 < declared[1] <= 2**32


def _check_declared(extent: Extent, low: float, high: float) -> None:
    if extent.low < low or extent.high > high:
        raise InputError(
            f"got values from {extent.low:g} to {extent.high:g} in a file that says {low:g} to {high:g}. "
            "Correct its SMinSampleValue and SMaxSampleValue, or scale the values."
        )


def _declared(image: Image.Image) -> tuple[float, float] | None:
    """Return the values of black and white that the image's file names."""
    if image.format == "PPM" and image.mode == "I":
        return 0.0, float(WHITE_16)  # Pillow has scaled the file's own maximum to this
    tags = _tags(image)
    low, high = _first(tags, _MIN_TAGS), _first(tags, _MAX_TAGS)
    if high is None and tags.get(_BITS) == (12,):
        high = 4095.0
    return None if high is None else (low or 0.0, high)


def _tags(image: Image.Image) -> Any:
    """Return the tags of a TIFF; an empty dict for any other image."""
    return getattr(image, "tag_v2", {})


def _first(tags: Any, names: tuple[int, ...]) -> float | None:
    for name in names:
        value = tags.get(name)
        value = value[0] if isinstance(value, tuple) and value else value
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if np.isfinite(number):
            return number
    return None


def _unit(values: Values) -> Values:
    scaled: Values = np.rint(values * 255.0).astype(np.uint8)
    return scaled


def _between(low: float, high: float) -> Scale:
    """Return a function that scales the values between black and white to uint8, rounded."""
    return lambda values: np.rint((values.astype(np.float64) - low) * 255.0 / (high - low)).astype(np.uint8)


def _highest(bits: int) -> Scale:
    """Return a function that keeps the highest 8 of ``bits`` bits."""
    return lambda values: (values.astype(np.uint32) >> (bits - 8)).astype(np.uint8)
