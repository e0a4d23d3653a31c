"""A sheet to draw on, several times larger than the image, so that edges come out smooth."""

import colorsys
import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

RGB = tuple[int, int, int]
Point = tuple[float, float]
Box = tuple[float, float, float, float]
WHITE: RGB = (255, 255, 255)


def hsv(hue: float, saturation: float, value: float) -> RGB:
    """Return a colour from its hue in degrees, and saturation and value from 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """Return the colour ``share`` (0 to 1) of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def ring(centre: Point, radii: Sequence[float], turn: float) -> list[Point]:
    """Return points around a centre, one per radius, at equal angles from ``turn`` (radians, 0 is straight up)."""
    step = 2 * math.pi / len(radii)
    x, y = centre
    return [(x + r * math.sin(turn + i * step), y - r * math.cos(turn + i * step)) for i, r in enumerate(radii)]


class Canvas:
    """A sheet of ``width`` x ``height`` pixels, both larger than the image by the same whole factor.

    Args:
        size: The finished image's (width, height) in pixels.
        rng: Random source of the drawing.
    """

    def __init__(self, size: tuple[int, int], rng: random.Random) -> None:
        self.size = size
        self.rng = rng
        factor = min(4, max(2, 900 // max(size)))
        self.width, self.height = size[0] * factor, size[1] * factor
        self.unit = min(self.width, self.height)
        self.image = Image.new("RGB", (self.width, self.height), WHITE)
        self.paper = WHITE
        self.pen = ImageDraw.Draw(self.image)

    def gradient(self, *stops: RGB, top: float = 0.0, bottom: float = 1.0) -> None:
        """Fill the sheet between two heights (0 to 1) with colours that blend from top to bottom."""
        self.paper = stops[0]
        first, last = round(top * self.height), round(bottom * self.height)
        if last > first:
            self.image.paste(_blend(stops, (self.width, last - first)), (0, first))

    def solid(self, paint: Callable[[ImageDraw.ImageDraw], None], colour: RGB, *, shadow: bool = True) -> None:
        """Draw a body with a light upper side and a soft shadow.

        Args:
            paint: Draws the body's outline with ``fill=255`` on a pen.
            colour: The body's colour.
            shadow: Whether to draw a shadow.
        """
        mask = Image.new("L", self.image.size, 0)
        paint(ImageDraw.Draw(mask))
        if shadow:
            small = mask.resize((max(1, self.width // 8), max(1, self.height // 8)), Image.Resampling.BOX)
            soft = small.filter(ImageFilter.GaussianBlur(self.unit / 8 * 0.02)).point(lambda value: value * 0.28)
            offset = round(self.unit * 0.018)
            self.image.paste((40, 40, 60), (offset, offset), soft.resize(self.image.size, Image.Resampling.BILINEAR))
        top, bottom = mix(colour, WHITE, 0.12), mix(colour, (0, 0, 0), 0.08)
        self.image.paste(_blend((top, bottom), self.image.size), (0, 0), mask)

    def line(self, points: Sequence[Point], colour: RGB, thickness: float) -> None:
        """Draw a line with round corners and ends; thickness is a share of the sheet's shorter side."""
        width = max(2, round(thickness * self.unit))
        self.pen.line(points, fill=colour, width=width, joint="curve")
        for point in (points[0], points[-1]):
            self.dot(point, width / 2, colour)

    def dot(self, centre: Point, radius: float, colour: RGB) -> None:
        """Draw a filled circle; centre and radius in pixels of the sheet."""
        x, y = centre
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def finish(self) -> Image.Image:
        """Return the image in its final size."""
        return self.image.resize(self.size, Image.Resampling.BOX)


def _blend(stops: Sequence[RGB], size: tuple[int, int]) -> Image.Image:
    positions = np.linspace(0, len(stops) - 1, size[1])
    column = np.stack(
        [np.interp(positions, range(len(stops)), channel) for channel in zip(*stops, strict=True)], axis=-1
    )
    return Image.fromarray(column.round().astype(np.uint8)[:, None, :], "RGB").resize(size, Image.Resampling.NEAREST)
