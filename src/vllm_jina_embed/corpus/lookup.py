"""Find rows of an opened corpus by their ids or by their file, and the vectors that are stored of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .._arrays import Floats
from .lance_rows import LanceRows
from .opened import Corpus, Row
from .parquet_parts import BITS, EMBEDDING, MULTI_VECTOR
from .parquet_search import VECTORS, row_of
from .places import floats_of
from .store_errors import ReadingStore

LIGHT = ("id", "source", "page", "kind")
"""Columns that every corpus has, and that cost little to read."""
BATCH = 1024
"""Rows of a file that are in memory together; each may hold an image."""


class Lookup(Protocol):
    """What is asked of a corpus beside a search."""

    def rows(self, by: str = "", values: Collection[str] = (), *, light: bool = False) -> Iterator[Row]:
        """Yield the rows whose ``by``, ``id`` or ``source``, is among ``values``; without ``by`` all.

        ``light`` ones have neither a text nor an image nor kept columns.
        """
        ...

    def vectors(self, id_: str) -> tuple[Floats | None, Floats | None]:
        """Return what is stored of a row: ``(dimensions,)`` and ``(n_tokens, token_dimensions)``; None for none."""
        ...


def lookup_of(corpus: Corpus) -> Lookup:
    """Return what finds the rows of a corpus: files and LanceDB read only these, other stores are read whole."""
    if isinstance(corpus.store, LanceRows):
        return Columns(corpus, LanceColumns(corpus.store.table, corpus.store.place))
    return Columns(corpus, ParquetColumns(corpus.parts)) if corpus.parts else Rows(corpus)


class Rows:
    """Reads every row; knows of no vectors."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def rows(self, by: str = "", values: Collection[str] = (), *, light: bool = False) -> Iterator[Row]:
        """See ``Lookup``."""
        wanted = set(values)
        return (row for row in self._corpus if not by or getattr(row, by) in wanted)

    def vectors(self, id_: str) -> tuple[Floats | None, Floats | None]:
        """See ``Lookup``."""
        return None, None


class Columns:
    """Reads columns of some rows alone."""

    def __init__(self, corpus: Corpus, columns: ParquetColumns | LanceColumns) -> None:
        self._settings, self._columns = corpus.settings, columns
        self._names = [name for name in columns.names if name in corpus.manifest["columns"]]

    def rows(self, by: str = "", values: Collection[str] = (), *, light: bool = False) -> Iterator[Row]:
        """See ``Lookup``."""
        names = [name for name in self._names if name in LIGHT or not (light or name in VECTORS)]
        if by and not values:
            return
        for part in self._columns.scan(names, by, values):
            yield from map(row_of, part.to_pylist())

    def vectors(self, id_: str) -> tuple[Floats | None, Floats | None]:
        """See ``Lookup``; int8 and binary become about what they were."""
        embedding = tokens = None
        columns = [name for name in self._names if name in VECTORS]
        for part in self._columns.scan(columns, "id", [id_]):
            for name in columns if part.num_rows else ():
                numbers = np.asarray(part.column(name)[0].as_py())
                if name == MULTI_VECTOR:
                    tokens = numbers.astype(np.float32)
                else:
                    embedding = self._floats(numbers[None])[0]
        return embedding, tokens

    def embeddings(self) -> Iterator[Floats]:
        """Yield the embeddings, float32 ``(n, dimensions)``, in parts."""
        name = BITS if self._settings["dtype"] == "binary" else EMBEDDING
        for part in self._columns.scan([name]):
            numbers = part.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
            yield self._floats(numbers.reshape(part.num_rows, -1))

    def _floats(self, numbers: np.ndarray) -> Floats:
        dtype, dimensions = self._settings["dtype"], int(self._settings["dimensions"])
        stored = numbers.astype(np.uint8) if dtype == "binary" else numbers
        return floats_of(stored, dtype, dimensions).astype(np.float32)


class ParquetColumns:
    """The files of a corpus; a batch is in memory at a time."""

    def __init__(self, parts: Sequence[Path]) -> None:
        import pyarrow.parquet as pq

        self._parts = tuple(parts)
        with ReadingStore(str(parts[0])):
            self.names = list(pq.read_schema(self._parts[0]).names)

    def scan(self, names: Sequence[str], by: str = "", values: Collection[str] = ()) -> Iterator[Any]:
        """Yield Arrow tables of some columns; of a row group without such a row only ``by`` is read."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        for part in self._parts:
            with ReadingStore(str(part)):
                file = pq.ParquetFile(part)
                for group in range(file.num_row_groups):
                    mask = None
                    if by:
                        column = file.read_row_group(group, columns=[by]).column(0)
                        mask = pc.is_in(column, value_set=pa.array(list(values), pa.string()))
                        if not pc.any(mask).as_py():
                            continue
                    start = 0
                    for batch in file.iter_batches(BATCH, row_groups=[group], columns=list(names)):
                        rows, start = pa.Table.from_batches([batch]), start + len(batch)
                        yield rows if mask is None else rows.filter(mask.slice(start - len(batch), len(batch)))


class LanceColumns:
    """A table of LanceDB."""

    def __init__(self, table: Any, place: str) -> None:
        self._table, self._place = table, place
        self.names = list(table.schema.names)

    def scan(self, names: Sequence[str], by: str = "", values: Collection[str] = ()) -> Iterator[Any]:
        """Yield Arrow tables of some columns."""
        import pyarrow as pa

        with ReadingStore(self._place):
            query = self._table.search().select(list(names))
            if by:
                quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
                query = query.where(f"{by} IN ({quoted})")
            for batch in query.to_batches(BATCH):
                yield pa.Table.from_batches([batch])
