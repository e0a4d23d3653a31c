"""Read pages of PDFs as images and as texts.

PDFium is not safe in threads: one lock of this module is held around each of its calls, also where a file is closed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from .._closing import Closing
from .._extras import require
from .._forks import fork_safe_lock
from .kinds import ItemError

DPI = 72
"""Points of a page in an inch."""
PAGE_CHARACTERS = 1_000_000
"""Most characters of a page; a dense one has 10,000."""


class _Library:
    """PDFium: one of its calls at a time."""

    def __init__(self) -> None:
        self.lock = fork_safe_lock(self, "lock")


_PDFIUM = _Library()


class Pdf(Closing):
    """An open PDF; ``len`` is its number of pages, which a broken file may claim to be a million."""

    def __init__(self, path: Path, *, extra: str) -> None:
        """Open the file.

        Args:
            path: The file.
            extra: The extra of this package that a missing pypdfium2 is reported with.

        Raises:
            ItemError: It is not a PDF, has no page, or is locked.
            OSError: It cannot be read.
            MissingExtraError: pypdfium2 is not installed.
        """
        require(extra, "pypdfium2")
        import pypdfium2

        self._file = path.open("rb")  # opened here: pdfium itself opens only names in UTF-8
        self._pdf: Any = None
        try:
            with _PDFIUM.lock:
                self._pdf = pypdfium2.PdfDocument(self._file)
                self._count = len(self._pdf)
        except pypdfium2.PdfiumError as error:
            has_no_page = self._opens()
            self.close()
            if has_no_page:
                raise ItemError("the PDF has no page.", kind="empty") from None
            is_locked = "password" in str(error).lower()
            raise ItemError(
                f"it cannot be read as a PDF ({str(error).rstrip('.')}).{' Unlock it first.' if is_locked else ''}",
                kind="locked" if is_locked else "pdf",
            ) from None
        except BaseException:
            self.close()
            raise

    def _opens(self) -> bool:
        """Tell whether PDFium opens a file that pypdfium2 refuses.

        It refuses one without pages, with the reason of whatever file PDFium refused before (pypdfium2 5.15).
        """
        from pypdfium2 import internal, raw

        with _PDFIUM.lock:
            access, _held = internal.get_bufreader(self._file)
            document = raw.FPDF_LoadCustomDocument(access, None)
            if document:
                raw.FPDF_CloseDocument(document)
            return bool(document)

    def __len__(self) -> int:
        """Return the number of pages."""
        return self._count

    def close(self) -> None:
        """Close the PDF and its file."""
        with _PDFIUM.lock:
            if self._pdf is not None:
                self._pdf.close()
                self._pdf = None
        self._file.close()

    def image(self, number: int, *, dpi: float, longest: int | None = None) -> Image.Image:
        """Return a page as an RGB image.

        Args:
            number: Of the page, from 1.
            dpi: Pixels per inch.
            longest: Longest side in pixels, for which a page is rendered smaller; None sets no limit.
        """
        with _PDFIUM.lock:
            page = self._pdf[number - 1]
            try:
                scale = dpi / DPI
                if longest is not None:
                    scale = min(scale, longest / max(1, *page.get_size()))
                image: Image.Image = page.render(scale=scale).to_pil()
                return image.convert("RGB")  # a copy: the bitmap's memory is PDFium's
            finally:
                page.close()

    def size(self, number: int) -> tuple[float, float]:
        """Return the width and height of a page in points."""
        with _PDFIUM.lock:
            width, height = self._pdf.get_page_size(number - 1)
            return float(width), float(height)

    def text(self, number: int) -> str:
        """Return the text of a page, without white space around it.

        Raises:
            ItemError: It is longer than ``PAGE_CHARACTERS``.
        """
        with _PDFIUM.lock:
            page = self._pdf[number - 1]
            try:
                textpage = page.get_textpage()
                if (count := textpage.count_chars()) > PAGE_CHARACTERS:
                    message = f"the page has {count} characters; a page may have {PAGE_CHARACTERS}."
                    raise ItemError(message, kind="long")
                text = textpage.get_text_range().replace("\r\n", "\n").strip()
            finally:
                page.close()
        return str(text.encode("utf-8", "replace").decode())
