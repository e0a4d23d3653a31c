"""Locks that a forked child can take, whatever another thread of the parent held at that moment.

A child of ``os.fork`` has one thread and a copy of every lock. One that another thread held stays held for ever there.
"""

from __future__ import annotations

import os
import threading
from weakref import WeakKeyDictionary

_OWNERS: WeakKeyDictionary[object, set[str]] = WeakKeyDictionary()


def fork_safe_lock(owner: object, name: str = "_lock") -> threading.Lock:
    """Return a lock for the attribute ``name`` of ``owner``; each forked child puts a new one there.

    It is a plain ``threading.Lock``: a thread that forks inside ``with`` releases, in the child, the old one. What the
    lock guards may be half done in the child, so its owner compares process ids where that matters.

    Args:
        owner: What the lock guards; it can be hashed and weakly referenced.
        name: Its attribute that holds the lock.
    """
    _OWNERS.setdefault(owner, set()).add(name)
    return threading.Lock()


def _renew() -> None:
    for owner, names in list(_OWNERS.items()):
        for name in names:
            setattr(owner, name, threading.Lock())


os.register_at_fork(after_in_child=_renew)
