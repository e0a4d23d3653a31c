"""Find the types of the columns that a corpus keeps, and check values against them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .entries import Columns, Content
from .kinds import ItemError
from .parquet_rows import PARQUET
from .sources import TABLES, Source
from .tables import CSV, csv_rows, parsed

SAMPLE = 1000
"""Rows of a JSONL file that the types are taken from."""
TABLES_READ = 64
"""Tables that are looked at for columns."""


def kept_types(sources: Iterable[Source], columns: Columns) -> dict[str, Any]:
    """Return the Arrow type of each column to keep: that of the first table which has it.

    Columns of CSV are texts. Of JSONL, values of one type keep it, and whatever else there is becomes JSON as text.

    Raises:
        ConfigError: No table has one of the columns; names those that there are.
    """
    types: dict[str, Any] = {}
    names: dict[str, None] = {}
    if not columns.kept:
        return types
    read = 0
    for path in _tables(sources):
        if read == TABLES_READ or set(columns.kept) <= set(types):
            break
        read += 1
        try:
            found = _types(path, columns.kept)
        except Exception:  # the file is an error when it is its turn
            continue
        names.update(dict.fromkeys(found))
        for name in columns.kept:
            if name in found:
                types.setdefault(name, found[name])
    if missing := [name for name in columns.kept if name not in types]:
        shown = f"there are {', '.join(map(repr, list(names)[:20]))}" if names else "there is no table that can be read"
        raise ConfigError(f"keep={missing[0]!r}: no table has this column; {shown}.")
    return {name: types[name] for name in columns.kept}


def _tables(sources: Iterable[Source]) -> Iterable[Path]:
    for source in sources:
        for path in source.paths(None):
            if isinstance(path, Path) and path.suffix.lower() in TABLES:
                yield path


def _types(path: Path, kept: Iterable[str]) -> dict[str, Any]:
    """Return the columns of a table with their types; those of JSONL only of ``kept``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    suffix = path.suffix.lower()
    if suffix in PARQUET:
        schema = pq.read_schema(path)
        return dict(zip(schema.names, schema.types, strict=True))
    if suffix in CSV:
        return dict.fromkeys(next(csv_rows(path))[3], pa.string())
    rows: list[Mapping[str, Any]] = []
    with path.open("rb") as file:
        for line in file:
            try:
                rows.append(parsed(line))
            except (ItemError, UnicodeError):
                continue
            if len(rows) == SAMPLE:
                break
    names = dict.fromkeys(name for row in rows for name in row)
    wanted = set(kept)
    return {name: _of_json([row.get(name) for row in rows]) if name in wanted else pa.null() for name in names}


def _of_json(values: list[Any]) -> Any:
    import pyarrow as pa

    try:
        found = pa.infer_type(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.string()
    simple = pa.types.is_boolean(found) or pa.types.is_integer(found) or pa.types.is_floating(found)
    return found if simple else pa.string()


@dataclass(frozen=True, slots=True)
class Check:
    """Checks the kept values of a content."""

    types: Mapping[str, Any]

    def __call__(self, content: Content) -> Content:
        """Return the content with values that its columns can hold.

        Raises:
            ItemError: A value has another type.
        """
        if not content.kept:
            return content
        return replace(content, kept={name: self._value(name, content.kept.get(name)) for name in self.types})

    def _value(self, name: str, value: Any) -> Any:
        import pyarrow as pa

        kind = self.types[name]
        if value is None:
            return None
        if isinstance(value, str):
            value = value.encode("utf-8", "replace").decode()
        elif pa.types.is_string(kind):
            value = json.dumps(value, ensure_ascii=False, default=str)
        try:
            if isinstance(value, str) and not pa.types.is_string(kind):  # a number in a CSV
                value = pa.scalar(value).cast(kind).as_py()
            pa.scalar(value, kind)
        except Exception as error:  # pyarrow's ArrowInvalid, ArrowTypeError, OverflowError and others
            raise ItemError(
                f"column {name!r} is {ascii(value)[:60]}, and the others are {kind} ({error}).", kind="column"
            ) from None
        return value
