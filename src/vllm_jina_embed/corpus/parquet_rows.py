"""Read the rows of Parquet files as entries: the ids first, and everything else when it is its turn."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from .._extras import require
from .entries import Columns, Content, Entry, bad, item_error
from .folders import regular_size, version_of
from .rows import content_of, id_of, image_version
from .tables import needs_columns

PARQUET = (".parquet", ".pq")
BATCH, BATCH_BYTES = 64, 32 * 1024 * 1024
"""Rows that are read at a time at most, and about their bytes."""


def parquet_entries(path: Path, source: str, columns: Columns) -> Iterator[Entry]:
    """Yield the rows of a Parquet file.

    Raises:
        ItemError: A column is missing.
        MissingExtraError: pyarrow is not installed.
    """
    require("corpus", "pyarrow")
    import pyarrow.parquet as pq

    size = regular_size(path, columns.media)
    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    needs_columns(names, columns)
    key = columns.id or "id"
    version = version_of(path)
    content = _Contents(path, [name for name in (columns.text, columns.image, *columns.kept) if name in names])
    number, rows = 0, max(1, file.metadata.num_rows)
    for row_group in range(file.num_row_groups):
        for batch, rows_read in enumerate(_short_columns(file, row_group, _cheap(file, key, columns.image))):
            for at, values in enumerate(rows_read):
                place, number = f"{source}#row={number}", number + 1
                try:
                    name = id_of(values, place, columns)
                except Exception as error:
                    yield bad(place, source, item_error(error, "row"), size=size // rows)
                    continue
                row = _Row(content, (row_group, batch, at), columns, path.parent)
                signature = version + image_version(values.get(columns.image), columns, path.parent)
                yield Entry(
                    id=name,
                    source=source,
                    signature=signature,
                    size=size // rows,
                    load=row.load,
                    prepare=row.prepare,
                )


def _cheap(file: Any, key: str, image: str) -> list[str]:
    """Return the columns that are read twice: the ids, and names of images."""
    import pyarrow as pa

    schema = file.schema_arrow
    named = image in schema.names and pa.types.is_string(schema.field(image).type)
    return [name for name in dict.fromkeys((key, *[image] * named)) if name in schema.names]


def _short_columns(file: Any, row_group: int, names: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield these columns of each batch of a row group."""
    if names:
        yield from _batches(file, row_group, names)
        return
    count, size = file.metadata.row_group(row_group).num_rows, _batch_rows(file, row_group)
    for start in range(0, count, size):
        yield [{} for _ in range(min(size, count - start))]


def _batches(file: Any, row_group: int, names: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a row group, so many at a time that they fit into the memory whatever they hold."""
    size = _batch_rows(file, row_group)
    waiting: list[dict[str, Any]] = []
    for batch in file.iter_batches(size, row_groups=[row_group], columns=names):
        waiting += batch.to_pylist()
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting:
        yield waiting


def _batch_rows(file: Any, row_group: int) -> int:
    facts = file.metadata.row_group(row_group)
    return int(max(1, min(BATCH, BATCH_BYTES * facts.num_rows // max(1, facts.total_byte_size))))


class _Contents:
    """The content of a file's rows, read forwards: a batch is in memory while rows of it are."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path, self._names = path, names
        self._file: Any = None
        self._place = (-1, -1)
        self._batches: Iterator[list[dict[str, Any]]] = iter(())
        self._rows: list[dict[str, Any]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the call that gives the one of another process."""
        return _contents, (self._path, tuple(self._names))

    def at(self, row_group: int, batch: int, number: int) -> dict[str, Any]:
        """Return a row; each is at or behind the one before it, or reading begins at its row group again."""
        if self._place != (row_group, batch):
            if self._place[0] != row_group or self._place[1] > batch:
                self._start(row_group)
            while self._place[1] < batch:
                self._rows = next(self._batches)
                self._place = (row_group, self._place[1] + 1)
        return self._rows[number]

    def _start(self, row_group: int) -> None:
        import pyarrow.parquet as pq

        if self._file is None:
            self._file = pq.ParquetFile(self._path)
        self._place = (row_group, -1)
        self._batches = _batches(self._file, row_group, self._names)


@lru_cache(maxsize=1)
def _contents(path: Path, names: tuple[str, ...]) -> _Contents:
    """Return the reader of a file, which goes on where the shard before it ended."""
    return _Contents(path, list(names))


class _Row:
    """One row: ``prepare`` reads it, ``load`` opens its image."""

    __slots__ = ("_columns", "_contents", "_folder", "_place", "_row")

    def __init__(self, contents: _Contents, place: tuple[int, int, int], columns: Columns, folder: Path) -> None:
        self._contents, self._place, self._columns, self._folder = contents, place, columns, folder
        self._row: dict[str, Any] | Exception | None = None

    def prepare(self) -> None:
        """Read the row's columns."""
        try:
            self._row = self._contents.at(*self._place)
        except Exception as error:  # a broken page of the file
            self._row = error

    def load(self) -> Content:
        """Return its content."""
        row, self._row = self._row, None
        if not isinstance(row, dict):
            raise item_error(row or RuntimeError("it was not read"), "row")
        return content_of(row, self._columns, self._folder)
