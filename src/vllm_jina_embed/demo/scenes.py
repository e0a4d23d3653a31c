"""Draw the five scenes, each filling a whole canvas."""

import math
from collections.abc import Callable
from typing import Final

from vllm_jina_embed.demo.canvas import RGB, Box, Canvas, Point, hsv, mix

Scene = Callable[[Canvas], None]


def _hills(canvas: Canvas, height: float, swing: float, colour: RGB, *, waves: float = 1.5) -> None:
    """Draw a soft outline of ground from side to side; heights are shares of the sheet, 0 is its top."""
    start, count = canvas.rng.uniform(0, 7), 60
    outline: list[Point] = [(0, canvas.height)]
    for index in range(count + 1):
        share = index / count
        wave = math.sin(start + share * waves * 2 * math.pi) + 0.3 * math.sin(2.3 * start + share * waves * 5 * math.pi)
        outline.append((share * canvas.width, (height + swing * wave) * canvas.height))
    canvas.pen.polygon([*outline, (canvas.width, canvas.height)], fill=colour)


def _sunset(canvas: Canvas) -> None:
    rng = canvas.rng
    horizon = rng.uniform(0.5, 0.62)
    shore = rng.uniform(0.8, 0.87)
    glow = hsv(rng.uniform(28, 42), 0.62, 1)
    high, middle = hsv(rng.uniform(255, 300), 0.5, rng.uniform(0.4, 0.6)), hsv(rng.uniform(-5, 12), 0.6, 0.95)
    canvas.gradient(high, middle, glow, bottom=horizon)
    sun = (rng.uniform(0.25, 0.75) * canvas.width, (horizon - rng.uniform(0.0, 0.07)) * canvas.height)
    radius = canvas.unit * rng.uniform(0.11, 0.17)
    for size, share in ((1.7, 0.75), (1.35, 0.5), (1.0, 0.0)):
        canvas.dot(sun, radius * size, mix((255, 244, 190), glow, share))
    canvas.gradient(mix(glow, middle, 0.6), hsv(rng.uniform(215, 250), 0.5, 0.5), top=horizon, bottom=1)
    for index in range(7):
        y = (horizon + (shore - horizon) * (index + 0.6) / 8) * canvas.height
        reach = radius * (1.15 - 0.1 * index) * rng.uniform(0.7, 1.1)
        canvas.line([(sun[0] - reach, y), (sun[0] + reach, y)], mix((255, 236, 170), glow, index / 9), 0.012)
    sand = hsv(rng.uniform(30, 40), 0.42, rng.uniform(0.78, 0.9))
    _hills(canvas, shore - 0.015, 0.02, mix(sand, (255, 255, 255), 0.65))
    _hills(canvas, shore + 0.01, 0.02, sand)


