"""Find rows of a corpus by their ids or their file, with the vectors that are stored of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .._arrays import Floats
from .parquet_parts import BITS, EMBEDDING, MULTI_VECTOR
from .places import floats_of

VECTORS = (EMBEDDING, BITS, MULTI_VECTOR)
LIGHT = ("id", "source", "page", "kind")
"""Columns that every corpus has, and that cost little to read."""


class Table(Protocol):
    """The columns of a corpus, read in parts."""

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        ...

    def scan(self, columns: Sequence[str], *, by: str = "", values: Collection[str] = ()) -> Iterator[Any]:
        """Yield Arrow tables of ``columns``: of all rows, or of those whose column ``by`` has one of ``values``."""
        ...


class ParquetTable:
    """The files of a corpus; a row group is read at a time."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts = tuple(parts)

    @property
    def names(self) -> list[str]:
        """See ``Table``."""
        import pyarrow.parquet as pq

        return list(pq.read_schema(self._parts[0]).names) if self._parts else []

    def scan(self, columns: Sequence[str], *, by: str = "", values: Collection[str] = ()) -> Iterator[Any]:
        """See ``Table``; other columns of a row group are read only where it has such a row."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        names = list(columns)
        for part in self._parts:
            file = pq.ParquetFile(part)
            for group in range(file.num_row_groups):
                if not by:
                    yield file.read_row_group(group, columns=names)
                    continue
                column = file.read_row_group(group, columns=[by]).column(0)
                mask = pc.is_in(column, value_set=pa.array(list(values), pa.string()))
                if pc.any(mask).as_py():
                    yield file.read_row_group(group, columns=names).filter(mask)


class LanceRows:
    """A table of LanceDB."""

    def __init__(self, table: Any) -> None:
        self._table = table

    @property
    def names(self) -> list[str]:
        """See ``Table``."""
        return list(self._table.schema.names)

    def scan(self, columns: Sequence[str], *, by: str = "", values: Collection[str] = ()) -> Iterator[Any]:
        """See ``Table``."""
        import pyarrow as pa

        query = self._table.search().select(list(columns))
        if by:
            query = query.where(f"{by} IN ({', '.join(map(_quoted, values))})")
        for batch in query.limit(None).to_batches():
            yield pa.Table.from_batches([batch])


def _quoted(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def rows_by(table: Table, by: str, values: Collection[str], *, light: bool = False) -> list[dict[str, Any]]:
    """Return the rows whose column ``by`` has one of ``values``, without vectors; ``light`` ones without content."""
    if not values:
        return []
    columns = [name for name in table.names if name in LIGHT or not (light or name in VECTORS)]
    return [row for part in table.scan(columns, by=by, values=values) for row in part.to_pylist()]


def stored_vectors(table: Table, id_: str, dtype: str, dimensions: int | None) -> tuple[Floats | None, Floats | None]:
    """Return the stored vectors of a row: ``(dimensions,)`` and ``(n_tokens, token_dimensions)``, None where none is.

    Args:
        table: The columns.
        id_: Of the row.
        dtype: Of the embeddings; int8 and binary become about what they were.
        dimensions: Of an embedding.
    """
    columns = [name for name in table.names if name in VECTORS]
    embedding = tokens = None
    for part in table.scan(columns, by="id", values=[id_]):
        for name in columns[: part.num_rows * len(columns)]:
            numbers = np.asarray(part.column(name)[0].as_py())
            if name == MULTI_VECTOR:
                tokens = numbers.astype(np.float32)
            elif dimensions is not None:
                numbers = numbers.astype(np.uint8) if name == BITS else numbers
                embedding = floats_of(numbers[None], dtype, dimensions)[0].astype(np.float32)
    return embedding, tokens


def embeddings_of(table: Table, dtype: str, dimensions: int) -> Iterator[tuple[list[str], Floats]]:
    """Yield ids and their embeddings ``(n, dimensions)``, in parts."""
    name = BITS if dtype == "binary" else EMBEDDING
    for part in table.scan(["id", name]):
        if part.num_rows:
            column = part.column(name).combine_chunks()
            numbers = column.flatten().to_numpy(zero_copy_only=False).reshape(part.num_rows, -1)
            yield part.column("id").to_pylist(), floats_of(numbers, dtype, dimensions)
