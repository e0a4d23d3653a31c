"""Read the rows of a corpus from its table of PostgreSQL; no index is asked, so that every vector is compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._arrays import Floats
from ..errors import ConfigError
from .documents import row_of, types_of
from .parquet_parts import EMBEDDING, MULTI_VECTOR
from .places import nearest_of
from .postgres import connect, place_of_table, register, vector
from .store_errors import ReadingStore
from .stored import Query, Row

BATCH = 1000
"""Rows that are read together."""
_COLUMNS = "id, content, metadata"
_MAXSIM = f"""
    (SELECT sum(best) FROM (
        SELECT max(-(token <#> asked)) AS best
        FROM unnest(%s::vector[]) WITH ORDINALITY AS query (asked, number), unnest({MULTI_VECTOR}::vector[]) AS token
        GROUP BY number
    ) AS each)"""


class PostgresRows:
    """The rows of a table; see ``RowStore``. A row's key is its id."""

    def __init__(self, url: str, name: str, manifest: Mapping[str, Any]) -> None:
        """Connect.

        Args:
            url: Of the database; a password is taken from ``PGPASSWORD`` or ``~/.pgpass``.
            name: Of the table.
            manifest: Of the corpus.

        Raises:
            ConfigError: There is no such table.
            EngineError: The server does not answer.
            MissingExtraError: psycopg or pgvector is not installed.
        """
        self.url, self.name, self.place = url, name, place_of_table(url, name)
        self._settings, self._types = manifest["vectors"], types_of(manifest)
        self._table = f'"{name}"'
        with ReadingStore(self.place):
            self._connection = connect(url)
            (found,) = self._connection.execute("SELECT to_regclass(%s)", [self._table]).fetchone()
            if found is None:
                self.close()
                raise ConfigError(f"there is no table {self.place!r}; its journal says that there was one.")
            register(self._connection)

    @property
    def sqlalchemy_url(self) -> str:
        """The URL of the database for SQLAlchemy, with psycopg as the driver."""
        return f"postgresql+psycopg://{self.url.partition('://')[2]}"

    def count(self) -> int:
        """See ``RowStore``."""
        with ReadingStore(self.place):
            return int(self._connection.execute(f"SELECT count(*) FROM {self._table}").fetchone()[0])

    def rows(self) -> Iterator[Row]:
        """See ``RowStore``."""
        with self._stream(f"SELECT {_COLUMNS} FROM {self._table}") as found:
            for row in found:
                yield self._row(row)

    def nearest(self, query: Query) -> list[Row]:
        """See ``RowStore``; one query for both stages, and numpy over bits."""
        with ReadingStore(self.place):
            if query.embedding is None:
                return self._by_tokens(query, self._table, [])
            if self._settings["dtype"] == "binary":
                return self._by_bits(query)
            first = f"SELECT * FROM {self._table} ORDER BY {EMBEDDING}::vector <=> %s LIMIT %s"
            asked = vector(query.embedding, "float32")
            if query.multi_vector is not None:
                return self._by_tokens(query, f"({first}) AS first", [asked, query.selected])
            columns = f"{_COLUMNS}, 1 - ({EMBEDDING}::vector <=> %s)"
            return self._scored(first.replace("*", columns, 1), [asked, asked, query.selected])

    def get(self, keys: Sequence[str]) -> list[Row]:
        """See ``RowStore``."""
        with ReadingStore(self.place):
            rows = self._scored(f"SELECT {_COLUMNS} FROM {self._table} WHERE id = ANY(%s)", [list(keys)])
            found = {row.id: row for row in rows}
            return [found[key] for key in keys]

    def close(self) -> None:
        """See ``RowStore``."""
        self._connection.close()

    def _scored(self, query: str, arguments: Sequence[Any]) -> list[Row]:
        return [self._row(row) for row in self._connection.execute(query, arguments).fetchall()]

    def _by_tokens(self, query: Query, among: str, arguments: list[Any]) -> list[Row]:
        """Return the best by MaxSim, the sum over the query's tokens of the largest dot product, computed there."""
        assert query.multi_vector is not None
        tokens = [vector(token, "float32") for token in query.multi_vector]
        asked = f"SELECT {_COLUMNS}, {_MAXSIM} AS score FROM {among} ORDER BY score DESC LIMIT %s"
        return self._scored(asked, [tokens, *arguments, query.count])

    def _by_bits(self, query: Query) -> list[Row]:
        assert query.embedding is not None
        best = nearest_of(self._bits(), query.embedding, self._settings, query.selected)
        scores = {name: score for score, name in best}
        if query.multi_vector is not None:
            among = f"(SELECT * FROM {self._table} WHERE id = ANY(%s)) AS first"
            return self._by_tokens(query, among, [list(scores)])
        rows = f"SELECT {_COLUMNS} FROM {self._table} WHERE id = ANY(%s)"
        found = self._connection.execute(rows, [list(scores)]).fetchall()
        return sorted((self._row((*row, scores[row[0]])) for row in found), key=lambda row: -(row.score or 0))

    def _bits(self) -> Iterator[tuple[list[str], Floats]]:
        """Yield ids and their bits as -1 and 1, float32 ``(n, dimensions)``."""
        with self._stream(f"SELECT id, {EMBEDDING}::text FROM {self._table}") as found:
            while rows := found.fetchmany(BATCH):
                bits = np.frombuffer("".join(text for _, text in rows).encode(), np.uint8).reshape(len(rows), -1)
                yield [name for name, _ in rows], (bits - ord("0")).astype(np.float32) * 2 - 1

    @contextmanager
    def _stream(self, query: str) -> Iterator[Any]:
        """Yield a cursor of the server, of which only some rows are here."""
        connection = self._connection
        with ReadingStore(self.place), connection.transaction(), connection.cursor(name=f"rows_{id(query)}") as cursor:
            cursor.itersize = BATCH
            cursor.execute(query)
            yield cursor

    def _row(self, values: Sequence[Any]) -> Row:
        name, content, metadata, *score = values
        return row_of(name, content, metadata, self._types, float(score[0]) if score else None)
