"""Write the rows of a corpus into a table of PostgreSQL with pgvector, as LangChain and LlamaIndex keep documents.

The columns are ``id``, ``shard``, ``content`` and ``metadata``, which LangChain's ``PGVectorStore`` reads, and the
vectors. A view ``data_TABLE`` has the same rows under the names that LlamaIndex's store has for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np

from .._extras import require
from ..errors import ConfigError
from ..pooling.quantization import quantized
from .batched import BatchedTable
from .documents import document_of
from .parquet_parts import EMBEDDING, MULTI_VECTOR, Shape
from .store_errors import WritingStore
from .work import Result

BATCH = 256
"""Rows that are written together at most."""
TYPES = {"float32": "vector", "float16": "halfvec", "binary": "bit"}
"""Types of pgvector, and of PostgreSQL, for each dtype."""
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,57}")
_LOCK = 0x76656374
"""An advisory lock, under which processes that start together make what they share."""
_FORM = "postgresql://USER@HOST:PORT/DATABASE/TABLE"


def table_of(name: str) -> tuple[str, str]:
    """Return the URL of a database and the name of the table, which is behind the database's.

    Raises:
        ConfigError: It is of another form, or holds a password.
    """
    parts = urlsplit(name)
    if parts.password:
        raise ConfigError("out=... names a password, and a place is written down. Put it in PGPASSWORD or ~/.pgpass.")
    path = [unquote(part) for part in parts.path.split("/")[1:]]
    if len(path) != 2 or not _TABLE.fullmatch(path[1]):
        raise ConfigError(f"out={name!r}: expected {_FORM}; a table's name has letters, digits and _, 58 at most.")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rpartition("/")[0], parts.query, "")), path[1]


class PostgresTable(BatchedTable):
    """A row for each row of the corpus; see ``Destination``."""

    def __init__(self, url: str, name: str, shape: Shape) -> None:
        """Connect; the table is made with the first shard.

        Args:
            url: Of the database; a password is taken from ``PGPASSWORD`` or ``~/.pgpass``.
            name: Of the table.
            shape: What the rows hold.

        Raises:
            ConfigError: pgvector has no numbers of this type.
            MissingExtraError: psycopg or pgvector is not installed.
            WriteError: The server does not answer, or has no pgvector.
        """
        if shape.dtype not in TYPES:
            raise ConfigError(f"dtype={shape.dtype!r}: pgvector has no such numbers. Choose one of {', '.join(TYPES)}.")
        self.place = place_of_table(url, name)
        super().__init__(shape, most=BATCH)
        self._name = name
        with WritingStore(self.place):
            self._connection = connect(url)
            with self._connection.transaction():
                self._connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
                self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            register(self._connection)
        try:
            self._check_types()
        except ConfigError:
            self._connection.close()
            raise

    def check(self, *, is_known: bool) -> None:
        """Check that a table is this corpus's own.

        Raises:
            ConfigError: There is one, or a view of LlamaIndex's name, and the journal knows of none; or it has other
                columns.
        """
        if not is_known:
            for name in (self._name, f"data_{self._name}"):
                if self._one("SELECT to_regclass(%s)", f'"{name}"') is not None:
                    raise ConfigError(f"{self.place!r}: {name!r} exists, and another program made it. Choose another.")
        elif self._exists():
            query = "SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = to_regclass(%s)"
            theirs = self._one(f"{query} AND attnum > 0 AND NOT attisdropped", f'"{self._name}"')
            own = [name for name, _ in self._columns()]
            if theirs != own:
                raise ConfigError(f"{self.place!r} has the columns {theirs}; expected {own}. Choose another name.")

    def clear(self) -> None:
        """Remove the table."""
        with WritingStore(self.place), self._connection.transaction():
            self._connection.execute(f'DROP VIEW IF EXISTS "data_{self._name}"')
            self._connection.execute(f'DROP TABLE IF EXISTS "{self._name}"')

    def begin(self, number: int) -> None:
        """See ``Destination``; rows of an earlier try go."""
        if not self._exists():
            self._create()
        super().begin(number)

    def is_there(self, number: int, record: Mapping[str, Any]) -> bool:
        """See ``Destination``."""
        if not self._exists():
            return not record.get("rows")
        return bool(self._one(f'SELECT count(*) FROM "{self._name}" WHERE shard = %s', number) == record.get("rows"))

    def remove(self, number: int) -> None:
        """See ``Destination``."""
        with WritingStore(self.place):
            self._connection.execute(f'DELETE FROM "{self._name}" WHERE shard = %s', [number])

    def _release(self) -> None:
        self._connection.close()

    def _check_types(self) -> None:
        used = {self._shape.dtype} if self._shape.dimensions is not None else set()
        used |= {self._shape.token_dtype} if self._shape.token_dimensions is not None else set()
        version = self._one("SELECT extversion FROM pg_extension WHERE extname = %s", "vector")
        if "float16" in used and self._one("SELECT to_regtype(%s)", "halfvec") is None:
            raise ConfigError(f"float16 needs pgvector 0.7 (here {version}). Pass dtype='float32'.")

    def _one(self, query: str, argument: Any) -> Any:
        with WritingStore(self.place):
            return self._connection.execute(query, [argument]).fetchone()[0]

    def _exists(self) -> bool:
        return self._one("SELECT to_regclass(%s)", f'"{self._name}"') is not None

    def _columns(self) -> list[tuple[str, str]]:
        """Return the names and types of the columns."""
        shape = self._shape
        columns = [("id", "text"), ("shard", "integer"), ("content", "text"), ("metadata", "jsonb")]
        if shape.dimensions is not None:
            columns.append((EMBEDDING, f"{TYPES[shape.dtype]}({shape.dimensions})"))
        if shape.token_dimensions is not None:
            columns.append((MULTI_VECTOR, f"{TYPES[shape.token_dtype]}({shape.token_dimensions})[]"))
        return columns

    def _create(self) -> None:
        columns = ", ".join(f"{name} {kind} NOT NULL" for name, kind in self._columns())
        with WritingStore(self.place), self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            if self._exists():  # another process with --shard K/N made it
                return
            self._connection.execute(f'CREATE TABLE "{self._name}" ({columns}, PRIMARY KEY (id))')
            self._connection.execute(f'CREATE INDEX ON "{self._name}" (shard)')
            if self._shape.dimensions is not None:
                self._connection.execute(
                    f'CREATE VIEW "data_{self._name}" AS SELECT hashtextextended(id, 0) AS id, content AS text, '
                    f'metadata AS metadata_, id AS node_id, {EMBEDDING} FROM "{self._name}"'
                )

    def _write(self, rows: Sequence[Result]) -> None:
        columns = self._columns()
        names = ", ".join(name for name, _ in columns)
        kinds = [re.sub(r"\(\d+\)", "", kind) for _, kind in columns]
        ids = [without_nul(row.entry.id) for row in rows]
        copied = f'COPY "{self._name}" ({names}) FROM STDIN (FORMAT BINARY)'
        with WritingStore(self.place), self._connection.transaction():
            # An item that moved here from a later shard is there until that shard is written again.
            self._connection.execute(f'DELETE FROM "{self._name}" WHERE id = ANY(%s)', [ids])
            with self._connection.cursor().copy(copied) as copy:
                copy.set_types(kinds)
                for row in rows:
                    copy.write_row(self._values(row))

    def _values(self, row: Result) -> list[Any]:
        from psycopg.types.json import Jsonb

        content, metadata = without_nul(document_of(row, self._shape))
        values = [without_nul(row.entry.id), self._number, content, Jsonb(metadata, dumps=_json)]
        if self._shape.dimensions is not None:
            values.append(vector(np.asarray(row.embedding, dtype=np.float32), self._shape.dtype))
        if self._shape.token_dimensions is not None:
            tokens = np.asarray(row.multi_vector, dtype=np.float32)
            values.append([vector(token, self._shape.token_dtype) for token in tokens])
        return values


def connect(url: str) -> Any:
    """Return a connection that commits each statement.

    Raises:
        MissingExtraError: psycopg or pgvector is not installed.
    """
    require("postgres", "psycopg")
    require("postgres", "pgvector")
    import psycopg

    return psycopg.connect(url, autocommit=True, application_name="vllm-jina-embed")


def register(connection: Any) -> None:
    """Let a connection send and receive the types of pgvector."""
    from pgvector.psycopg import register_vector

    register_vector(connection)


def place_of_table(url: str, name: str) -> str:
    """Return the name of a table in messages: its server and database, without what else the URL says."""
    parts = urlsplit(url)
    return f"postgresql://{parts.hostname or ''}{parts.path}/{name}"


def vector(numbers: Any, dtype: str) -> Any:
    """Return float32 ``(dimensions,)`` as what psycopg sends for a type of ``TYPES``."""
    from pgvector.psycopg import Bit, HalfVector, Vector

    if dtype == "binary":
        return Bit(np.unpackbits(quantized(numbers[None], "ubinary")[0]).astype(bool))
    return HalfVector(numbers) if dtype == "float16" else Vector(numbers)


def without_nul(value: Any) -> Any:
    """Return a value of JSON with U+FFFD for each NUL, which PostgreSQL takes in no text."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, Mapping):
        return {without_nul(name): without_nul(inner) for name, inner in value.items()}
    return [without_nul(inner) for inner in value] if isinstance(value, list | tuple) else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
