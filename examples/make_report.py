"""Make the PDF that 09_rag_over_a_pdf.py reads: four pages, each a chart above a line of text.

Run: python examples/make_report.py report.pdf
"""

import ctypes
import sys
from io import BytesIO
from pathlib import Path

import pypdfium2
from pypdfium2 import raw

from vllm_jina_embed.demo.drawing import draw

PAGES = {
    "blue bar chart": "Sales per month, drawn as bars in blue.",
    "green pie chart": "Where the money went, as a pie in green.",
    "red line chart": "The temperature, as a line in red.",
    "yellow table": "All figures in a yellow table.",
}
WIDTH, HEIGHT, MARGIN = 420, 420, 30


def make_report(file: Path) -> Path:
    """Write the PDF and return its path."""
    with pypdfium2.PdfDocument.new() as pdf:
        for seed, (concept, text) in enumerate(PAGES.items()):
            page = pdf.new_page(WIDTH, HEIGHT)
            _add_image(pdf, page, concept, seed)
            _add_text(pdf, page, text)
            page.gen_content()
        pdf.save(file)
    return file


def _add_image(pdf: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, concept: str, seed: int) -> None:
    jpeg = BytesIO()
    draw(concept, seed=1000 + seed, size=(720, 640)).save(jpeg, "JPEG", quality=90)
    image = pypdfium2.PdfImage.new(pdf)
    image.load_jpeg(jpeg)
    width, height = WIDTH - 2 * MARGIN, HEIGHT - 3 * MARGIN
    image.set_matrix(pypdfium2.PdfMatrix().scale(width, height).translate(MARGIN, 2 * MARGIN))
    page.insert_obj(image)


def _add_text(pdf: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, text: str) -> None:
    line = raw.FPDFPageObj_NewTextObj(pdf, b"Helvetica", 16.0)
    letters = text.encode("utf-16-le") + b"\0\0"
    raw.FPDFText_SetText(line, ctypes.cast(letters, ctypes.POINTER(ctypes.c_ushort)))
    raw.FPDFPageObj_Transform(line, 1, 0, 0, 1, MARGIN, MARGIN)
    raw.FPDFPage_InsertObject(page, line)


if __name__ == "__main__":
    print(make_report(Path(sys.argv[1] if len(sys.argv) > 1 else "report.pdf")))
