"""How qwen_vl_utils resizes images, written apart from the package; needs no torch."""

from __future__ import annotations

import math

from PIL import Image


def fetched(image: Image.Image, *, factor: int, low: int, high: int) -> Image.Image:
    """Return what qwen_vl_utils' ``fetch_image`` makes of an image: both sides multiples of ``factor``, area bounded.

    Source: qwen-vl-utils/src/qwen_vl_utils/vision_process.py of QwenLM/Qwen3-VL, smart_resize; gme_inference.py of
    Alibaba-NLP/gme-Qwen2-VL-2B-Instruct has a copy.
    """
    width, height = image.size
    rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
    if rows * columns * factor**2 > high:
        beta = math.sqrt(width * height / high)
        rows, columns = (max(1, math.floor(side / beta / factor)) for side in (height, width))
    elif rows * columns * factor**2 < low:
        beta = math.sqrt(low / (width * height))
        rows, columns = (math.ceil(side * beta / factor) for side in (height, width))
    return image.resize((columns * factor, rows * factor))
