"""Sizes of images in the code of models over Qwen-VL.

Source: smart_resize and fetch_image in qwen-vl-utils/src/qwen_vl_utils/vision_process.py of QwenLM/Qwen3-VL.
"""

from __future__ import annotations

import math

from PIL import Image

LEAST, MOST = 4, 16384
"""Squares of an image."""


def in_multiples(image: Image.Image, side: int) -> Image.Image:
    """Return an RGB image whose sides are multiples of ``side`` pixels, of ``LEAST`` to ``MOST`` squares of them.

    Resized by Pillow as the published codes do it, bicubic; the image itself if it has such sides already.
    """
    width, height = image.size
    columns, rows = max(1, round(width / side)), max(1, round(height / side))
    if columns * rows > MOST:
        scale = math.sqrt(width * height / (MOST * side**2))
        columns, rows = (max(1, math.floor(one / scale / side)) for one in (width, height))
    elif columns * rows < LEAST:
        scale = math.sqrt(LEAST * side**2 / (width * height))
        columns, rows = (math.ceil(one * scale / side) for one in (width, height))
    size = (columns * side, rows * side)
    return image if size == image.size else image.resize(size)
