"""Opens whatever a caller passes for an image as a decoded RGB ``PIL.Image.Image``.

``sources`` finds the bytes, ``image_files`` decodes them within a bound on memory, ``pil_images`` reads a caller's PIL
image, ``image_modes`` and ``image_ranges`` convert modes and ranges of values.

Nothing that a caller passes is changed, and any number of threads may pass the same object at once. An array, a buffer
or a decoded PIL image is read while the call runs: until it returns, it must not be changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from ..errors import InputError, VllmJinaError, unreadable
from .decoder import media_type, stands_for
from .encoding import png
from .file_objects import may_share
from .image_files import BUDGET, MAX_SIDE_RATIO, check_size, decoded_file
from .image_modes import array_rgb
from .pil_images import decoded_pil
from .policy import MediaPolicy
from .sources import ImageFile, image_string, is_data_uri, read

__all__ = [
    "MAX_SIDE_RATIO",
    "ImageInput",
    "LoadedImage",
    "MediaPolicy",
    "image_string",
    "is_data_uri",
    "load_image",
    "may_share_a_file",
    "open_image",
    "open_to_send",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedImage:
    """An image that was opened: read once and decoded once, then handed on as this.

    Attributes:
        pixels: The decoded RGB image, which nobody draws on.
        data: Its encoded file as it was given; None for what never was a file, and where nobody needs the file.
        media_type: Of ``data``, for example ``image/png``.
        path: The file's absolute path, where one was named.
        reference: The reference that leads to the file, where there is one.
    """

    pixels: Image.Image
    data: bytes | None = None
    media_type: str | None = None
    path: Path | None = None
    reference: str | None = None

    @property
    def pixel_count(self) -> int:
        """Width times height."""
        return self.pixels.width * self.pixels.height

    def browser_file(self, max_bytes: int) -> tuple[bytes, str]:
        """Return the image as a file that browsers show, and its media type.

        The bytes of a PNG, JPEG, WebP, GIF or AVIF file stay as they are. Anything else becomes a PNG of the RGB image,
        so that its embedding stays the same; a file whose PNG would have more than ``max_bytes`` stays as it is.
        """
        given = None if self.data is None or self.media_type is None else (self.data, self.media_type)
        if given is not None and given[1] in _WEB_TYPES.values():
            return given
        file = png(self.pixels)
        return given if given is not None and len(file) > max_bytes else (file, "image/png")


def open_image(source: object, policy: MediaPolicy) -> Image.Image:
    """Return ``source`` as a decoded RGB image.

    EXIF orientation is applied, transparency is composited on white, 16-bit and float values are scaled to 8 bits,
    palette, grey and CMYK images are converted. Of several frames it is the first, or the one that a PIL image is at.

    Args:
        source: An ``ImageInput``, or a ``LoadedImage``, whose pixels are neither decoded nor copied again.
        policy: Limits to keep.

    Returns:
        An image in mode RGB; no file stays open.

    Raises:
        InputError: ``source`` is not an image, breaks the policy, has a side ratio over 200, or values whose range is
            not known.
    """
    with _readable(source):
        if isinstance(source, LoadedImage):
            check_size(source.pixels.size, policy)
            return source.pixels._new(source.pixels.im)  # an object of its own: saving writes to its attributes
        if isinstance(source, Image.Image):
            return decoded_pil(source, policy)
        if isinstance(source, np.ndarray):
            return _from_array(source, policy)
        taken = [_file_of(source, policy)]
    return _from_file(taken, policy)[0]


def open_to_send(source: object, policy: MediaPolicy) -> LoadedImage:
    """Return an image, with its file if that may stand for its pixels on the way to a server (``decoder``).

    Raises:
        InputError: As ``open_image``.
    """
    if isinstance(source, LoadedImage):
        return replace(source, pixels=open_image(source, policy))
    if isinstance(source, Image.Image | np.ndarray):
        return LoadedImage(pixels=open_image(source, policy))
    with _readable(source):
        taken = [_file_of(source, policy)]
    kind = media_type(taken[0].data)
    data = None if kind is None else taken[0].data
    image = LoadedImage(pixels=_from_file(taken, policy)[0], data=data, media_type=kind)
    return image if data is not None and stands_for(data, image.pixel_count) else LoadedImage(pixels=image.pixels)


def load_image(source: object, policy: MediaPolicy) -> LoadedImage:
    """Return an image with its file, where it has one; ``open_image`` is for whoever needs the pixels alone.

    Args:
        source: An ``ImageInput``, or an ``ImageFile`` that was read.
        policy: Limits to keep.

    Raises:
        InputError: As ``open_image``.
    """
    with _readable(source):
        if isinstance(source, Image.Image | np.ndarray):
            return LoadedImage(pixels=open_image(source, policy))
        file = source if isinstance(source, ImageFile) else _file_of(source, policy)
    pixels, kind = _from_file([file], policy)
    media_type = _WEB_TYPES.get(kind) or Image.MIME.get(kind, f"image/{kind.lower()}")
    return LoadedImage(pixels=pixels, data=file.data, media_type=media_type, path=file.path, reference=file.reference)


def may_share_a_file(source: object) -> bool:
    """Tell whether opening ``source`` may move a file that another object reads as well, as members of an archive do.

    Such sources are opened one after the other.
    """
    lazy = isinstance(source, Image.Image)
    files = [getattr(source, name, None) for name in ("fp", "_fp")] if lazy else [source]
    try:
        return any(may_share(file) for file in files)
    except Exception:  # the object's own code; opening it tells
        return True


@contextmanager
def _readable(source: object) -> Iterator[None]:
    """Make whatever a caller's object raises an ``InputError``: a released memoryview, a closed image, its own code."""
    try:
        yield
    except VllmJinaError:
        raise
    except Exception as error:
        raise unreadable(source, error) from None


def _file_of(source: object, policy: MediaPolicy) -> ImageFile:
    found = read(source, policy)
    if found is None:
        raise InputError(
            f"got {type(source).__name__}; expected a path, a data:image/...;base64, URI, encoded bytes, "
            "a PIL image or a uint8 array (height, width, 3)."
        )
    return found


def _from_file(taken: list[ImageFile], policy: MediaPolicy) -> tuple[Image.Image, str]:
    """Return the RGB image in the only file of ``taken``, and its format; the bytes are let go of early."""
    given = taken.pop()
    data, name = given.data, given.name
    del given
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
