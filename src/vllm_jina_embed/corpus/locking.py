"""Keep two runs from writing the same shards at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ..errors import ConfigError, WriteError

LOCK = ".lock"


@contextmanager
def locked(folder: Path, shard: tuple[int, int], *, alone: bool = False) -> Iterator[Callable[[], object]]:
    """Hold the lock of a corpus: a run of all shards alone, the processes of ``--shard K/N`` together.

    The system lets go of it when the process ends, however it ends. Where there are no such locks, nothing is held.

    Args:
        folder: Of the corpus's journal.
        shard: Which of how many processes this is.
        alone: Whether no other process of ``--shard K/N`` may run, because this one deletes what they write; until
            what this gives is called.

    Raises:
        ConfigError: Another run writes these shards, or ``folder`` is not a folder.
        WriteError: The folder cannot be made.
    """
    own, processes = shard
    names = [(LOCK, processes > 1 and not alone)] + [(f"{LOCK}-{own}-of-{processes}", False)] * (processes > 1)
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
                raise ConfigError(_told(folder, processes, alone=alone))
        yield partial(_lock, handles[0], shared=processes > 1)
    finally:
        for handle in handles:
            os.close(handle)


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """Let one process at a time look at what is there and say what the corpus is made with; the others wait."""
    handle = os.open(folder / f"{LOCK}-start", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(handle, shared=False, waits=True)
        yield
    finally:
        os.close(handle)


def _told(folder: Path, processes: int, *, alone: bool) -> str:
    if processes > 1 and alone:
        return (
            f"another process writes to {str(folder)!r}, and --overwrite deletes what it writes. Start one process "
            "with --overwrite, and the others without it once that one embeds."
        )
    return f"another run writes to {str(folder)!r}; wait for it, or give each --shard K/N."


def _lock(handle: int, *, shared: bool, waits: bool = False) -> bool:
    """Tell whether the lock was free."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