def _mountain(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.gradient(hsv(rng.uniform(200, 215), 0.5, 0.88), hsv(205, 0.12, 0.99))
    for _ in range(rng.randint(2, 3)):
        width = canvas.width * rng.uniform(0.55, 0.9)
        x, top = rng.uniform(0.15, 0.85) * canvas.width, rng.uniform(0.12, 0.36) * canvas.height
        rock = hsv(rng.uniform(215, 235), rng.uniform(0.18, 0.3), rng.uniform(0.42, 0.6))
        _peak(canvas, x, top, width, rock)
    _hills(canvas, rng.uniform(0.8, 0.88), 0.03, hsv(210, 0.06, 0.98))


def _peak(canvas: Canvas, x: float, top: float, width: float, rock: RGB) -> None:
    """Draw a mountain with a jagged cap of snow and a side in the shade."""
    half, foot = width / 2, canvas.height * 0.95
    tall = foot - top
    canvas.pen.polygon([(x, top), (x - half, foot), (x + half, foot)], fill=rock)
    canvas.pen.polygon([(x, top), (x + half, foot), (x + half * 0.1, foot)], fill=mix(rock, (20, 25, 50), 0.25))
    snow = canvas.rng.uniform(0.4, 0.55)
    teeth = 7
    edge = []
    for index in range(teeth):
        across = 1 - 2 * index / (teeth - 1)
        depth = snow if index in (0, teeth - 1) else snow * (0.78 if index % 2 else 1.12)
        edge.append((x + half * snow * across, top + tall * depth))
    canvas.pen.polygon([(x, top), *edge], fill=(250, 252, 255))


def _forest(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.gradient(hsv(rng.uniform(150, 195), 0.22, 0.96), hsv(90, 0.18, 0.95))
    _hills(canvas, rng.uniform(0.5, 0.6), 0.03, hsv(rng.uniform(95, 130), 0.42, 0.62))
    for layer in range(3):
        count = max(3, round(canvas.width / canvas.unit * (7 - layer)))
        green = hsv(rng.uniform(105, 150), rng.uniform(0.5, 0.7), 0.55 - 0.11 * layer)
        for index in range(count):
            x = (index + rng.uniform(0.1, 0.9)) / count * canvas.width
            foot = canvas.height * (0.68 + 0.13 * layer + rng.uniform(-0.02, 0.03))
            tree = (_fir, _leafy)[rng.random() < 0.3]
            tree(canvas, (x, foot), canvas.unit * rng.uniform(0.34, 0.5), mix(green, (255, 255, 200), rng.random() / 6))
    _hills(canvas, 0.93, 0.015, hsv(rng.uniform(95, 125), 0.55, 0.4))


def _fir(canvas: Canvas, foot: Point, tall: float, green: RGB) -> None:
    x, y = foot
    canvas.pen.rectangle((x - tall * 0.04, y - tall * 0.2, x + tall * 0.04, y + tall * 0.08), fill=(98, 70, 48))
    for step in range(3):
        low, half = y - tall * (0.1 + 0.24 * step), tall * (0.26 - 0.06 * step)
        canvas.pen.polygon([(x, low - tall * 0.42), (x - half, low), (x + half, low)], fill=green)


def _leafy(canvas: Canvas, foot: Point, tall: float, green: RGB) -> None:
    x, y = foot
    canvas.pen.rectangle((x - tall * 0.05, y - tall * 0.4, x + tall * 0.05, y + tall * 0.08), fill=(104, 76, 52))
    for dx, dy, share in ((-0.15, 0.5, 0.2), (0.15, 0.5, 0.2), (0, 0.68, 0.24)):
        canvas.dot((x + dx * tall, y - dy * tall), share * tall, green)


def _city(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.gradient(hsv(rng.uniform(228, 250), 0.7, 0.2), hsv(rng.uniform(225, 265), 0.5, 0.42))
    for _ in range(rng.randint(30, 60)):
        place = (rng.random() * canvas.width, rng.random() * canvas.height * 0.6)
        canvas.dot(place, canvas.unit * rng.uniform(0.002, 0.006), (235, 238, 255))
    moon = (rng.uniform(0.12, 0.88) * canvas.width, rng.uniform(0.12, 0.24) * canvas.height)
    canvas.dot(moon, canvas.unit * rng.uniform(0.05, 0.085), (250, 246, 220))
    for layer in range(2):
        wall = hsv(rng.uniform(225, 250), 0.45, 0.27 - 0.13 * layer)
        x = -canvas.unit * rng.uniform(0, 0.1)
        while x < canvas.width:
            wide = canvas.unit * rng.uniform(0.13, 0.24)
            top = canvas.height * rng.uniform(0.3, 0.55 + 0.2 * layer)
            _building(canvas, (x, top, x + wide, canvas.height), wall)
            x += wide * rng.uniform(0.85, 1.05)


def _building(canvas: Canvas, box: Box, wall: RGB) -> None:
    left, top, right, bottom = box
    canvas.pen.rectangle(box, fill=wall)
    columns, cell = 3, (right - left) / 4
    for row in range(int((bottom - top) / (cell * 1.35))):
        for column in range(columns):
            if canvas.rng.random() < 0.55:
                x, y = left + cell * (column + 0.7), top + cell * (row * 1.35 + 0.5)
                light = mix((255, 214, 110), (255, 244, 200), canvas.rng.random())
                canvas.pen.rectangle((x, y, x + cell * 0.6, y + cell * 0.75), fill=light)


def _desert(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.gradient(hsv(rng.uniform(195, 210), 0.4, 0.96), hsv(42, 0.22, 1), bottom=0.65)
    sun = (rng.uniform(0.15, 0.85) * canvas.width, rng.uniform(0.13, 0.25) * canvas.height)
    canvas.dot(sun, canvas.unit * rng.uniform(0.07, 0.1), (255, 232, 140))
    hue = rng.uniform(32, 40)
    for layer, height in enumerate((0.55, 0.66, 0.79)):
        sand = hsv(hue - 3 * layer, 0.42 + 0.07 * layer, 0.94 - 0.06 * layer)
        _hills(canvas, height + rng.uniform(-0.03, 0.03), 0.045, sand, waves=rng.uniform(0.7, 1.4))
    for _ in range(rng.randint(1, 3)):
        place = (rng.uniform(0.12, 0.88) * canvas.width, rng.uniform(0.74, 0.92) * canvas.height)
        _cactus(canvas, place, canvas.unit * rng.uniform(0.22, 0.32))


def _cactus(canvas: Canvas, foot: Point, tall: float) -> None:
    (x, y), green = foot, hsv(canvas.rng.uniform(125, 145), 0.5, 0.5)
    thick = tall * 0.17 / canvas.unit
    canvas.line([(x, y), (x, y - tall)], green, thick)
    for side, low, high in ((-1, 0.35, 0.7), (1, 0.5, 0.82)):
        reach = x + side * tall * 0.27
        canvas.line([(x, y - low * tall), (reach, y - low * tall), (reach, y - high * tall)], green, thick * 0.75)


DRAW_SCENE: Final[dict[str, Scene]] = {
    "sunset at the beach": _sunset,
    "snowy mountain": _mountain,
    "forest": _forest,
    "city at night": _city,
    "desert": _desert,
}
