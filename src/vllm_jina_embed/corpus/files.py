"""Write files so that a crash leaves the old one or the new one, never a part of one."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..frameworks.shown_text import visible

JSON_BYTES = 16 * 1024 * 1024
"""Largest file of JSON that is read whole: a manifest, or what is known of a shard."""


def temporary(path: Path) -> Path:
    """Return the name of the file that becomes ``path``; of this process alone."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file to write; at the end it is on the disk and takes the place of ``path``.

    After an error it is removed.
    """
    new = temporary(path)
    try:
        yield new
        commit(new, path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def commit(new: Path, path: Path) -> None:
    """Put a written file on the disk, and in the place of ``path``."""
    handle = os.open(new, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON."""
    with replacing(path) as new:
        new.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file, which may come from anybody.

    Raises:
        ConfigError: It is not JSON, not an object, over ``JSON_BYTES``, or not a regular file.
        OSError: It cannot be read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # a pipe is not waited for
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ConfigError(f"{str(path)!r} is not a regular file.")
        data = file.read(JSON_BYTES + 1)
    if len(data) > JSON_BYTES:
        raise ConfigError(f"{str(path)!r} is longer than {JSON_BYTES} bytes.")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else visible(str(error))[:200]
        raise ConfigError(f"{str(path)!r} is not JSON in UTF-8 ({what}).") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{str(path)!r} holds a {type(value).__name__}; expected an object.")
    return value
