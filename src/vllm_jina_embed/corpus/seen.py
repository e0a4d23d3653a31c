"""Remember the ids of a corpus of any length, in a file that is nobody else's."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

from .._closing import Closing
from ..errors import WriteError


class Seen(Closing):
    """A set of ids that takes no more memory the more they are."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False)  # a file without a name, gone when it is closed
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, names: Sequence[str]) -> list[bool]:
        """Add ids, and tell of each whether it was new.

        Many at a time: each statement lets go of Python's lock, and waits for it while an engine's thread works.

        Raises:
            WriteError: The disk of temporary files is full, for example.
        """
        ids = [hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest() for name in names]
        try:
            marks = ",".join("?" * len(ids))
            known = {id_ for (id_,) in self._database.execute(f"SELECT id FROM seen WHERE id IN ({marks})", ids)}
            marks = ",".join(["(?)"] * len(ids))
            self._database.execute(f"INSERT OR IGNORE INTO seen VALUES {marks}", ids)
        except sqlite3.OperationalError as error:
            raise WriteError(
                f"the ids of the corpus cannot be written to a temporary file ({error}). Make room, or name another "
                "folder in SQLITE_TMPDIR, and run the same command again: every finished shard is kept."
            ) from error
        new = []
        for id_ in ids:
            new.append(id_ not in known)
            known.add(id_)
        return new

    def close(self) -> None:
        """Delete the file."""
        self._database.close()
