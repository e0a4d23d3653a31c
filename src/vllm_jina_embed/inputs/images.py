"""Opening images: what callers pass for an image becomes an RGB ``PIL.Image.Image``, fully decoded.

Where bytes come from stands in ``sources``, how they are decoded and with how much memory in ``decoding``, what each
mode and each range of values becomes in ``image_modes`` and ``image_ranges``.

Nothing that a caller passes is changed, and any number of threads may pass the same object at once. An array, a buffer
or a decoded PIL image is read while the call runs: until it returns, it must not be changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TypeAlias

import numpy as np
from PIL import Image

from ..errors import InputError, VllmJinaError, unreadable
from .decoding import BUDGET, MAX_SIDE_RATIO, check_size, decoded_file, decoded_pil
from .encoding import png
from .image_modes import array_rgb
from .policy import MediaPolicy
from .sources import is_data_uri, picture_string, read

__all__ = [
    "MAX_SIDE_RATIO",
    "ImageInput",
    "MediaPolicy",
    "encoded",
    "encoded_image",
    "is_data_uri",
    "open_image",
    "picture_string",
]

ImageInput: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BytesIO | Image.Image | np.ndarray"
"""A path, ``data:image/...;base64,`` URI, reference (``sources``), encoded bytes, PIL image, or array of uint8, uint16
or float, (H, W[, 1|3|4])."""

_WEB_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG that carries further images, as phones write it
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
}
"""Formats that every browser shows, and their media types."""
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def open_image(source: object, policy: MediaPolicy) -> Image.Image:
    """Return ``source`` as a decoded RGB image.

    EXIF orientation is applied, transparency is composited on white, 16-bit and float values are scaled to 8 bits,
    palette, grey and CMYK images are converted. Of several frames it is the first, or the one that a PIL image is at.

    Args:
        source: An ``ImageInput``.
        policy: Limits to keep.

    Returns:
        An image in mode RGB; no file stays open.

    Raises:
        InputError: ``source`` is not an image, breaks the policy, has a side ratio over 200, or values whose range is
            not known.
    """
    with _readable(source):
        if isinstance(source, Image.Image):
            return decoded_pil(source, policy)
        if isinstance(source, np.ndarray):
            return _from_array(source, policy)
        return _from_bytes([_bytes_of(source, policy)], policy)[0]


def encoded(source: object, policy: MediaPolicy) -> tuple[bytes, str, Image.Image]:
    """Return an image as a file that browsers show, its media type, and the RGB image.

    The bytes of a PNG, JPEG, WebP, GIF or AVIF file stay as they are. Anything else becomes a PNG of the RGB image, so
    that its embedding stays the same; a file whose PNG would be larger than the policy's ``max_bytes`` stays as it is.

    Raises:
        InputError: As ``open_image``.
    """
    with _readable(source):
        if isinstance(source, Image.Image | np.ndarray):
            image = open_image(source, policy)
            return png(image), "image/png", image
        data, name = _bytes_of(source, policy)
    image, kind = _from_bytes([(data, name)], policy)
    if kind in _WEB_TYPES:
        return data, _WEB_TYPES[kind], image
    file = png(image)
    if len(file) > policy.max_bytes:
        return data, Image.MIME.get(kind, f"image/{kind.lower()}"), image
    return file, "image/png", image


def encoded_image(source: object, policy: MediaPolicy) -> tuple[bytes, str]:
    """Return an image as a file that browsers show, and its media type; see ``encoded``.

    Raises:
        InputError: As ``open_image``.
    """
    return encoded(source, policy)[:2]


@contextmanager
def _readable(source: object) -> Iterator[None]:
    """Make whatever a caller's object raises an ``InputError``: a released memoryview, a closed image, its own code."""
    try:
        yield
    except VllmJinaError:
        raise
    except Exception as error:
        raise unreadable(source, error) from None


def _bytes_of(source: object, policy: MediaPolicy) -> tuple[bytes, str]:
    found = read(source, policy)
    if found is None:
        raise InputError(
            f"got {type(source).__name__}; expected a path, a data:image/...;base64, URI, encoded bytes, "
            "a PIL image or a uint8 array (height, width, 3)."
        )
    return found


def _from_bytes(taken: list[tuple[bytes, str]], policy: MediaPolicy) -> tuple[Image.Image, str]:
    """Return the RGB image in the only file of ``taken``, and its format; the bytes are let go of early."""
    data, name = taken.pop()
    if len(data) > policy.max_bytes:
        raise InputError(f"{name} is larger than the media policy's max_bytes={policy.max_bytes}.")
    if data[:5] == b"%PDF-":
        raise InputError(f"got a PDF ({name}); expected PNG, JPEG or WebP. Render the pages to images first.")
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        _register_heif(name)
    file, size = BytesIO(data), len(data)
    del data
    return decoded_file(file, name, policy, held=size)


def _register_heif(name: str) -> None:
    """Let Pillow read HEIC where pillow-heif is installed.

    Raises:
        InputError: It is not.
    """
    Image.init()
    if "HEIF" in Image.OPEN:
        return
    try:
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise InputError(
            f"{name} is a HEIC image, which Pillow cannot read alone. Run: pip install pillow-heif. Or save it as JPEG."
        ) from None
    register_heif_opener()


def _from_array(array: np.ndarray, policy: MediaPolicy) -> Image.Image:
    shape_is_right = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not shape_is_right or array.size == 0:
        raise InputError(f"got an array of shape {array.shape}; expected (height, width, 3), channels last.")
    height, width = array.shape[:2]
    if height * width > policy.max_pixels:
        raise InputError(f"got an array of shape {array.shape}; the media policy's max_pixels is {policy.max_pixels}.")
    check_size((width, height), policy)
    with BUDGET.hold(4 * width * height):
        return array_rgb(array)
