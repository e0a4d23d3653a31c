"""Multi-vectors that were computed for a second look, as many as fit."""

from __future__ import annotations

from collections import OrderedDict

from .._arrays import Floats

MOST_BYTES = 256 * 1024 * 1024


class TokenStore:
    """Keeps the multi-vectors that were used last."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._held = most_bytes, 0
        self._rows: OrderedDict[str, Floats] = OrderedDict()

    def get(self, key: str) -> Floats | None:
        """Return what is kept under a key."""
        if key not in self._rows:
            return None
        self._rows.move_to_end(key)
        return self._rows[key]

    def put(self, key: str, rows: Floats) -> None:
        """Keep a multi-vector; those that were not used for the longest time go."""
        self.remove(key)
        self._rows[key] = rows
        self._held += rows.nbytes
        while self._held > self._most:
            _, gone = self._rows.popitem(last=False)
            self._held -= gone.nbytes

    def remove(self, key: str) -> None:
        """Let go of a key, if it is there."""
        if (rows := self._rows.pop(key, None)) is not None:
            self._held -= rows.nbytes
