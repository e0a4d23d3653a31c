"""Turn a row of a table into what is embedded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..inputs.images import LoadedImage, load_image
from ..inputs.references import image_string
from .entries import Columns, Content, image_parts
from .folders import version_of
from .kinds import ItemError


def id_of(row: Mapping[str, Any], place: str, columns: Columns) -> str:
    """Return a row's id.

    Args:
        row: The row.
        place: Its place in its file, for a row without one.
        columns: Which column holds the id.

    Raises:
        ItemError: It has none although a column was named, or one that is neither text nor a whole number.
    """
    value = row.get(columns.id or "id")
    if value is None or value == "":
        if columns.id is None:
            return place
        raise ItemError(f"column {columns.id!r} is empty; every row needs an id.", kind="id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ItemError(f"the id is {_short(value)}; expected a text or a whole number.", kind="id")
    return _unicode(str(value), "the id")


def content_of(row: Mapping[str, Any], columns: Columns, folder: Path) -> Content:
    """Return what is embedded of a row.

    Args:
        row: The row.
        columns: Which columns mean what.
        folder: Of the table, for images that it names.

    Raises:
        ItemError: There is nothing to embed, or a value of another type.
        InputError: The image cannot be opened.
    """
    text, image = row.get(columns.text), row.get(columns.image)
    if columns.text not in row and columns.image not in row:
        names = ", ".join(map(repr, list(row)[:20]))
        raise ItemError(
            f"there is neither a column {columns.text!r} nor {columns.image!r}; there are {names}.", kind="column"
        )
    if text is not None and not isinstance(text, str):
        raise ItemError(f"column {columns.text!r} is {_short(text)}; expected a text.", kind="column")
    text = _unicode(text or "", f"column {columns.text!r}")
    text = text if text.strip() else ""
    kept = {name: row.get(name) for name in columns.kept}
    if image is not None and image != "":
        return Content(text=text, kept=kept, **image_parts(_image(image, columns, folder), columns))
    if not text:
        raise ItemError("the row has neither a text nor an image.", kind="empty")
    return Content(text=text, kept=kept)


def _image(value: Any, columns: Columns, folder: Path) -> LoadedImage:
    """Open an image: bytes, a data URI, a path, or a dictionary of bytes and path as Hugging Face's datasets write."""
    if isinstance(value, Mapping) and set(value) <= {"bytes", "path"}:
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if not isinstance(value, str | bytes):
        raise ItemError(f"column {columns.image!r} is {_short(value)}; expected bytes, a path or a URI.", kind="column")
    root = _root(columns, folder)
    media = replace(columns.media, allowed_root=root.resolve())
    if isinstance(value, str) and image_string(value) is None:
        value = root / value
    return load_image(value, media)


def image_version(value: Any, columns: Columns, folder: Path) -> bytes:
    """Return what is another once the file of a row's image was written again; empty where the row names no file."""
    if isinstance(value, Mapping) and value.get("bytes") is None:
        value = value.get("path")
    if isinstance(value, str) and value:
        with suppress(OSError, ValueError):  # there is no such file, or the name is none: loading it says so
            if image_string(value) is None:
                return version_of(_root(columns, folder) / value)
    return b""


def _root(columns: Columns, folder: Path) -> Path:
    """Return the folder that images of a table are in."""
    return Path(columns.image_root) if columns.image_root is not None else folder


def _unicode(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ItemError(f"{name} is not valid Unicode (at character {error.start}).", kind="encoding") from None
    return text


def _short(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"a {type(value).__name__}"
