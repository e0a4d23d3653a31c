"""What adapters, caches and tools say about a picture or hand on of it: its hash, its facts, a smaller copy.

Enters: an opened RGB picture (``media.open_image``). Leaves: strings, numbers and encoded bytes.
This file refuses to open pictures, and to know frameworks and models.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from io import BytesIO

from PIL import Image

from .errors import ConfigError
from .file_names import readable_path

HASH_KEY = "image_sha256"
"""Metadata key of a picture's ``content_hash``."""
PATH_KEY = "image_path"
WIDTH_KEY, HEIGHT_KEY = "image_width", "image_height"
THUMBNAIL_KEY = "image_thumbnail"

CAPTION_KEY, MIMETYPE_KEY = "image_caption", "image_mimetype"

THUMBNAIL_SIDE = 128
THUMBNAIL_BYTES = 8192
_QUALITIES = (85, 70, 50, 30)
_SMALLEST_SIDE = 16
_PLACEHOLDER = re.compile(rf"<image sha256:[0-9a-f]{{64}}>|{HASH_KEY}: [0-9a-f]{{64}}")


def content_hash(picture: Image.Image) -> str:
    """Return the SHA-256 of a picture's size and RGB pixels, in hex: equal whatever file the pixels came from."""
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    return hashlib.sha256(b"%dx%d\n" % rgb.size + rgb.tobytes()).hexdigest()


def placeholder(digest: str) -> str:
    """Return the text that stands for a picture where only text can stand: ``<image sha256:...>``."""
    return f"<image sha256:{digest}>"


def names_a_picture(text: str) -> bool:
    """Tell whether ``text`` holds a picture's placeholder or its hash as metadata."""
    return _PLACEHOLDER.search(text) is not None


def facts(
    picture: Image.Image, *, path: str | os.PathLike[str] | None = None, thumbnail: bool = True
) -> dict[str, str | int]:
    """Return the metadata of a picture, flat as every vector store wants it.

    Args:
        picture: The opened picture.
        path: Its file, if it has one; one that is not valid Unicode stands percent-encoded (``file_names``).
        thumbnail: Whether a small JPEG goes along, as a data URI of a few kilobytes.
    """
    width, height = picture.size
    found: dict[str, str | int] = {HASH_KEY: content_hash(picture), WIDTH_KEY: width, HEIGHT_KEY: height}
    if path is not None:
        found[PATH_KEY] = readable_path(path)
    if thumbnail:
        found[THUMBNAIL_KEY] = data_uri(jpeg(picture, max_side=THUMBNAIL_SIDE, max_bytes=THUMBNAIL_BYTES), "image/jpeg")
    return found


def png(picture: Image.Image) -> bytes:
    """Return ``picture`` as a PNG file: no pixel changes."""
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def jpeg(picture: Image.Image, *, max_side: int, max_bytes: int | None = None) -> bytes:
    """Return ``picture`` as a JPEG file for people and chat models, not for embedding.

    Args:
        picture: The opened picture.
        max_side: Larger ones are reduced until their longest side has this many pixels.
        max_bytes: Quality, then size, fall until the file has at most this many bytes.

    Raises:
        ConfigError: ``max_bytes`` is too small for any picture.
    """
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    while True:
        small = _fitted(rgb, max_side)
        for quality in _QUALITIES:
            file = BytesIO()
            small.save(file, "JPEG", quality=quality)
            if max_bytes is None or file.tell() <= max_bytes:
                return file.getvalue()
        if max_side <= _SMALLEST_SIDE:
            raise ConfigError(f"max_bytes={max_bytes} is too small for a JPEG; allow at least a few thousand.")
        max_side = max(_SMALLEST_SIDE, max(small.size) * 2 // 3)


def data_uri(data: bytes, mimetype: str) -> str:
    """Return encoded bytes as a ``data:image/...;base64,`` URI."""
    return f"data:{mimetype};base64,{base64.b64encode(data).decode('ascii')}"


def _fitted(picture: Image.Image, max_side: int) -> Image.Image:
    longest = max(picture.size)
    if longest <= max_side:
        return picture
    width, height = (max(1, round(side * max_side / longest)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
