"""Open the SQLite file of a cache: created for its owner alone, read where it cannot be written; advice on errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from ..errors import ConfigError

MEMORY = ":memory:"
WAIT = 60.0
"""Seconds that one process waits for another's write."""
_APPLICATION = 0x766A6531  # "vje1": marks the files of this package
_READ_ONLY = ("mode=ro", "immutable=1")
"""The second needs no other file beside the cache, but does not see what another process has just written."""
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_ADVICE = {
    sqlite3.SQLITE_FULL: "Free some space on its disk, or choose another folder; what it holds can still be read.",
    sqlite3.SQLITE_IOERR: "Look at its disk: it may be full, over its quota, or failing.",
    sqlite3.SQLITE_READONLY: "This process may not write there. Change the permissions, or choose another file.",
    sqlite3.SQLITE_CANTOPEN: "Its folder must exist, and this process must be allowed to write there.",
    sqlite3.SQLITE_PERM: "Change the permissions, or choose another file.",
    sqlite3.SQLITE_BUSY: f"Another process has locked it for {WAIT:.0f} seconds; see which process writes to it.",
}
_BROKEN = "If the file is broken, delete it: every embedding in it can be computed again."


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, or 0 where the error is Python's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def advice(error: sqlite3.Error) -> str:
    """Return a sentence on what to do about an error."""
    return _ADVICE.get(code_of(error), _BROKEN)


def open_file(path: Path) -> sqlite3.Connection:
    """Return a connection to the cache at ``path``; create the file if it is missing.

    Raises:
        ConfigError: It is another program's database.
        sqlite3.Error: It can be neither written nor read.
    """
    try:
        if str(path) != MEMORY:
            _create(path)
        return _connect(path, str(path), _prepare)
    except sqlite3.OperationalError as error:
        if code_of(error) not in _UNWRITABLE or not path.is_file() or not path.stat().st_size:
            raise
        for how in _READ_ONLY:
            with contextlib.suppress(sqlite3.OperationalError):
                return _connect(path, f"file:{quote(os.fsencode(path))}?{how}", _check, uri=True)
        raise


def _create(path: Path) -> None:
    """Make the file for its owner alone; SQLite gives its log the same mode."""
    with contextlib.suppress(OSError):  # it exists, or SQLite says what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _connect(
    path: Path, name: str, ready: Callable[[sqlite3.Connection, Path], object], *, uri: bool = False
) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=WAIT, isolation_level=None, check_same_thread=False, uri=uri)
    try:
        ready(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """Return the number of tables.

    Raises:
        ConfigError: The tables are another program's.
    """
    # In this order: another process may make the file in between, and it sets both in one transaction.
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application != _APPLICATION:
        raise ConfigError(f"{str(path)!r} is another program's database; choose another file for the cache.")
    return tables


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    tables = _check(connection, path)
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
    """Execute a statement that SQLite refuses, without waiting, while another process executes it too."""
    end = time.monotonic() + WAIT
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
