"""Images as PNG, JPEG and data URIs."""

from __future__ import annotations

import base64
from io import BytesIO

from PIL import Image

from ..errors import ConfigError

_QUALITIES = (85, 70, 50, 30)


_SMALLEST_SIDE = 16


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
