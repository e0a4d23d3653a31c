"""PDFs for tests."""

from __future__ import annotations

from io import BytesIO

import pytest


def make_pdf(*sizes: tuple[float, float], text: str = "") -> bytes:
    """Return a PDF of empty pages of these sizes in points."""
    pypdfium2 = pytest.importorskip("pypdfium2")
    with pypdfium2.PdfDocument.new() as pdf:
        for size in sizes:
            pdf.new_page(*size)
        file = BytesIO()
        pdf.save(file)
    return file.getvalue()


def locked() -> bytes:
    """Return a PDF that wants a password: the keys are made up, so none opens it."""
    keys = b"<</Filter/Standard/V 1/R 2/P -4/O<" + b"41" * 32 + b">/U<" + b"42" * 32 + b">>>"
    data = make_pdf((100, 100))
    return data.replace(b"/Info", b"/Encrypt " + keys + b"/ID[<41><41>]/Info", 1)
