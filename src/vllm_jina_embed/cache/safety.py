"""A store whose failures only cost hits: the vectors are computed, and one warning gives the cause."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence

from ..errors import ClosedError
from .stores import Store

_log = logging.getLogger(__name__)


class ForgivingStore:
    """Reads and writes ``store``; a failed read finds nothing, a failed write keeps nothing, and each warns once.

    Args:
        store: Any store, also another package's.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._warned: set[str] = set()

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None for a missing or unreadable one.

        Raises:
            ClosedError: The store was closed.
        """
        try:
            values = list(self.store.get_many(keys))
        except ClosedError:
            raise
        except Exception as error:
            self._warn("read", f"{type(error).__name__}: {error}")
            return [None] * len(keys)
        if len(values) != len(keys):
            self._warn("read", f"get_many gave {len(values)} values for {len(keys)} keys; expected one per key")
            return [None] * len(keys)
        return values

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Store the values if possible.

        Raises:
            ClosedError: The store was closed.
        """
        try:
            self.store.put_many(values)
        except ClosedError:
            raise
        except Exception as error:
            self._warn("written", f"{type(error).__name__}: {error}")

    def _warn(self, action: str, cause: str) -> None:
        if action not in self._warned:
            self._warned.add(action)
            text = f"the cache cannot be {action}, and everything is computed without it: {cause}"
            try:
                warnings.warn(text, stacklevel=2)
            except UserWarning:  # warnings are errors here; the vectors are right all the same
                _log.warning(text)
