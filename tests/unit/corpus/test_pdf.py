"""What is told of PDFs that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pdfs import locked, make_pdf
from vllm_jina_embed.corpus.kinds import ItemError
from vllm_jina_embed.corpus.pdf import Pdf

pytest.importorskip("pypdfium2", reason="of the extra corpus")


@pytest.mark.parametrize("before", [None, locked, lambda: b"no PDF"])
def test_a_pdf_without_pages_is_not_told_with_the_reason_of_another(before: object, tmp_path: Path) -> None:
    """PDFium refuses it without a reason, and its last one is of the file before: 'Incorrect password'."""
    if callable(before):
        (tmp_path / "before.pdf").write_bytes(before())
        with pytest.raises(ItemError):
            Pdf(tmp_path / "before.pdf", extra="corpus")
    (tmp_path / "none.pdf").write_bytes(make_pdf())
    with pytest.raises(ItemError, match=r"^the PDF has no page\.$") as caught:
        Pdf(tmp_path / "none.pdf", extra="corpus")
    assert caught.value.kind == "empty"
