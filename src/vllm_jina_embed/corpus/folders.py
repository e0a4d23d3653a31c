"""Read the images, texts and PDFs of folders as entries."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import sqrt
from pathlib import Path

from .._closing import Closing
from .._forks import fork_safe_lock
from ..inputs.image_files import check_size
from ..inputs.images import LoadedImage, load_image
from ..inputs.policy import MediaPolicy
from .chunking import chunks
from .entries import Columns, Content, Entry, bad, image_parts, item_error
from .kinds import ItemError
from .pdf import DPI, Pdf
from .walking import TEXT_BYTES

PAGE_PIXELS = 40_000_000
"""Most pixels of a rendered page; a larger one is rendered smaller."""
MISSING_PAGES = 20
"""Pages one after the other that are not there, after which no further ones are tried: a file may claim a million."""
OPEN_PDFS = 4
"""PDFs that stay open for their next page."""


def image_entry(path: Path, source: str, columns: Columns) -> Iterator[Entry]:
    """Yield the entry of an image file."""
    size = regular_size(path, columns.media)
    yield Entry(id=source, source=source, signature=version_of(path), size=size, load=partial(_image, path, columns))


def _image(path: Path, columns: Columns) -> Content:
    with path.open("rb"):  # so that a file that cannot be read is not taken for a bad image
        pass
    return Content(**image_parts(load_image(path, columns.media), columns))


def text_entries(path: Path, source: str, columns: Columns) -> Iterator[Entry]:
    """Yield the pieces of a text file.

    Raises:
        ItemError: It is empty, or over ``TEXT_BYTES``.
        UnicodeDecodeError: It is not UTF-8.
        OSError: It cannot be read.
    """
    size = regular_size(path, columns.media)
    if size > TEXT_BYTES:
        raise ItemError(f"it has {size} bytes; a text may have {TEXT_BYTES}. Cut it into files.", kind="long")
    seen: Counter[str] = Counter()
    for first, last, text in chunks(path.read_bytes().decode("utf-8-sig")):
        name = f"{source}#L{first}-{last}"
        seen[name] += 1
        if seen[name] > 1:  # a line that is longer than a piece
            name += f".{seen[name]}"
        if text.strip():
            yield text_entry(name, source, text)
    if not seen:
        raise ItemError("the file has no text.", kind="empty")


def version_of(path: Path) -> bytes:
    """Return what is another once a file was written again: its size and the time of its last change.

    Raises:
        OSError: There is none.
    """
    facts = path.stat()
    return b"%d %d" % (facts.st_size, facts.st_mtime_ns)


def text_entry(id_: str, source: str, text: str) -> Entry:
    """Return the entry of a text that is there already."""
    data = text.encode()
    return Entry(id=id_, source=source, signature=data, size=len(data), load=partial(Content, text=text), quick=True)


class PdfEntries(Closing):
    """Reads PDFs, of which a few stay open; what comes out of a pickle has none open."""

    def __init__(self) -> None:
        self._open: dict[Path, Pdf] = {}
        self._lock = fork_safe_lock(self)

    def __reduce__(self) -> tuple[type[PdfEntries], tuple[()]]:
        """Return what makes another one."""
        return PdfEntries, ()

    def __call__(self, path: Path, source: str, columns: Columns) -> Iterator[Entry]:
        """Yield the pages of a PDF: of each its image, its text or both, an entry each.

        Raises:
            ItemError: It cannot be read as a PDF, is locked, or has no page.
            MissingExtraError: pypdfium2 is not installed.
        """
        size = regular_size(path, columns.media)
        pdf = self._take(path)
        count = len(pdf)
        self._put(path, pdf)
        kinds = {"both": ("image", "text"), "pieces": ("image",)}.get(columns.pages, (columns.pages,))
        signature = version_of(path)
        missing = 0
        for number in range(1, count + 1):
            missing = 0 if self._has(path, number) else missing + 1
            if missing == MISSING_PAGES:
                message = f"its pages from {number} to {count} are not there, as many before them."
                yield bad(f"{source}#page={number}", source, ItemError(message, kind="page"))
                return
            for kind in kinds:
                name = f"{source}#page={number}"
                yield Entry(
                    id=name if kind == "image" else f"{name}/text",
                    source=source,
                    page=number,
                    signature=signature,
                    size=size // (count * len(kinds)),
                    load=_Page(self, path, number, kind, columns),
                )
            if columns.pages == "pieces":
                yield from self._pieces(path, source, number)

    def _pieces(self, path: Path, source: str, number: int) -> Iterator[Entry]:
        """Yield the pieces of a page's text; nothing where it cannot be read, which its image tells."""
        pdf = self._take(path)
        try:
            text = pdf.text(number)
        except Exception:  # errors of pdfium and ctypes, or too long
            return
        finally:
            self._put(path, pdf)
        for count, (_, _, piece) in enumerate(chunks(text), 1):
            name = f"{source}#page={number}/text" + (f".{count}" if count > 1 else "")
            yield replace(text_entry(name, source, piece), page=number)

    def _has(self, path: Path, number: int) -> bool:
        """Tell whether a page is there; what is wrong with one alone, loading it tells."""
        pdf = self._take(path)
        try:
            pdf.size(number)
        except Exception:  # errors of pdfium
            return False
        finally:
            self._put(path, pdf)
        return True

    def content(self, path: Path, number: int, kind: str, columns: Columns) -> Content | None:
        """Return what is embedded of a page; None for a text that it has not, beside its image."""
        pdf = self._take(path)
        try:
            if kind == "text":
                text = pdf.text(number)
                if not text and columns.pages == "text":
                    raise ItemError("the page has no text. Embed its image: --pages image or both.", kind="empty")
                return Content(text=text) if text else None
            width, height = pdf.size(number)
            most = sqrt(PAGE_PIXELS / max(1.0, width * height)) * DPI
            image = pdf.image(number, dpi=min(columns.dpi, most))
            check_size(image.size, columns.media)
            text = pdf.text(number) if "text" in columns.keep else ""
            return Content(**image_parts(LoadedImage(pixels=image), columns), text=text, embeds_text=False)
        except Exception as error:  # errors of pdfium, ctypes and PIL, or no memory
            raise item_error(error, "page") from None
        finally:
            self._put(path, pdf)

    def close(self) -> None:
        """Close the PDFs that are open."""
        with self._lock:
            pdfs, self._open = list(self._open.values()), {}
        for pdf in pdfs:
            pdf.close()

    def _take(self, path: Path) -> Pdf:
        """Return an open PDF that no other thread has."""
        with self._lock:
            pdf = self._open.pop(path, None)
        return Pdf(path, extra="corpus") if pdf is None else pdf

    def _put(self, path: Path, pdf: Pdf) -> None:
        with self._lock:
            old = self._open.pop(path, None)
            self._open[path] = pdf
            if old is None and len(self._open) > OPEN_PDFS:
                old = self._open.pop(next(iter(self._open)))
        if old is not None:
            old.close()


class _Page:
    """Loads a page; small, since a shard of them may wait."""

    __slots__ = ("_arguments", "_pdfs")

    def __init__(self, pdfs: PdfEntries, *arguments: object) -> None:
        self._pdfs, self._arguments = pdfs, arguments

    def __call__(self) -> Content | None:
        return self._pdfs.content(*self._arguments)  # type: ignore[arg-type]


def regular_size(path: Path, media: MediaPolicy) -> int:
    """Return the size of a file.

    Raises:
        ItemError: It is not a regular file, such as a pipe, where reading may never end; or a link out of its folder.
        OSError: There is none.
    """
    if media.allowed_root is not None and not path.resolve().is_relative_to(Path(media.allowed_root)):
        raise ItemError("it is a link that leads out of the folder.", kind="unreadable")
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ItemError("it is not a regular file.", kind="unreadable")
    return facts.st_size
