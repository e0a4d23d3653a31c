"""Metadata of an opened RGB image: the hash of its pixels, its size and path, a thumbnail."""

from __future__ import annotations

import hashlib
import os
import re

from PIL import Image

from .encoding import data_uri, jpeg
from .file_names import readable_path

HASH_KEY = "image_sha256"
"""Metadata key of an image's ``content_hash``."""
PATH_KEY = "image_path"
WIDTH_KEY, HEIGHT_KEY = "image_width", "image_height"
THUMBNAIL_KEY = "image_thumbnail"

CAPTION_KEY, MIMETYPE_KEY = "image_caption", "image_mimetype"
TEXT_KEY = "image_text"
"""Metadata key of the text that is embedded with the image; only people and filters read it there."""

THUMBNAIL_SIDE = 128
THUMBNAIL_BYTES = 8192
_PLACEHOLDER = re.compile(rf"<image sha256:[0-9a-f]{{64}}>|{HASH_KEY}: [0-9a-f]{{64}}")


def content_hash(image: Image.Image) -> str:
    """Return the SHA-256 of an image's size and RGB pixels, in hex: equal whatever file the pixels came from."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return hashlib.sha256(b"%dx%d\n" % rgb.size + rgb.tobytes()).hexdigest()


def placeholder(digest: str) -> str:
    """Return the text that stands for an image where only text can stand: ``<image sha256:...>``."""
    return f"<image sha256:{digest}>"


def names_an_image(text: str) -> bool:
    """Tell whether ``text`` holds an image's placeholder or its hash as metadata."""
    return _PLACEHOLDER.search(text) is not None


def facts(
    image: Image.Image, *, path: str | os.PathLike[str] | None = None, thumbnail: bool = True
) -> dict[str, str | int]:
    """Return the metadata of an image, flat as every vector store wants it.

    Args:
        image: The opened image.
        path: Its file, if it has one; one that is not valid Unicode stands percent-encoded (``file_names``).
        thumbnail: Whether a small JPEG goes along, as a data URI of a few kilobytes.
    """
    width, height = image.size
    found: dict[str, str | int] = {HASH_KEY: content_hash(image), WIDTH_KEY: width, HEIGHT_KEY: height}
    if path is not None:
        found[PATH_KEY] = readable_path(path)
    if thumbnail:
        found[THUMBNAIL_KEY] = data_uri(jpeg(image, max_side=THUMBNAIL_SIDE, max_bytes=THUMBNAIL_BYTES), "image/jpeg")
    return found
