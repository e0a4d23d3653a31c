"""Convert images of every mode to RGB, in bands of rows, so that little more than the image and its result is held.

    mode                         how
    RGB                          as it is
    1, L, P, PA, CMYK, YCbCr,    converted by Pillow
    HSV, LAB, RGBX
    RGBA, RGBa, LA, La, PA,      composited on white
    a transparent colour in 1,
    L, P, RGB, I;16
    I;16, I;16B, I;16L, I;16N,   scaled to 8 bits, see ``image_ranges``
    I, F

EXIF's rotation is applied where the image is smallest. The pixels do not depend on the height of the bands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from .image_costs import GREY_MODES, ROW_MODES, SIXTEEN_BIT_MODES, VALUE_MODES
from .image_ranges import Extent, Scale, array_scale, check_signed, image_scale

BAND = 250_000
"""Pixels of a large image that are converted at once; up to eight times as many are converted whole."""
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")

Convert: TypeAlias = Callable[[Image.Image], Image.Image]
Turn: TypeAlias = "Image.Transpose | None"


def rgb(taken: list[Image.Image], turn: Turn, *, ours: bool, band: int = BAND) -> Image.Image:
    """Return an image in mode RGB, with its colour profile and no other metadata.

    Args:
        taken: A list of the image alone; emptied, so that the image is freed as early as possible.
        turn: The rotation or mirroring that EXIF asks for.
        ours: Whether nobody else has the image; if not, it stays unchanged and the result shares nothing with it.
        band: Pixels that are converted at once.

    Raises:
        InputError: The range of its values is not known.
    """
    profile = taken[0].info.get("icc_profile") if taken[0].mode in ("RGB", "RGBA", "P") else None
    result = _rgb(taken, turn, ours=ours, band=band)
    result.info = {"icc_profile": profile} if profile else {}
    return result


def _rgb(taken: list[Image.Image], turn: Turn, *, ours: bool, band: int) -> Image.Image:
    image = taken.pop()
    convert = _conversion(image, band)
    rows = max(1, band // image.width)
    if image.mode == "RGB" and "transparency" not in image.info and turn is None:
        return image._new(image.im) if ours else image.copy()  # a plain image of the same pixels
    if image.width * image.height <= 8 * band:
        return _turned(_whole(convert(image)), turn)
    if image.mode in ROW_MODES:
        image = _turned(image, turn)
        turn = None
        if "transparency" not in image.info:
            return image.convert("RGB")
    elif ours or turn is not None or image.mode in GREY_MODES:
        planes = _planes(image, convert, rows)
        del image
        for number, plane in enumerate(planes):
            planes[number] = _turned(plane, turn)
            del plane
        return _whole(planes[0]) if len(planes) == 1 else Image.merge("RGB", planes)
    result = Image.new("RGB", image.size)
    for top, part in _bands(image, rows):
        result.paste(convert(part), (0, top))
    return result


def array_rgb(array: np.ndarray[Any, Any], *, band: int = BAND) -> Image.Image:
    """Return an array of shape (height, width[, 1|3|4]) as an image in mode RGB.

    Raises:
        InputError: The array has another type, or the range of its values is not known.
    """
    height, width = array.shape[:2]
    rows = max(1, band // width)
    tops = range(0, height, rows)
    scale = _array_scale(array, rows)
    result = Image.new("RGB", (width, height))
    for top in tops:
        values = np.ascontiguousarray(scale(array[top : top + rows]))
        part = Image.fromarray(values[:, :, 0] if values.ndim == 3 and values.shape[2] == 1 else values)
        result.paste(_on_white(part) if part.mode == "RGBA" else part.convert("RGB"), (0, top))
    return result


def _array_scale(array: np.ndarray[Any, Any], rows: int) -> Scale:
    """Return a function that turns ``array`` into uint8; alpha is checked apart, as it says nothing of the colours."""
    if array.dtype == np.uint8 or array.dtype.kind not in "uf":
        return array_scale(array.dtype, Extent())
    has_alpha = array.ndim == 3 and array.shape[2] == 4
    parts = (array[:, :, :3], array[:, :, 3:]) if has_alpha else (array,)
    extents = [Extent.of(part[top : top + rows] for top in range(0, len(part), rows)) for part in parts]
    scale, *_ = [array_scale(array.dtype, extent) for extent in extents]
    return scale


def _conversion(image: Image.Image, band: int) -> Convert:
    """Return a function that converts a part of ``image`` to RGB, or to L if its mode has no colour."""
    check_signed(image)
    if image.mode in VALUE_MODES:
        rows = max(1, band // image.width)
        scale = image_scale(image, Extent.of(np.asarray(part) for _, part in _bands(image, rows)))
        clear = image.info.get("transparency") if image.mode in SIXTEEN_BIT_MODES else None

        def grey(part: Image.Image) -> Image.Image:
            values = np.asarray(part)
            levels = scale(values)
            return Image.fromarray(
                np.where(values == clear, 255, levels).astype(np.uint8) if clear is not None else levels
            )

        return grey
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _grey_on_white if image.mode in GREY_MODES else _on_white
    return lambda part: part.convert("RGB")


def _on_white(part: Image.Image) -> Image.Image:
    rgba = (part.convert("LA") if part.mode == "La" else part).convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def _grey_on_white(part: Image.Image) -> Image.Image:
    return _on_white(part).getchannel(0)


def _bands(image: Image.Image, rows: int) -> Iterator[tuple[int, Image.Image]]:
    if image.height <= rows:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _planes(image: Image.Image, convert: Convert, rows: int) -> list[Image.Image]:
    """Return the channels of the RGB image, or the only one of a grey image: 3 bytes per pixel, not Pillow's 4."""
    planes: list[Image.Image] = []
    for top, part in _bands(image, rows):
        channels = convert(part).split()
        planes = planes or [Image.new("L", image.size) for _ in channels]
        for plane, channel in zip(planes, channels, strict=True):
            plane.paste(channel, (0, top))
    return planes


def _turned(image: Image.Image, turn: Turn) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def _whole(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")
