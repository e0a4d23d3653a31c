"""Images of many sizes and modes, seeded, and what each must look like to the model."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return a colourful smooth image with some noise: three channels that differ everywhere."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    phase = random.uniform(0, 6, 3)
    waves = [127 + 90 * np.sin((3 + c) * (x + 0.5 * y) * (1 + c) + phase[c]) for c in range(3)]
    values = np.stack(waves, axis=2) + random.normal(0, 12, (height, width, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


SIZES = [
    (28, 28),
    (1, 1),
    (27, 90),
    (84, 84),
    (448, 448),
    (640, 100),
    (100, 640),
    (1000, 700),
    (1600, 1200),
    (30, 1500),
]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return ``image`` as the bytes of a file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
