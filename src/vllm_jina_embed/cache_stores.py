"""Where cached embeddings lie: a file of SQLite, or anything that gets and puts bytes by name.

Enters: keys and bytes. Leaves: bytes. This file refuses to know what they mean.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from .errors import ClosedError, ConfigError

_WAIT = 60.0  # seconds that one process waits for another's write
_AT_ONCE = 500  # keys per statement; SQLite's oldest limit is 999
_APPLICATION = 0x766A6531  # "vje1": tells our files from other people's


@runtime_checkable
class Store(Protocol):
    """Bytes by name; safe to call from any thread."""

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None for what is not there, order kept."""
        ...

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Keep the values; existing ones are replaced."""
        ...


def open_store(store: Store | str | os.PathLike[str]) -> Store:
    """Return ``store`` itself, or the SQLite file of that path."""
    if isinstance(store, str | os.PathLike):
        return SQLiteStore(store)
    if isinstance(store, Store):
        return store
    raise ConfigError(
        f"got a {type(store).__name__} as store; expected a path for an SQLite file, or an object with "
        "get_many(keys) and put_many(values)."
    )


class SQLiteStore:
    """One file that threads and processes share (write-ahead log: readers never wait)."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open or create the file.

        Raises:
            ConfigError: The folder does not exist, or the file is not one of this class.
        """
        self.path = Path(path).expanduser().absolute()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._closed = False
        with self._use():
            pass

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None for what is not there, order kept."""
        found: dict[str, bytes] = {}
        with self._use() as connection:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                found.update(connection.execute(f"SELECT key, value FROM embeddings WHERE key IN ({marks})", part))
        return [found.get(key) for key in keys]

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Keep the values in one transaction; existing ones are replaced."""
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", list(values.items()))
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        with self._lock:
            self._closed = True
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        """Close the file; nothing in it can be lost."""
        if hasattr(self, "_lock"):
            self.close()

    def __len__(self) -> int:
        """Return how many embeddings the file holds."""
        with self._use() as connection:
            return int(connection.execute("SELECT count(*) FROM embeddings").fetchone()[0])

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        type(self).__init__(self, path)

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread at a time; a forked process opens its own."""
        with self._lock:
            if self._closed:
                raise ClosedError(f"the cache {str(self.path)!r} is closed.")
            try:
                if self._connection is None or self._pid != os.getpid():
                    self._connection, self._pid = self._open(), os.getpid()
                yield self._connection
            except sqlite3.DatabaseError as error:
                raise ConfigError(
                    f"the cache {str(self.path)!r} cannot be used ({error}). If the file is broken, delete it: every "
                    "embedding in it can be computed again."
                ) from error

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # In this order: another process may make the file in between, and it sets both in one transaction.
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if tables and application != _APPLICATION:
            raise ConfigError(f"{str(self.path)!r} is a database of something else; choose another file for the cache.")
        _patiently(connection, "PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        if not tables:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS embeddings (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
            )
            connection.execute("COMMIT")


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Execute what SQLite refuses at once, without its own waiting, while another process does the same."""
    end = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
