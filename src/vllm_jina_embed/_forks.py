"""Locks that work in a forked child, even if another thread of the parent held them during the fork.

A child of ``os.fork`` has one thread and a copy of every lock; a lock that another thread held would stay locked there
for ever.
"""

from __future__ import annotations

import os
import threading
import time
from weakref import WeakKeyDictionary, WeakSet

_OWNERS: WeakKeyDictionary[object, set[str]] = WeakKeyDictionary()
_AWAITED: WeakSet[object] = WeakSet()
_held: dict[int, list[threading.Lock]] = {}
PATIENCE = 5.0
"""Seconds that a fork waits at most for all awaited locks together."""


def fork_safe_lock(owner: object, name: str = "_lock") -> threading.Lock:
    """Return a lock for the attribute ``name`` of ``owner``; each forked child puts a new one there.

    It is a plain ``threading.Lock``: a thread that forks inside ``with`` releases the old lock in the child. The work
    under the lock may be half done in the child, so the owner compares process ids where that matters.

    Args:
        owner: Object with the lock; it can be hashed and weakly referenced.
        name: Attribute of the lock.
    """
    _OWNERS.setdefault(owner, set()).add(name)
    return threading.Lock()


def awaited_lock(owner: object) -> threading.Lock:
    """Return a ``fork_safe_lock`` for ``_lock`` that a fork waits for, ``PATIENCE`` seconds at most.

    For short calls of a library in C, whose own locks cannot be replaced in the child.
    """
    _AWAITED.add(owner)
    return fork_safe_lock(owner)


def _before() -> None:
    end = time.monotonic() + PATIENCE
    held = _held[threading.get_ident()] = []
    for owner in sorted(_AWAITED, key=id):
        lock: threading.Lock = owner._lock  # type: ignore[attr-defined]
        if lock.acquire(timeout=max(0.0, end - time.monotonic())):
            held.append(lock)


def _in_parent() -> None:
    for lock in _held.pop(threading.get_ident(), []):
        lock.release()


def _in_child() -> None:
    _held.clear()
    for owner, names in list(_OWNERS.items()):
        for name in names:
            setattr(owner, name, threading.Lock())


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
