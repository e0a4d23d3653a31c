"""What the tables of all stores do alike: collect a shard, write it in batches, and remove one that ended early."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..errors import WriteError
from .parquet_parts import Shape
from .work import Result


class BatchedTable:
    """Half of a ``Destination``: the shard that is being written. A subclass writes and removes the rows."""

    def __init__(self, shape: Shape, *, most: int) -> None:
        """Begin with no shard.

        Args:
            shape: What the rows hold.
            most: Rows that are written together.
        """
        self._shape, self._most = shape, most
        self._number = -1
        self._rows: list[Result] = []

    def begin(self, number: int) -> None:
        """See ``Destination``; rows of an earlier try go."""
        self._number, self._rows = number, []
        self.remove(number)

    def add(self, results: Sequence[Result]) -> None:
        """See ``Destination``."""
        self._rows += results
        while len(self._rows) >= self._most:
            self._write(self._rows[: self._most])
            self._rows = self._rows[self._most :]

    def finish(self) -> dict[str, Any]:
        """See ``Destination``."""
        if self._rows:
            self._write(self._rows)
        self._number, self._rows = -1, []
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

    def _write(self, rows: Sequence[Result]) -> None:
        """Write rows of the shard ``self._number``."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of the store, where a subclass holds something of it."""
