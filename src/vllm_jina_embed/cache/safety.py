"""A store whose failures cost hits and never vectors: what was computed is returned, and one warning says why."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence

from ..errors import ClosedError
from .stores import Store

_log = logging.getLogger(__name__)


class ForgivingStore:
    """Asks ``store``; a read that fails finds nothing, a write that fails keeps nothing, and each warns once.

    Args:
        store: Any store, also one that others wrote.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._told: set[str] = set()

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None for what is not there or cannot be read.

        Raises:
            ClosedError: The store was closed.
        """
        try:
            values = list(self.store.get_many(keys))
        except ClosedError:
            raise
        except Exception as error:
            self._tell("read", f"{type(error).__name__}: {error}")
            return [None] * len(keys)
        if len(values) != len(keys):
            self._tell("read", f"get_many gave {len(values)} values for {len(keys)} keys; expected one per key")
            return [None] * len(keys)
        return values

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Keep the values where that is possible.

        Raises:
            ClosedError: The store was closed.
        """
        try:
            self.store.put_many(values)
        except ClosedError:
            raise
        except Exception as error:
            self._tell("written", f"{type(error).__name__}: {error}")

    def _tell(self, what: str, cause: str) -> None:
        if what not in self._told:
            self._told.add(what)
            text = f"the cache cannot be {what}, and everything is computed without it: {cause}"
            try:
                warnings.warn(text, stacklevel=2)
            except UserWarning:  # warnings are errors here; the vectors are right all the same
                _log.warning(text)
