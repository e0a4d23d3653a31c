"""Cut a text into pieces with line numbers, which are embedded, found and cited.

The time is linear in the length of the text, whatever it holds, and no more than one piece is held beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

CHARACTERS = 1200
"""Most characters of a piece; a longer paragraph is cut between words."""
_BREAK = re.compile("\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
"""Line breaks of ``str.splitlines``, which would make a list of all lines at once."""
_INK = re.compile(r"\S")


def chunks(text: str, most: int = CHARACTERS) -> Iterator[tuple[int, int, str]]:
    """Yield first line, last line (from 1) and text of pieces of at most ``most`` characters, cut at empty lines.

    Whole paragraphs are joined while there is room. A paragraph that is too long is cut between lines, and a line that
    is too long between words. Only empty lines and the white space at cuts are lost.
    """
    piece: list[tuple[int, str]] = []
    size = 0  # of the joined piece
    for paragraph in _paragraphs(text, most):
        length = sum(len(line) + 1 for _, line in paragraph) - 1
        if piece and size + 1 + length + 1 > most:
            yield _joined(piece)
            piece, size = [], 0
        if piece:
            piece.append((paragraph[0][0], ""))
            size += 2
        piece += paragraph
        size += length
    if piece:
        yield _joined(piece)


def _paragraphs(text: str, most: int) -> Iterator[list[tuple[int, str]]]:
    """Yield paragraphs as numbered lines, in parts of at most ``most`` characters."""
    run: list[tuple[int, str]] = []
    size = 0
    for number, (start, end) in enumerate(_lines(text), 1):
        if run and not _INK.search(text, start, end):
            yield run
            run, size = [], 0
        for line in _cut(text[start:end].rstrip(), most):
            if run and size + len(line) > most:
                yield run
                run, size = [], 0
            run.append((number, line))
            size += len(line) + 1
    if run:
        yield run


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each line of ``text.splitlines()``."""
    start = 0
    for line_break in _BREAK.finditer(text):
        yield start, line_break.start()
        start = line_break.end()
    if start < len(text):
        yield start, len(text)


def _cut(line: str, most: int) -> Iterator[str]:
    """Yield a line in pieces of at most ``most`` characters, cut at white space where there is some."""
    start = 0
    while len(line) - start > most:
        at = line.rfind(" ", start + 1, start + most + 1)
        at = start + most if at < 0 else at
        yield line[start:at].rstrip()
        ink = _INK.search(line, at)
        start = len(line) if ink is None else ink.start()
    if _INK.search(line, start):
        yield line[start:]


def _joined(piece: list[tuple[int, str]]) -> tuple[int, int, str]:
    return piece[0][0], piece[-1][0], "\n".join(line for _, line in piece)
