"""Write the results of a search as a page of HTML that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path

from ..errors import InputError, WriteError
from ..frameworks.shown_text import visible
from ..inputs.encoding import data_uri, jpeg
from .opened import Corpus, Row

SIDE = 480
"""Longest side of an image on the page, in pixels."""
CHARACTERS = 2000
_HEAD = """<!doctype html>
<html><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }}
article {{ border-top: 1px solid #ccc; padding: 1em 0 }}
img {{ max-width: 100%; border: 1px solid #ddd }}
pre {{ white-space: pre-wrap; font: inherit }}
small {{ color: #666 }}
</style></head><body><h1>{title}</h1>
"""


def write_page(path: Path, corpus: Corpus, rows: list[Row], *, query: str) -> None:
    """Write the page.

    Raises:
        WriteError: The file cannot be written.
    """
    parts = [_HEAD.format(title=escape(visible(query)))]
    for number, row in enumerate(rows, 1):
        place = row.source if row.page is None else f"{row.source}, page {row.page}"
        parts.append(f"<article><h3>{number}. {escape(visible(row.id))}</h3>")
        parts.append(f"<small>{row.score:.4f} &middot; {row.kind} &middot; {escape(visible(place))}</small>")
        parts.append(_image(corpus, row))
        if row.text:
            parts.append(f"<pre>{escape(row.text[:CHARACTERS])}</pre>")
        parts.append("</article>\n")
    parts.append("</body></html>\n")
    try:
        path.write_text("".join(parts), "utf-8")
    except OSError as error:
        raise WriteError(f"{str(path)!r} cannot be written ({error.strerror}).") from error


def _image(corpus: Corpus, row: Row) -> str:
    try:
        loaded = corpus.image(row)
    except (InputError, OSError) as error:
        return f"<p><small>{escape(visible(str(error)))}</small></p>"
    if loaded is None:
        return ""
    file = jpeg(loaded.pixels, max_side=SIDE)
    return f'<p><img alt="" src="{data_uri(file, "image/jpeg")}"></p>'
