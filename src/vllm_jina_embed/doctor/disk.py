"""Checks of the places that files are written to: the hub's cache, temporary files, shared memory."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .finding import Finding, Surroundings

GB = 10**9
MODEL_BYTES = int(7.6 * GB)
"""The files of jina-embeddings-v4."""
LEAST_BYTES = {"cache": GB, "temp": GB // 2}
"""What must be free: in the cache for a small model, among temporary files for what torch compiles."""
SHARED_BYTES = GB // 4
"""What vLLM's processes exchange in /dev/shm; Docker gives 64 MB."""
PROBE_BYTES = 1024**2
"""Bytes that are written to see whether one can: a quota or a limit does not show in the free space."""

Usage = Callable[[Path], Any]


def check_cache(around: Surroundings, folder: Path, *, usage: Usage = shutil.disk_usage) -> Finding:
    """Check that the hub's cache can be written, and has room for a model.

    Args:
        around: What to look at.
        folder: The cache; it need not exist.
        usage: Returns the sizes of a disk.
    """
    free = usage(existing(folder)).free
    details = {"folder": str(folder), "free": free}
    if found := _unwritable("cache", folder, free, details):
        summary, command = found
        mend = "Free some space, or let HF_HOME name a folder on another disk."
        return Finding(check="cache", status="problem", summary=summary, mend=mend, command=command, details=details)
    summary = f"{folder} has {_gb(free)} free."
    if free < MODEL_BYTES:
        summary = f"{summary} jina-embeddings-v4 takes {_gb(MODEL_BYTES)}."
        mend = "Free some space, or let HF_HOME name a folder on another disk."
        return Finding(check="cache", status="note", summary=summary, mend=mend, details=details)
    return Finding(check="cache", status="ok", summary=summary, details=details)


def check_temp(around: Surroundings, *, usage: Usage = shutil.disk_usage, shared: Path = Path("/dev/shm")) -> Finding:
    """Check that temporary files can be written, and that shared memory has room for vLLM's processes."""
    folder = Path(tempfile.gettempdir())
    free = usage(folder).free
    details = {"folder": str(folder), "free": free}
    if found := _unwritable("temp", folder, free, details):
        summary, command = found
        mend = "Free some space, or let TMPDIR name a folder on another disk."
        return Finding(check="temp", status="problem", summary=summary, mend=mend, command=command, details=details)
    if shared.is_dir():
        details["shared"] = left = usage(shared).free
        if left < SHARED_BYTES:
            summary = f"{shared} has {_gb(left)} free; vLLM's processes exchange more than that."
            mend = "In a container: docker run --shm-size=1g, or --ipc=host. Elsewhere: free some space there."
            command = f"df -h {shared}"
            return Finding(check="temp", status="problem", summary=summary, mend=mend, command=command, details=details)
    return Finding(check="temp", status="ok", summary=f"{folder} has {_gb(free)} free.", details=details)


def _unwritable(kind: str, folder: Path, free: int, details: dict[str, Any]) -> tuple[str, str] | None:
    """Return why a folder cannot be written, with a line of command; None if it can."""
    place = existing(folder)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * PROBE_BYTES)
            file.flush()
    except OSError as error:
        details["error"] = errno.errorcode.get(error.errno or 0, str(error.errno))
        if error.errno == errno.EFBIG:
            return f"no file in {place} may be larger: {error.strerror} (ulimit -f).", "ulimit -f unlimited"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{place} is full: {error.strerror}, {_gb(free)} free.", f"df -h {place}"
        return f"{place} cannot be written: {error.strerror}.", f"ls -ld {place}"
    if free < LEAST_BYTES[kind]:
        return f"{folder} has {_gb(free)} free, less than {_gb(LEAST_BYTES[kind])}.", f"df -h {place}"
    return None


def existing(folder: Path) -> Path:
    """Return ``folder``, or the nearest folder above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir() and os.access(path, os.X_OK))


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB"
