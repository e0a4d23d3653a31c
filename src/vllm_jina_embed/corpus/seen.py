"""Remember the ids of a corpus of any length, in a file that is nobody else's."""

from __future__ import annotations

import hashlib
import sqlite3

from .._closing import Closing


class Seen(Closing):
    """A set of ids that takes no more memory the more they are."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False)  # a file without a name, gone when it is closed
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, name: str) -> bool:
        """Add an id, and tell whether it was new."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def close(self) -> None:
        """Delete the file."""
        self._database.close()
