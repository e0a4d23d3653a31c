"""Images as PNG, JPEG and data URIs."""

from __future__ import annotations

import base64
from io import BytesIO

from PIL import Image

from ..errors import ConfigError

_QUALITIES = (85, 70, 50, 30)


_SMALLEST_SIDE = 16


def png(image: Image.Image) -> bytes:
    """Return ``image`` as a PNG file: no pixel changes."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def jpeg(image: Image.Image, *, max_side: int, max_bytes: int | None = None) -> bytes:
    """Return ``image`` as a JPEG file for people and chat models, not for embedding.

    Args:
        image: The opened image.
        max_side: Larger ones are reduced until their longest side has this many pixels.
        max_bytes: Quality, then size, fall until the file has at most this many bytes.

    Raises:
        ConfigError: ``max_bytes`` is too small for any image.
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
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


def _fitted(image: Image.Image, max_side: int) -> Image.Image:
    longest = max(image.size)
    if longest <= max_side:
        return image
    width, height = (max(1, round(side * max_side / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
