"""Which files may stand for their pixels: a server that decodes them as this process does gives the same pixels.

A PNG is lossless. A JPEG is not: another version of its library, or another processor, may round otherwise. Both then
go through the rules of this package (rotation, transparency, palettes, 16 bits).
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

import PIL
from PIL import features

RULES = ("image_costs.py", "image_files.py", "image_modes.py", "image_ranges.py", "images.py", "policy.py")
"""Our files that decide an image's pixels, or whether it is opened at all."""
MOST_PIXELS = 50_000_000
"""Pixels of the largest image whose file is sent: a server may need more memory to decode it than its pixels."""
_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@cache
def decoder() -> str:
    """Return what decides the pixels of a PNG or JPEG file here; equal strings give equal pixels, bit for bit."""
    rules = hashlib.sha256(b"".join((Path(__file__).parent / name).read_bytes() for name in RULES)).hexdigest()[:16]
    jpeg = features.version("libjpeg_turbo") or f"libjpeg {features.version('jpg')}"
    return f"rules {rules}, Pillow {PIL.__version__}, libjpeg-turbo {jpeg}, {platform.machine()}"


def media_type(data: bytes) -> str | None:
    """Return the media type of a PNG or JPEG file by its first bytes; None for any other."""
    return next((kind for magic, kind in _TYPES.items() if data.startswith(magic)), None)


def stands_for(data: bytes, pixels: int) -> bool:
    """Tell whether a file is small enough to be sent in the place of an image's pixels, three bytes each."""
    return len(data) <= pixels <= MOST_PIXELS
