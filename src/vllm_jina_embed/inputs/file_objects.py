"""Read a caller's file object from its beginning, without moving, closing or changing it.

``BytesIO`` and files on disk are read without their position, so any number of threads may pass the same object, even
while its owner reads it. Any other object that can seek is moved and put back under a lock of this package, which does
not protect against other threads of the owner. A stream that cannot seek is read from its current position.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader, BytesIO, FileIO
from threading import Lock
from typing import IO, Any

from .._forks import fork_safe_lock
from ..errors import InputError

_STRIPES = 64
_PART = 8 * 1024 * 1024


class _Stripe:
    """A lock that several objects share."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock(self)

    def get(self) -> Lock:
        return self._lock


_LOCKS = tuple(_Stripe() for _ in range(_STRIPES))


def lock_of(thing: object) -> Lock:
    """Return the lock of an object, one of a fixed number."""
    return _LOCKS[(id(thing) >> 4) % _STRIPES].get()


def read_all(source: Any, most: int) -> bytes:
    """Return the first ``most`` bytes of a binary file object, or all of them if there are fewer.

    Raises:
        InputError: ``source`` returns something other than bytes. Errors of the object itself pass through.
    """
    if isinstance(source, BytesIO):
        data = source.getvalue()
        return data if len(data) <= most else data[:most]
    descriptor = _regular_file(source)
    if descriptor is not None:
        data = _read_descriptor(descriptor, most)
        if not source.closed:  # if closed meanwhile, the descriptor may be another file's
            return data
    if not _can_seek(source):
        return _read_parts(source, most)
    with lock_of(source):
        position = source.tell()
        source.seek(0)
        try:
            return _read_parts(source, most)
        finally:
            source.seek(position)


def may_share(source: object) -> bool:
    """Tell whether reading a file object may move another one: members of one archive share the file beneath.

    Such objects are read one after the other. No other kind of object is one.
    """
    return hasattr(source, "read") and not isinstance(source, BytesIO) and _regular_file(source) is None


def _can_seek(source: Any) -> bool:
    """Tell whether a file object can be moved; mmap does not say so before Python 3.13."""
    if hasattr(source, "seekable"):
        return bool(source.seekable())
    return hasattr(source, "seek") and hasattr(source, "tell")


def own_file(source: Any) -> IO[bytes]:
    """Return a new file object with the same content as ``source``; a file on disk is opened again, not copied.

    Raises:
        InputError: ``source`` returns something other than bytes. Errors of the object itself pass through.
    """
    descriptor = _regular_file(source)
    if descriptor is not None and isinstance(getattr(source, "name", None), str | bytes):
        try:
            file = open(source.name, "rb")  # noqa: PTH123, SIM115 - the caller of this function closes it
        except OSError:  # moved or deleted meanwhile: read through the open descriptor
            return BytesIO(read_all(source, _size(descriptor)))
        try:
            same = os.path.samestat(os.fstat(file.fileno()), os.fstat(descriptor)) and not source.closed
        except OSError:  # closed meanwhile
            same = False
        if same:
            return file
        file.close()
    return BytesIO(read_all(source, 2**62))


def _regular_file(source: Any) -> int | None:
    """Return the descriptor of a file on disk; None for any other object."""
    raw = source.raw if type(source) is BufferedReader else source
    if type(raw) is not FileIO or raw.closed:
        return None
    descriptor = raw.fileno()
    return descriptor if hasattr(os, "pread") and stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


def _read_descriptor(descriptor: int, most: int) -> bytes:
    most = min(most, max(_size(descriptor), _PART))  # files in /proc, for example, report no size
    parts: list[bytes] = []
    position = 0
    while position < most and (part := os.pread(descriptor, min(most - position, _PART), position)):
        parts.append(part)
        position += len(part)
    return b"".join(parts)


def _read_parts(source: Any, most: int) -> bytes:
    """Return up to ``most`` bytes, read in parts of any length: a pipe returns what it has."""
    parts: list[bytes] = []
    rest = most
    while rest > 0:
        part = source.read(min(rest, _PART))  # io.BufferedReader makes room for as many as it is asked for
        if part is None:
            raise BlockingIOError("it is non-blocking and has no data yet")
        if not isinstance(part, bytes):
            raise InputError(
                f"the file object gave {type(part).__name__}; expected bytes. Open it in binary mode ('rb')."
            )
        if not part:
            break
        parts.append(part)
        rest -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
