"""Keep two runs from writing the same shards at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError, WriteError

LOCK = ".lock"


@contextmanager
def locked(folder: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Hold the lock of a corpus: a run of all shards alone, the processes of ``--shard K/N`` together.

    The system lets go of it when the process ends, however it ends. Where there are no such locks, nothing is held.

    Raises:
        ConfigError: Another run writes these shards, or ``folder`` is not a folder.
        WriteError: The folder cannot be made.
    """
    own, processes = shard
    names = [(LOCK, processes > 1)] + [(f"{LOCK}-{own}-of-{processes}", False)] * (processes > 1)
    handles: list[int] = []
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handles += [os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644) for name, _ in names]
        except (FileExistsError, NotADirectoryError):
            raise ConfigError(f"{str(folder)!r} is not a folder; give the path of a new one.") from None
        except OSError as error:
            raise WriteError(f"the corpus {str(folder)!r} cannot be written ({error.strerror}).") from error
        for handle, (_, shared) in zip(handles, names, strict=True):
            if not _lock(handle, shared=shared):
                raise ConfigError(f"another run writes to {str(folder)!r}; wait for it, or give each --shard K/N.")
        yield
    finally:
        for handle in handles:
            os.close(handle)


def _lock(handle: int, *, shared: bool) -> bool:
    """Tell whether the lock was free."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
