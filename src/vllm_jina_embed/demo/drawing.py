"""Seeded drawings of the demo's concepts: the same concept, seed and size give the same image.

Colours and backgrounds are chosen here; ``things`` and ``scenes`` draw the outlines.
"""

import math
import random
from typing import Final

from PIL import Image

from vllm_jina_embed.demo.canvas import RGB, Canvas, hsv
from vllm_jina_embed.demo.concepts import colour_and_thing
from vllm_jina_embed.demo.scenes import DRAW_SCENE
from vllm_jina_embed.demo.things import DRAW_THING

MIN_SIDE: Final = 84
MAX_SIDE: Final = 448
MAX_SIDE_RATIO: Final = 2.5
UNSEEN_SEED: Final = 1_000_000
"""Training draws with smaller seeds only; from here on the checkpoint has seen no drawing."""

_Range = tuple[float, float]
# Hue in degrees, saturation and value from 0 to 1; no two colours overlap.
_COLOURS: Final[dict[str, tuple[_Range, _Range, _Range]]] = {
    "red": ((-6, 5), (0.8, 0.95), (0.72, 0.9)),
    "green": ((112, 148), (0.6, 0.85), (0.5, 0.75)),
    "blue": ((207, 228), (0.7, 0.92), (0.65, 0.95)),
    "yellow": ((49, 55), (0.8, 0.95), (0.95, 1.0)),
    "purple": ((270, 286), (0.55, 0.8), (0.5, 0.75)),
    "orange": ((24, 32), (0.85, 0.98), (0.94, 1.0)),
    "black": ((0, 360), (0.0, 0.2), (0.05, 0.14)),
    "pink": ((326, 342), (0.38, 0.55), (0.96, 1.0)),
}


def draw(concept: str, *, seed: int, size: tuple[int, int]) -> Image.Image:
    """Draw a concept.

    Args:
        concept: One of ``concepts.CONCEPTS``.
        seed: Decides place, proportions, background and shades.
        size: (width, height) in pixels.

    Returns:
        An RGB image of that size.

    Raises:
        ValueError: The concept is not one of the demo's.
    """
    parts = colour_and_thing(concept)
    canvas = Canvas(size, random.Random(f"{concept}/{seed}"))
    if parts is None:
        DRAW_SCENE[concept](canvas)
    else:
        colour, thing = parts
        lines = _background(canvas, dark=colour != "black" and canvas.rng.random() < 0.15)
        DRAW_THING[thing](canvas, _pick(canvas.rng, colour), lines)
    return canvas.finish()


def random_size(rng: random.Random, largest: int = MAX_SIDE) -> tuple[int, int]:
    """Return a random image size with side ratios (width to height) of 0.4 to 2.5.

    Args:
        rng: Random source.
        largest: Approximate side of the largest square, in pixels; every side is 84 to 448.
    """
    area = math.exp(rng.uniform(math.log(MIN_SIDE * 1.2), math.log(largest * 0.9))) ** 2
    ratio = math.exp(rng.uniform(-math.log(MAX_SIDE_RATIO), math.log(MAX_SIDE_RATIO)))
    sides = math.sqrt(area * ratio), math.sqrt(area / ratio)
    width, height = (min(MAX_SIDE, max(MIN_SIDE, round(side))) for side in sides)
    return width, height


def _background(canvas: Canvas, *, dark: bool) -> RGB:
    """Paint a calm background and return a visible colour for fine lines."""
    rng, hue = canvas.rng, canvas.rng.uniform(0, 360)
    if dark:
        canvas.gradient(hsv(hue, 0.22, rng.uniform(0.2, 0.28)), hsv(hue + 30, 0.25, rng.uniform(0.13, 0.19)))
        return (186, 190, 200)
    tint = rng.uniform(0.01, 0.13)
    canvas.gradient(hsv(hue, tint / 2, 1.0), hsv(hue + rng.uniform(-40, 40), tint, rng.uniform(0.9, 0.98)))
    return (112, 116, 128)


def _pick(rng: random.Random, colour: str) -> RGB:
    hue, saturation, value = (rng.uniform(*limits) for limits in _COLOURS[colour])
    return hsv(hue, saturation, value)
