"""Bound the bytes that a process holds at once; threads beyond the bound wait, in the order of arrival."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Budget:
    """A number of bytes that threads share; a forked child starts anew.

    Args:
        limit: Most bytes held at once. A single cost over it is held alone.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.held = 0
        self._waiting: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def hold(self, cost: int) -> Iterator[None]:
        """Hold ``cost`` bytes inside the ``with`` block; wait before it until they are free."""
        changed, ticket = self._changed, object()
        with changed:
            self._waiting.append(ticket)
            try:
                changed.wait_for(
                    lambda: self._waiting[0] is ticket and (self.held == 0 or self.held + cost <= self.limit)
                )
                self.held += cost
            finally:
                self._waiting.remove(ticket)
                changed.notify_all()
        try:
            yield
        finally:
            with changed:
                if self._changed is changed:  # not in a child that was forked meanwhile
                    self.held -= cost
                changed.notify_all()
