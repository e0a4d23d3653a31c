"""Read a folder's images, texts and PDFs as places, which a search finds and a citation names.

A file or page that cannot be read is recorded with its reason; everything else is still read.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from .._extras import require
from ..corpus.chunking import CHARACTERS, chunks
from ..corpus.names import escape
from ..corpus.pdf import Pdf
from ..corpus.walking import IMAGES, PDF, TEXT_BYTES, TEXTS, walk
from ..errors import InputError, MissingExtraError
from ..inputs.image_files import check_size
from ..inputs.images import MediaPolicy, load_image
from ..inputs.sources import read_file as read_bytes

__all__ = ["CHARACTERS", "IMAGES", "PDF", "TEXTS", "Place", "chunks", "read_file", "read_folder"]

PAGE_SIDE = 1600
"""Longest side of a rendered page in pixels; the model sees at most 602112 pixels of it by default."""
PAGE_DPI = 144
"""Pixels per inch of a rendered page, where ``PAGE_SIDE`` allows."""
PAGES_TOLD = 20
"""Bad pages of a PDF that are listed one by one; a broken file may claim a million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A piece of text, an image, or a page of a PDF, which is an image beside its text.

    Attributes:
        id: Unique in its folder: ``notes.md#L3-18``, ``photo.png``, ``report.pdf#page=2``.
        source: The file's path in the folder, as ``names.escape`` writes it.
        page: Number of the page, from 1.
        text: Its text; empty for an image.
        image: An encoded image, and its media type.
    """

    id: str
    source: str
    page: int | None = None
    text: str = ""
    image: tuple[bytes, str] | None = None


def read_folder(folder: Path, left_out: dict[str, str], *, skip: Path | None = None) -> Iterator[Place]:
    """Yield the places of every image, text and PDF below ``folder``, sorted by path.

    Hidden files and files of other kinds are ignored.

    Args:
        folder: The folder to read.
        left_out: Filled with the path (``names.escape``) and the reason of each file, page and folder that cannot be
            read.
        skip: A folder inside to ignore: the index itself.

    Raises:
        MissingExtraError: The folder has a PDF, and pypdfium2 is not installed.
    """
    root = folder.resolve()
    policy = MediaPolicy(allowed_root=root)
    paths = list(_files(root, left_out, skip=None if skip is None else skip.resolve()))
    if any(path.suffix.lower() == PDF for path in paths):
        require("mcp", "pypdfium2")
    for path in paths:
        source = _source(path, root)
        try:
            _check_regular(path, root)
            yield from read_file(path, source, policy, left_out)
        except MissingExtraError:
            raise
        except Exception as error:  # one bad file must not end the whole index
            left_out[source] = _reason(error)


def read_file(path: Path, source: str, policy: MediaPolicy, left_out: dict[str, str]) -> Iterator[Place]:
    """Yield the places of one file; nothing for a file of another kind.

    Args:
        path: The file.
        source: Its name in the places.
        policy: Limits for images, and the folder that the file must lie in.
        left_out: Filled with the id and the reason of each page of a PDF that cannot be read.

    Raises:
        InputError: The file is not the image or PDF that its name says, or is a text over ``TEXT_BYTES``.
        UnicodeDecodeError: The file is a text, and not UTF-8.
        MissingExtraError: The file is a PDF, and pypdfium2 is not installed.
    """
    kind = path.suffix.lower()
    if kind in IMAGES:
        yield Place(id=source, source=source, image=load_image(path, policy).browser_file(policy.max_bytes))
    elif kind in TEXTS:
        yield from _pieces(path, source, policy)
    elif kind == PDF:
        yield from _pages(path, source, left_out)


def _files(root: Path, left_out: dict[str, str], *, skip: Path | None) -> Iterator[Path]:
    """Yield the files and links below ``root`` with a suffix to index, sorted by path."""
    for path, error in walk(root, (*IMAGES, *TEXTS, PDF), skip=skip):
        if error is None:
            yield path
        else:
            left_out[_source(path, root)] = _reason(error)


def _source(path: Path, root: Path) -> str:
    return escape(path.relative_to(root).as_posix())


def _check_regular(path: Path, root: Path) -> None:
    """Raise ``InputError`` for a link out of the folder, and for a pipe, where reading may never end."""
    if not path.resolve().is_relative_to(root):
        raise InputError("it is a link that leads out of the folder.")
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError("it is not a regular file.")


def _reason(error: Exception) -> str:
    """Return the reason that stands behind a file's path."""
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read ({error.strerror})."
    if isinstance(error, InputError | UnicodeDecodeError):
        return str(error)
    return f"it cannot be read ({type(error).__name__}: {error})."


def _pieces(path: Path, source: str, policy: MediaPolicy) -> Iterator[Place]:
    size = path.stat().st_size
    if size > TEXT_BYTES:
        raise InputError(f"it has {size} bytes; a text may have {TEXT_BYTES}. Cut it into files.")
    data = read_bytes(os.fspath(path), MediaPolicy(allowed_root=policy.allowed_root, max_bytes=TEXT_BYTES))
    seen: Counter[str] = Counter()
    for first, last, text in chunks(data.decode("utf-8-sig")):
        name = f"{source}#L{first}-{last}"
        seen[name] += 1
        if seen[name] > 1:  # a line that is longer than a piece
            name += f".{seen[name]}"
        if text.strip():
            yield Place(id=name, source=source, text=text)


def _pages(path: Path, source: str, left_out: dict[str, str]) -> Iterator[Place]:
    bad = 0
    with Pdf(path, extra="mcp") as pdf:
        for number in range(1, len(pdf) + 1):
            name = f"{source}#page={number}"
            try:
                text, image = _page(pdf, number)
            except Exception as error:  # errors of pdfium, ctypes and PIL, or no memory
                bad += 1
                if bad <= PAGES_TOLD:
                    left_out[name] = _reason(error)
            else:
                yield Place(id=name, source=source, page=number, text=text, image=image)
    if bad > PAGES_TOLD:
        left_out[source] = f"{bad - PAGES_TOLD} more of its pages cannot be read."


def _page(pdf: Pdf, number: int) -> tuple[str, tuple[bytes, str]]:
    """Return a page's text, and its image as a JPEG file with the media type."""
    image = pdf.image(number, dpi=PAGE_DPI, longest=PAGE_SIDE)
    text = pdf.text(number)
    check_size(image.size, MediaPolicy())
    file = BytesIO()
    image.save(file, "JPEG", quality=90)
    return text, (file.getvalue(), "image/jpeg")
