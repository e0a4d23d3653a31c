"""Read the rows of JSONL, CSV and TSV files as entries."""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from .entries import Columns, Content, Entry, bad, item_error
from .folders import regular_size
from .kinds import ItemError
from .rows import content_of, id_of, image_version

JSON_LINES = (".jsonl", ".ndjson")
CSV = {".csv": ",", ".tsv": "\t"}
LINE_BYTES = 128 * 1024 * 1024
"""Longest row of a table, which may hold an image."""
KEPT_BYTES = 64 * 1024
"""A longer row is read again when it is its turn, so that a shard of them does not fill the memory."""

_RETURN = re.compile(rb"(?<=\r)(?!\n)")


def json_entries(path: Path, source: str, columns: Columns) -> Iterator[Entry]:
    """Yield the rows of a JSONL file, an object a line; empty lines are passed over."""
    regular_size(path, columns.media)
    with path.open("rb") as file:
        number, start = 0, 0
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            size, place = len(line), f"{source}#L{number}"
            if size > LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(LINE_BYTES)
                    size += len(line)
                yield bad(place, source, ItemError(f"the row has {size} bytes; at most {LINE_BYTES}.", kind="long"))
            elif line.strip():
                yield _json_entry(path, source, place, line, start, columns)
            start += size


def _json_entry(path: Path, source: str, place: str, line: bytes, start: int, columns: Columns) -> Entry:
    try:
        row = parsed(line)
        name = id_of(row, place, columns)
    except Exception as error:
        return bad(place, source, item_error(error, "row"), size=len(line))
    size, is_long = len(line), len(line) > KEPT_BYTES
    load = (
        partial(_content_again, path, start, size, columns)
        if is_long
        else partial(content_of, row, columns, path.parent)
    )
    quick = not is_long and not row.get(columns.image)
    signature = _short(line + image_version(row.get(columns.image), columns, path.parent))
    return Entry(id=name, source=source, signature=signature, size=size, load=load, quick=quick)


def parsed(line: bytes) -> dict[str, Any]:
    """Return the object of a line of JSON.

    Raises:
        ItemError: It is not JSON, or not an object.
    """
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ItemError(f"the line is not JSON ({reason}).", kind="row") from None
    if not isinstance(row, dict):
        raise ItemError(f"the line holds a {type(row).__name__}; expected an object in braces.", kind="row")
    return row


def _content_again(path: Path, start: int, size: int, columns: Columns) -> Content:
    with path.open("rb") as file:
        file.seek(start)
        row = parsed(file.read(size))
    return content_of(row, columns, path.parent)


def _short(data: bytes) -> bytes:
    """Return what is as good as a signature."""
    return data if len(data) <= hashlib.sha256().digest_size else hashlib.sha256(data).digest()


def csv_entries(path: Path, source: str, columns: Columns) -> Iterator[Entry]:
    """Yield the rows of a CSV or TSV file, whose first line names the columns."""
    regular_size(path, columns.media)
    rows = csv_rows(path)
    header = next(rows, None)
    if header is None:
        raise ItemError("the table is empty.", kind="empty")
    names = header[3]
    needs_columns(names, columns)
    for number, start, end, values in rows:
        if any(values):
            yield _csv_entry(path, source, f"{source}#L{number}", names, values, (start, end), columns)


def _csv_entry(
    path: Path, source: str, place: str, names: list[str], values: list[str], span: tuple[int, int], columns: Columns
) -> Entry:
    row: Mapping[str, Any] = dict(zip(names, values, strict=False))
    size = span[1] - span[0]
    try:
        if len(values) != len(names):
            raise ItemError(f"the row has {len(values)} fields; the first line has {len(names)}.", kind="row")
        name = id_of(row, place, columns)
    except Exception as error:
        return bad(place, source, item_error(error, "row"), size=size)
    signature = "\0".join(values).encode("utf-8", "surrogateescape")
    signature += image_version(row.get(columns.image), columns, path.parent)
    return Entry(
        id=name,
        source=source,
        signature=_short(signature),
        size=size,
        load=partial(_csv_again, path, *span, names, columns)
        if size > KEPT_BYTES
        else partial(content_of, row, columns, path.parent),
        quick=size <= KEPT_BYTES and not row.get(columns.image),
    )


def _csv_again(path: Path, start: int, end: int, names: list[str], columns: Columns) -> Content:
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(end - start)
    (*_, values) = (row[3] for row in _csv_rows(BytesIO(data), CSV[path.suffix.lower()]))
    return content_of(dict(zip(names, values, strict=False)), columns, path.parent)


def csv_rows(path: Path) -> Iterator[tuple[int, int, int, list[str]]]:
    """Yield the number of the last line of each row, where it begins and ends in the file, and its fields."""
    with path.open("rb") as file:
        yield from _csv_rows(file, CSV[path.suffix.lower()])


def _csv_rows(file: Any, delimiter: str) -> Iterator[tuple[int, int, int, list[str]]]:
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        start = lines.end
        before = csv.field_size_limit(LINE_BYTES)  # of the whole process, so for this row alone
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise ItemError(f"line {reader.line_num} is not CSV ({error}).", kind="row") from None
        finally:
            csv.field_size_limit(before)
        if values is None:
            return
        yield reader.line_num, start, lines.end, values


class _Lines:
    """Yields the lines of a file as text, whatever their ends are, and says where in the file the last one ended."""

    def __init__(self, file: Any) -> None:
        self._file, self.end = file, 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LINE_BYTES + 1):
            if len(line) > LINE_BYTES:
                raise ItemError(f"a line has over {LINE_BYTES} bytes.", kind="long")
            for part in _RETURN.split(line):
                text = part.removeprefix(codecs.BOM_UTF8) if self.end == 0 else part
                self.end += len(part)
                if part:
                    yield text.decode("utf-8", "surrogateescape")


def needs_columns(names: list[str], columns: Columns) -> None:
    """Check that a table has what is embedded.

    Raises:
        ItemError: It has neither a column for texts nor one for images, or none for the ids that was named.
    """
    shown = ", ".join(repr(name[:60]) for name in names[:20])
    if columns.text not in names and columns.image not in names:
        raise ItemError(
            f"there is neither a column {columns.text!r} nor {columns.image!r}; there are {shown}. "
            "Name one: --text COLUMN or --image COLUMN.",
            kind="column",
        )
    if columns.id is not None and columns.id not in names:
        raise ItemError(f"there is no column {columns.id!r} for the ids; there are {shown}.", kind="id")
