"""Opening pictures.

Enters: what callers pass for a picture. Leaves: an RGB ``PIL.Image.Image``, fully decoded.
This file refuses to know where bytes come from (``sources``), batches, prompts and models.
"""

from __future__ import annotations

import os
from io import BytesIO
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import InputError
from .pictures import png
from .sources import MediaPolicy, is_data_uri, picture_string, read

__all__ = [
    "MAX_SIDE_RATIO",
    "ImageInput",
    "MediaPolicy",
    "encoded_image",
    "is_data_uri",
    "open_image",
    "picture_string",
]

ImageInput: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BytesIO | Image.Image | np.ndarray"
"""A path, ``data:image/...;base64,`` URI, reference (``sources``), encoded bytes, PIL image, or array of uint8, uint16
or float, (H, W[, 1|3|4])."""

MAX_SIDE_RATIO = 200
"""Longest side over shortest side. Source: smart_resize in transformers' Qwen2-VL image processor."""

# Not all of Pillow's: its EPS reader, for one, starts Ghostscript on the bytes. HEIF is there once pillow-heif is.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "ICO", "JPEG2000", "AVIF", "HEIF", "TGA")
_FOR_THE_WEB = ("PNG", "JPEG", "WEBP", "GIF")
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def open_image(source: object, policy: MediaPolicy) -> Image.Image:
    """Return ``source`` as a decoded RGB picture.

    EXIF orientation is applied, transparency is composited on white, 16-bit values are scaled to 8 bits,
    palette, grey and CMYK pictures are converted.

    Args:
        source: An ``ImageInput``.
        policy: Limits to keep.

    Returns:
        A picture in mode RGB; no file stays open.

    Raises:
        InputError: ``source`` is no picture, breaks the policy, or has a side ratio over 200.
    """
    picture = _decode(source, policy)
    width, height = picture.size
    if min(width, height) == 0 or max(width, height) / min(width, height) > MAX_SIDE_RATIO:
        raise InputError(
            f"got a picture of {width} x {height} pixels; the model takes side ratios up to {MAX_SIDE_RATIO}. "
            "Crop it or cut it into tiles."
        )
    return _to_rgb(picture)


def encoded_image(source: object, policy: MediaPolicy) -> tuple[bytes, str]:
    """Return a picture as a file that every browser and chat model shows, and its media type.

    The bytes of a PNG, JPEG, WebP or GIF file stay as they are; anything else becomes a PNG of the RGB picture, so that
    its embedding stays the same.

    Raises:
        InputError: As ``open_image``.
    """
    found = read(source, policy)
    picture = open_image(source if found is None else found[0], policy)
    if found is not None:
        with _open(found[0]) as file:
            kind = file.format
        if kind in _FOR_THE_WEB:
            return found[0], f"image/{kind.lower()}"
    return png(picture), "image/png"


def _decode(source: object, policy: MediaPolicy) -> Image.Image:
    if isinstance(source, Image.Image):
        _check_pixels(source, policy)
        return _load(source, "a PIL image")
    if isinstance(source, np.ndarray):
        return _from_array(source, policy)
    found = read(source, policy)
    if found is not None:
        return _from_bytes(*found, policy)
    raise InputError(
        f"got {type(source).__name__}; expected a path, a data:image/...;base64, URI, encoded bytes, "
        "a PIL image or a uint8 array (height, width, 3)."
    )


def _from_bytes(data: bytes, name: str, policy: MediaPolicy) -> Image.Image:
    if len(data) > policy.max_bytes:
        raise InputError(f"{name} is larger than the media policy's max_bytes={policy.max_bytes}.")
    if data[:5] == b"%PDF-":
        raise InputError(f"got a PDF ({name}); expected PNG, JPEG or WebP. Render the pages to images first.")
    try:
        picture = _open(data)
        _check_pixels(picture, policy)
    except UnidentifiedImageError:
        raise InputError(f"{name} is no picture that can be read; expected PNG, JPEG or WebP.") from None
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like on hostile bytes
        raise InputError(f"{name} cannot be decoded ({type(error).__name__}: {error}).") from None
    return _load(picture, name)


def _open(data: bytes) -> Image.Image:
    Image.init()
    return Image.open(BytesIO(data), formats=[kind for kind in _FORMATS if kind in Image.OPEN])


def _check_pixels(picture: Image.Image, policy: MediaPolicy) -> None:
    width, height = picture.size
    if width * height > policy.max_pixels:
        raise InputError(
            f"got {width} x {height} = {width * height} pixels; the media policy's max_pixels is {policy.max_pixels}."
        )


def _load(picture: Image.Image, name: str) -> Image.Image:
    try:
        picture.load()
    except Exception as error:  # truncated or hostile data
        raise InputError(f"{name} cannot be decoded ({type(error).__name__}: {error}).") from None
    return picture


def _from_array(array: np.ndarray, policy: MediaPolicy) -> Image.Image:
    shape_is_right = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not shape_is_right or array.size == 0:
        raise InputError(f"got an array of shape {array.shape}; expected (height, width, 3), channels last.")
    if array.shape[0] * array.shape[1] > policy.max_pixels:
        raise InputError(f"got an array of shape {array.shape}; the media policy's max_pixels is {policy.max_pixels}.")
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0.0 or array.max() > 1.0:
            raise InputError("got a float array with values outside 0..1; scale it, or pass uint8.")
        array = np.rint(array * 255.0).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        raise InputError(f"got an array of dtype {array.dtype}; expected uint8, uint16 or float in 0..1.")
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array))


def _to_rgb(picture: Image.Image) -> Image.Image:
    try:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode in _SIXTEEN_BIT_MODES:
            picture = _scale_16_bit(picture)
        if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
            rgba = picture.convert("RGBA")
            white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, rgba).convert("RGB")
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    except Exception as error:  # broken profiles, EXIF or palettes
        raise InputError(f"the picture cannot be converted to RGB ({type(error).__name__}: {error}).") from None


def _scale_16_bit(picture: Image.Image) -> Image.Image:
    """Scale to 8 bits; PIL's own conversion clips every value over 255 to white."""
    values = np.asarray(picture)
    if picture.mode == "I" and (values.min() < 0 or values.max() > 65535):
        raise ValueError("32-bit integer pictures are not supported")
    if picture.mode == "I" and values.max() <= 255:
        return Image.fromarray(values.astype(np.uint8))
    return Image.fromarray((values.astype(np.uint32) >> 8).astype(np.uint8))
