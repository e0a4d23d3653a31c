"""Read the rows of a corpus from its LanceDB table; no index is asked, so that every vector is compared."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._arrays import Floats
from .._extras import require
from ..errors import ConfigError
from .parquet_parts import BITS, EMBEDDING, MULTI_VECTOR
from .parquet_search import VECTORS, row_of
from .places import floats_of, nearest_of
from .store_errors import ReadingStore
from .stored import Query, Row

BATCH = 4096
"""Rows that are read together."""
DISTANCE = "_distance"


class LanceRows:
    """The rows of a table; see ``RowStore``. A row's key is its id."""

    def __init__(self, folder: str | os.PathLike[str], name: str, manifest: Mapping[str, Any]) -> None:
        """Open the table.

        Raises:
            ConfigError: There is none.
            MissingExtraError: lancedb is not installed.
        """
        require("lancedb", "lancedb")
        import lancedb

        self.folder, self.name = os.fspath(folder), name
        self.place = f"lancedb://{self.folder}/{name}"
        self._settings, columns = manifest["vectors"], manifest["columns"]
        self._plain = [column for column in columns if column not in VECTORS]
        with ReadingStore(self.place):
            try:
                self.connection: Any = lancedb.connect(self.folder)
                self.table: Any = self.connection.open_table(name)
            except (ValueError, FileNotFoundError):
                raise ConfigError(f"there is no table {self.place!r}; its journal says that there was one.") from None

    def count(self) -> int:
        """See ``RowStore``."""
        with ReadingStore(self.place):
            return int(self.table.count_rows())

    def rows(self) -> Iterator[Row]:
        """See ``RowStore``."""
        with ReadingStore(self.place):
            for batch in self.table.search().select(self._plain).to_batches(BATCH):
                yield from map(row_of, batch.to_pylist())

    def nearest(self, query: Query) -> list[Row]:
        """See ``RowStore``; LanceDB's own search, and numpy over int8 and bits, for which it has none."""
        with ReadingStore(self.place):
            if query.embedding is None:
                return self._by_tokens(query, None)
            if self._settings["dtype"] in ("int8", "binary"):
                best = nearest_of(self._numbers(), query.embedding, self._settings, query.selected)
                scores = {name: score for score, name in best}
                found = [row_of(row, scores[row["id"]]) for row in self._named(list(scores))]
            else:
                rows = self._search(query.embedding, EMBEDDING, query.selected, None)
                found = [row_of(row, 1 - row.pop(DISTANCE)) for row in rows]
            return found if query.multi_vector is None else self._by_tokens(query, [row.id for row in found])

    def row(self, values: Mapping[str, Any]) -> Row:
        """Return the row of some of the table's columns, of which those that are no fields are left out."""
        return row_of({name: values[name] for name in self._plain})

    def get(self, keys: Sequence[str]) -> list[Row]:
        """See ``RowStore``."""
        with ReadingStore(self.place):
            return [row_of(row) for row in self._named(keys)]

    def close(self) -> None:
        """See ``RowStore``; a database in a folder needs no closing."""

    def _search(self, vector: Floats, column: str, count: int, only: str | None) -> list[dict[str, Any]]:
        query = self.table.search(vector, vector_column_name=column).distance_type("cosine").limit(count)
        query = query.bypass_vector_index()
        query = query if only is None else query.where(only, prefilter=True)
        rows: list[dict[str, Any]] = query.select([*self._plain, DISTANCE]).to_list()
        return rows

    def _by_tokens(self, query: Query, names: Sequence[str] | None) -> list[Row]:
        """Return the best by LanceDB's own MaxSim: its distance is the sum of 1 - cosine over the query's tokens."""
        assert query.multi_vector is not None
        only = None if names is None else _among(names)
        rows = self._search(query.multi_vector, MULTI_VECTOR, query.count, only)
        return [row_of(row, len(query.multi_vector) - row.pop(DISTANCE)) for row in rows]

    def _numbers(self) -> Iterator[tuple[list[str], Floats]]:
        """Yield ids and their embeddings, float32 ``(n, dimensions)``."""
        dtype, dimensions = self._settings["dtype"], int(self._settings["dimensions"])
        column = BITS if dtype == "binary" else EMBEDDING
        for batch in self.table.search().select(["id", column]).to_batches(BATCH):
            numbers = np.asarray(batch.column(column).flatten()).reshape(len(batch), -1)
            yield batch.column("id").to_pylist(), floats_of(numbers, dtype, dimensions)

    def _named(self, names: Sequence[str]) -> list[dict[str, Any]]:
        if not names:
            return []
        rows = self.table.search().where(_among(names)).select(self._plain).limit(len(names)).to_list()
        found = {row["id"]: row for row in rows}
        return [found[name] for name in names]


def _among(names: Sequence[str]) -> str:
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    return f"id IN ({quoted})"
