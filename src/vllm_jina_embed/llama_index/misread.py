"""Detect images, PDFs, archives and other binary files that a reader decoded as text.

``SimpleDirectoryReader`` does so with every file that it has no reader for. Without ``llama-index-readers-file`` that
includes images and PDFs: their bytes, decoded as UTF-8 with errors ignored, would be embedded like a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import InputError

_SAMPLE = 20_000
"""Characters of a text that are examined."""
_LEAST = 8
"""Least number of suspicious characters that makes a text binary."""
_SHARES = {
    re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]"): 0.05,  # control characters: decoded images have 0.1 to 0.2
    re.compile("[\x00\ufffd]"): 0.25,  # a PDF's ligatures and a wrong encoding of Western languages leave up to 0.1
}
# They match whether bytes that are not UTF-8 were dropped, replaced, or decoded as Latin-1.
_BEGINNINGS = {
    "an image": re.compile(
        r".?PNG\r?\n\x1a\n|.{0,6}?(?:JFIF|Exif)\x00|GIF8[79]a.{0,6}[\x00-\x08]|RIFF.{0,4}WEBPVP8|II\*\x00|MM\x00\*"
        r"|.{0,4}ftyp(?:heic|heix|avif|mif1)|BM.{0,4}\x00{4}|.{0,4}jP  \r?\n",
        re.DOTALL,
    ),
    "a PDF": re.compile(r"%PDF-\d\.\d\s*[\r\n]"),
    "a zip archive (also .docx, .xlsx, .pptx, .odt, .epub)": re.compile("PK\x03\x04"),
}
_INSTALL = "pip install llama-index-readers-file, and read the files again"


def misread(text: str, metadata: Mapping[str, Any]) -> str | None:
    """Return the kind of file that ``text`` is the decoded bytes of; None for a real text.

    Args:
        text: A node's text.
        metadata: Its metadata; ``file_type`` names the kind where the text alone does not.
    """
    sample = text[:_SAMPLE]
    for kind, beginning in _BEGINNINGS.items():
        if beginning.match(sample):
            return kind
    counts = {share: len(characters.findall(sample)) for characters, share in _SHARES.items()}
    if not any(count >= max(_LEAST, share * len(sample)) for share, count in counts.items()):
        return None
    media_type = str(metadata.get("file_type") or "")
    return "an image" if media_type.startswith("image/") else f"a binary file {media_type}".rstrip()


def refuse_misread(text: str, metadata: Mapping[str, Any]) -> None:
    """Check that ``text`` is not the decoded bytes of a binary file.

    Raises:
        InputError: It is.
    """
    kind = misread(text, metadata)
    if kind is None:
        return
    own = ", or make the node by image_node() or image_document()" if kind == "an image" else ""
    raise InputError(
        f"its text is {kind} that was read as text ({text[:16]!r}): SimpleDirectoryReader does so with files that it "
        f"has no reader for. Run: {_INSTALL}{own}. Otherwise leave the file out."
    )
