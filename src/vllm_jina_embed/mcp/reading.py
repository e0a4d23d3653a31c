"""A folder's pictures, texts and PDFs as places: what a search can find and a citation can name.

Enters: a folder. Leaves: ``Place`` objects in a fixed order, and the files that cannot be read, each with the reason.
This file refuses to embed and to store. The only file that imports pypdfium2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from .._extras import require
from ..errors import InputError
from ..media import MediaPolicy, encoded_image

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
TEXTS = (".txt", ".md", ".markdown", ".rst")
PDF = ".pdf"
CHARACTERS = 1200
"""Most characters of a text that are one place; a paragraph over it is cut between words."""
PAGE_SIDE = 1600
"""Longest side of a rendered page in pixels; the model sees at most 602112 pixels of it by default."""
PAGE_SCALE = 2.0
"""Pixels per point of a rendered page, 144 dpi, where ``PAGE_SIDE`` allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A piece of text, a picture, or a page of a PDF, which is a picture beside its text.

    Attributes:
        id: Unique in its folder: ``notes.md#L3-18``, ``photo.png``, ``report.pdf#page=2``.
        source: The file's path in the folder.
        page: Number of the page, from 1.
        text: What can be read.
        picture: An encoded picture, and its media type.
    """

    id: str
    source: str
    page: int | None = None
    text: str = ""
    picture: tuple[bytes, str] | None = None


def read_folder(folder: Path, left_out: dict[str, str], *, skip: Path | None = None) -> Iterator[Place]:
    """Yield the places of every picture, text and PDF below ``folder``, sorted by path.

    Hidden files, files of other kinds and links that lead out of the folder are passed over.

    Args:
        folder: What to read.
        left_out: Gets the path and the reason of each file that cannot be read.
        skip: A folder inside that is passed over: the index itself.
    """
    root = folder.resolve()
    policy = MediaPolicy(allowed_root=root)
    for path in sorted(root.rglob("*")):
        source = path.relative_to(root)
        hidden = any(part.startswith(".") for part in source.parts)
        inside = path.is_file() and path.resolve().is_relative_to(root)
        if hidden or not inside or (skip is not None and path.is_relative_to(skip.resolve())):
            continue
        try:
            yield from read_file(path, source.as_posix(), policy)
        except (InputError, OSError, UnicodeDecodeError) as error:
            left_out[source.as_posix()] = str(error)


def read_file(path: Path, source: str, policy: MediaPolicy) -> Iterator[Place]:
    """Yield the places of one file; nothing for a file of another kind.

    Raises:
        InputError: It is no picture or PDF, though its name says so.
        UnicodeDecodeError: A text that is not UTF-8.
        MissingExtraError: A PDF, and pypdfium2 is not installed.
    """
    kind = path.suffix.lower()
    if kind in PICTURES:
        yield Place(id=source, source=source, picture=encoded_image(path, policy))
    elif kind in TEXTS:
        for first, last, text in chunks(path.read_text(encoding="utf-8-sig")):
            yield Place(id=f"{source}#L{first}-{last}", source=source, text=text)
    elif kind == PDF:
        yield from _pages(path, source)


def chunks(text: str, most: int = CHARACTERS) -> Iterator[tuple[int, int, str]]:
    """Yield first line, last line (from 1) and text of pieces of at most ``most`` characters, cut at empty lines.

    Whole paragraphs are joined while there is room; one that is too long by itself is cut between lines, and a line
    that is too long between words. Nothing is lost but empty lines and the white space at cuts.
    """
    piece: list[tuple[int, str]] = []
    for paragraph in _paragraphs(text, most):
        joined = "\n".join(line for _, line in [*piece, *paragraph])
        if piece and len(joined) + 1 > most:
            yield _joined(piece)
            piece = []
        piece += ([(paragraph[0][0], "")] if piece else []) + paragraph
    if piece:
        yield _joined(piece)


def _paragraphs(text: str, most: int) -> Iterator[list[tuple[int, str]]]:
    """Yield runs of numbered lines without an empty one, each of at most ``most`` characters."""
    run: list[tuple[int, str]] = []
    size = 0
    for number, whole in enumerate(text.splitlines(), 1):
        if not whole.strip() and run:
            yield run
            run, size = [], 0
        for line in _cut(whole.rstrip(), most):
            if run and size + len(line) > most:
                yield run
                run, size = [], 0
            run.append((number, line))
            size += len(line) + 1
    if run:
        yield run


def _cut(line: str, most: int) -> Iterator[str]:
    """Yield a line in pieces of at most ``most`` characters, cut at white space where there is some."""
    while len(line) > most:
        at = line.rfind(" ", 1, most + 1)
        at = most if at < 0 else at
        yield line[:at].rstrip()
        line = line[at:].lstrip()
    if line.strip():
        yield line


def _joined(piece: list[tuple[int, str]]) -> tuple[int, int, str]:
    return piece[0][0], piece[-1][0], "\n".join(line for _, line in piece)


def _pages(path: Path, source: str) -> Iterator[Place]:
    require("mcp", "pypdfium2")
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(path) as pdf:
            for number, page in enumerate(pdf, 1):
                scale = min(PAGE_SCALE, PAGE_SIDE / max(1, *page.get_size()))
                file = BytesIO()
                page.render(scale=scale).to_pil().convert("RGB").save(file, "JPEG", quality=90)
                text = page.get_textpage().get_text_range().replace("\r\n", "\n").strip()
                picture = encoded_image(file.getvalue(), MediaPolicy())
                yield Place(id=f"{source}#page={number}", source=source, page=number, text=text, picture=picture)
    except pypdfium2.PdfiumError as error:
        raise InputError(f"it cannot be read as a PDF ({error}).") from None
