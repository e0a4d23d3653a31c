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


def text_pdf(*texts: str, size: tuple[int, int] = (400, 600)) -> bytes:
    """Return a PDF with a page for each text, in ASCII, a line below the other; an empty text gives an empty page."""
    objects: list[bytes] = []
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(texts)))
    objects.append(b"<</Type/Catalog/Pages 2 0 R>>")
    objects.append(f"<</Type/Pages/Count {len(texts)}/Kids[{kids}]>>".encode())
    objects.append(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for number, text in enumerate(texts):
        lines = "".join(f"({line}) Tj T* " for line in text.split("\n") if text)
        content = f"BT /F1 8 Tf 10 TL 20 {size[1] - 20} Td {lines}ET".encode()
        resources = f"/MediaBox[0 0 {size[0]} {size[1]}]/Resources<</Font<</F1 3 0 R>>>>"
        objects.append(f"<</Type/Page/Parent 2 0 R{resources}/Contents {5 + 2 * number} 0 R>>".encode())
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(content), content))
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(data))
    return data + head + table + end
