"""What the tables of all stores do alike: collect a shard, write it in batches, and remove one that ended early."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..errors import WriteError
from .parquet_parts import Shape
from .work import Result

BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of rows that are written together; Qdrant's server takes 32 MB, and Chroma's 40 MB."""
JSON_BYTES = 24
"""Bytes of a number in JSON."""


class BatchedTable:
    """Half of a ``Destination``: the shard that is being written. A subclass writes and removes the rows."""

    def __init__(self, shape: Shape, *, most: int, most_bytes: int = BATCH_BYTES, number_bytes: int = 4) -> None:
        """Begin with no shard.

        Args:
            shape: What the rows hold.
            most: Rows that are written together at most.
            most_bytes: About how many bytes are written together at most; a row alone may have more.
            number_bytes: Bytes of a number of a vector, as it is written.
        """
        self._shape, self._most, self._most_bytes, self._number_bytes = shape, most, most_bytes, number_bytes
        self._number = -1
        self._rows: list[Result] = []
        self._bytes = 0

    def begin(self, number: int) -> None:
        """See ``Destination``; rows of an earlier try go."""
        self._number, self._rows, self._bytes = number, [], 0
        self.remove(number)

    def add(self, results: Sequence[Result]) -> None:
        """See ``Destination``."""
        for row in results:
            size = self.written_bytes(row)
            if self._rows and (len(self._rows) == self._most or self._bytes + size > self._most_bytes):
                self._write_rows()
            self._rows.append(row)
            self._bytes += size

    def finish(self) -> dict[str, Any]:
        """See ``Destination``."""
        if self._rows:
            self._write_rows()
        self._number = -1
        return {}

    def remove(self, number: int) -> None:
        """See ``Destination``."""
        raise NotImplementedError

    def close(self) -> None:
        """See ``Destination``."""
        try:
            if self._number >= 0:
                with suppress(WriteError):  # the next run removes them
                    self.remove(self._number)
        finally:
            self._release()

    def written_bytes(self, row: Result) -> int:
        """Return about how many bytes a row is as it is written; its image is in base64, and so is counted the rest."""
        content = 0 if row.content is None else row.content.held_bytes
        return self._number_bytes * row.numbers + content * 4 // 3

    def _write_rows(self) -> None:
        rows, self._rows, self._bytes = self._rows, [], 0
        self._write(rows)

    def _write(self, rows: Sequence[Result]) -> None:
        """Write rows of the shard ``self._number``."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of the store, where a subclass holds something of it."""
