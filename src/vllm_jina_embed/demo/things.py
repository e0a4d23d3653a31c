"""Draw the nine things, each in one colour on a canvas with a background."""

import math
from collections.abc import Callable
from typing import Final

from vllm_jina_embed.demo.canvas import RGB, WHITE, Box, Canvas, Point, mix, ring

Thing = Callable[[Canvas, RGB, RGB], None]


def _place(canvas: Canvas) -> tuple[Point, float]:
    """Return centre and radius of a random place inside the sheet."""
    radius = canvas.unit * canvas.rng.uniform(0.25, 0.44)
    x = canvas.rng.uniform(radius * 1.08, canvas.width - radius * 1.08)
    y = canvas.rng.uniform(radius * 1.08, canvas.height - radius * 1.08)
    return (x, y), radius


def _panel(canvas: Canvas) -> Box:
    """Return a box for a chart that fills most of the sheet."""
    width, height = (side * canvas.rng.uniform(0.7, 0.88) for side in (canvas.width, canvas.height))
    left = canvas.rng.uniform(0.04 * canvas.width, 0.96 * canvas.width - width)
    top = canvas.rng.uniform(0.04 * canvas.height, 0.96 * canvas.height - height)
    return left, top, left + width, top + height


def _polygon(canvas: Canvas, points: list[Point], colour: RGB) -> None:
    canvas.solid(lambda pen: pen.polygon(points, fill=255), colour)


def _circle(canvas: Canvas, colour: RGB, _lines: RGB) -> None:
    (x, y), r = _place(canvas)
    canvas.solid(lambda pen: pen.ellipse((x - r, y - r, x + r, y + r), fill=255), colour)


def _square(canvas: Canvas, colour: RGB, _lines: RGB) -> None:
    centre, radius = _place(canvas)
    _polygon(canvas, ring(centre, [radius * 1.2] * 4, math.pi / 4 + canvas.rng.uniform(-0.2, 0.2)), colour)


def _triangle(canvas: Canvas, colour: RGB, _lines: RGB) -> None:
    centre, radius = _place(canvas)
    _polygon(canvas, ring(centre, [radius * canvas.rng.uniform(1.0, 1.15)] * 3, canvas.rng.uniform(-0.3, 0.3)), colour)


def _star(canvas: Canvas, colour: RGB, _lines: RGB) -> None:
    centre, radius = _place(canvas)
    waist = radius * canvas.rng.uniform(0.38, 0.48)
    _polygon(canvas, ring(centre, [radius * 1.08, waist] * 5, canvas.rng.uniform(-0.3, 0.3)), colour)


def _cross(canvas: Canvas, colour: RGB, _lines: RGB) -> None:
    (x, y), radius = _place(canvas)
    arm, turn = radius * canvas.rng.uniform(0.26, 0.36), canvas.rng.uniform(-0.25, 0.25)
    corners = [(-arm, -radius), (arm, -radius), (arm, -arm)]
    quarters = [[(p, q), (-q, p), (-p, -q), (q, -p)] for p, q in corners]
    outline = [quarters[corner][quarter] for quarter in range(4) for corner in range(3)]
    cos, sin = math.cos(turn), math.sin(turn)
    _polygon(canvas, [(x + p * cos - q * sin, y + p * sin + q * cos) for p, q in outline], colour)


def _axes(canvas: Canvas, box: Box, lines: RGB) -> None:
    left, top, right, bottom = box
    for share in (0.25, 0.5, 0.75):
        y = bottom - share * (bottom - top)
        canvas.line([(left, y), (right, y)], mix(lines, canvas.paper, 0.75), 0.006)
    canvas.line([(left, top), (left, bottom), (right, bottom)], lines, 0.014)


def _bar_chart(canvas: Canvas, colour: RGB, lines: RGB) -> None:
    left, top, right, bottom = box = _panel(canvas)
    _axes(canvas, box, lines)
    count = canvas.rng.randint(3, 6)
    step = (right - left) / count
    for index in range(count):
        height = (bottom - top) * canvas.rng.uniform(0.22, 0.97)
        start = left + (index + 0.18) * step
        shade = mix(colour, WHITE, canvas.rng.uniform(0, 0.15))
        bar = (start, bottom - height, start + 0.66 * step, bottom - canvas.unit * 0.008)
        canvas.pen.rounded_rectangle(bar, canvas.unit * 0.015, fill=shade, corners=(True, True, False, False))


def _pie_chart(canvas: Canvas, colour: RGB, lines: RGB) -> None:
    (x, y), r = _place(canvas)
    count = canvas.rng.randint(3, 5)
    sizes = [canvas.rng.uniform(0.6, 1.8) for _ in range(count)]
    start = canvas.rng.uniform(0, 360)
    canvas.solid(lambda pen: pen.ellipse((x - r, y - r, x + r, y + r), fill=255), colour)
    for index, size in enumerate(sizes):
        end = start + 360 * size / sum(sizes)
        shade = mix(colour, WHITE, 0.62 * index / (count - 1))
        canvas.pen.pieslice((x - r, y - r, x + r, y + r), start, end, fill=shade)
        start = end
    for size in sizes:
        start += 360 * size / sum(sizes)
        edge = (x + r * math.cos(math.radians(start)), y + r * math.sin(math.radians(start)))
        canvas.line([(x, y), edge], WHITE, 0.018)


def _line_chart(canvas: Canvas, colour: RGB, lines: RGB) -> None:
    left, top, right, bottom = box = _panel(canvas)
    _axes(canvas, box, lines)
    count = canvas.rng.randint(4, 7)
    step = (right - left) / (count - 1)
    xs = [left + index * step for index in range(count)]
    points = [(x, bottom - (bottom - top) * canvas.rng.uniform(0.12, 0.95)) for x in xs]
    canvas.line(points, colour, 0.034)
    for point in points:
        canvas.dot(point, canvas.unit * 0.034, colour)
        canvas.dot(point, canvas.unit * 0.014, WHITE)


def _table(canvas: Canvas, colour: RGB, lines: RGB) -> None:
    left, top, right, bottom = box = _panel(canvas)
    rows, columns = canvas.rng.randint(4, 6), canvas.rng.randint(2, 4)
    canvas.solid(lambda pen: pen.rectangle(box, fill=255), WHITE)
    tall, wide = (bottom - top) / rows, (right - left) / columns
    canvas.pen.rectangle((left, top, right, top + tall), fill=colour)
    for row in range(rows):
        for column in range(columns):
            x, y = left + (column + 0.18) * wide, top + (row + 0.38) * tall
            ink = WHITE if row == 0 else (150, 152, 160)
            canvas.pen.rectangle((x, y, x + wide * canvas.rng.uniform(0.3, 0.62), y + tall * 0.24), fill=ink)
    for row in range(rows + 1):
        canvas.line([(left, top + row * tall), (right, top + row * tall)], colour, 0.016)
    for column in range(columns + 1):
        canvas.line([(left + column * wide, top), (left + column * wide, bottom)], colour, 0.016)


DRAW_THING: Final[dict[str, Thing]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "bar chart": _bar_chart,
    "pie chart": _pie_chart,
    "line chart": _line_chart,
    "table": _table,
}
