"""Stores of cached embeddings: an SQLite file, or any object that gets and puts bytes by key."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from .._forks import awaited_lock
from ..errors import ClosedError, ConfigError
from . import files

_AT_ONCE = 500  # keys per statement; SQLite's oldest limit is 999


@runtime_checkable
class Store(Protocol):
    """Bytes by key; safe to call from any thread."""

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None for a missing key, order kept."""
        ...

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Store the values; existing ones are replaced."""
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
    """One file that threads and processes share (write-ahead log: readers never wait).

    A read-only file is read. Only its owner can read a new file (mode 0600).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open or create the file.

        Args:
            path: Of the file; ``:memory:`` keeps everything in this process, and a forked process begins empty.

        Raises:
            ConfigError: The folder does not exist, or the file is not a cache of this class.
        """
        self._take(_path(path))
        with self._use():
            pass

    def _take(self, path: Path) -> None:
        self.path = path
        self._lock = awaited_lock(self)
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._closed = False

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None for a missing key, order kept."""
        values: dict[str, bytes] = {}
        with self._use() as connection:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                values.update(connection.execute(f"SELECT key, value FROM embeddings WHERE key IN ({marks})", part))
        return [values.get(key) for key in keys]

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Store the values in one transaction; existing ones are replaced.

        Raises:
            ConfigError: The file cannot be written; none of the values is stored.
        """
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", list(values.items()))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has ended it already
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; further calls do nothing."""
        with self._lock:
            self._closed = True
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            else:
                _leave_to_parent(self._connection)
            self._connection = None

    def __del__(self) -> None:
        """Close the file; nothing in it can be lost."""
        if hasattr(self, "_closed"):
            self.close()

    def __len__(self) -> int:
        """Return how many embeddings the file holds."""
        with self._use() as connection:
            return int(connection.execute("SELECT count(*) FROM embeddings").fetchone()[0])

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self._take(path)  # opened by the first use: an error here would hang a multiprocessing.Pool

    @contextlib.contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread at a time; a forked process opens its own."""
        with self._lock:
            if self._closed:
                raise ClosedError(f"the cache {str(self.path)!r} is closed.")
            try:
                if self._connection is None or self._pid != os.getpid():
                    _leave_to_parent(self._connection)
                    self._connection, self._pid = None, os.getpid()
                    self._connection = files.open_file(self.path)
                yield self._connection
            except sqlite3.Error as error:
                raise ConfigError(
                    f"the cache {str(self.path)!r} cannot be used ({error}). {files.advice(error)}"
                ) from error


def _path(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path, or ``:memory:``.

    Raises:
        ConfigError: No file can have this path.
    """
    if os.fspath(path) == files.MEMORY:
        return Path(path)
    try:
        if "\0" in os.fspath(path):
            raise ValueError("it holds a NUL character")
        return Path(path).expanduser().absolute()
    except (ValueError, RuntimeError) as error:  # no such user
        raise ConfigError(f"the cache's path {os.fspath(path)!r} cannot be used: {error}.") from None


def _leave_to_parent(connection: sqlite3.Connection | None) -> None:
    """Never close the parent's connection here: SQLite must not touch it after a fork."""
    if connection is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
