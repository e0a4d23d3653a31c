"""Ends the processes that a server leaves behind: all of its process group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time


def end_group(process: subprocess.Popen[str]) -> None:
    """Kill the remaining processes of the server, its engines and workers; then wait until none runs.

    The resource trackers of Python's multiprocessing are left alone: they end with the others, after they have freed
    shared memory.
    """
    end = time.monotonic() + 2
    while True:
        pids = [pid for pid in group(process.pid) if not is_tracker(pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not pids or time.monotonic() > end:
            return
        time.sleep(0.02)


def group(number: int) -> list[int]:
    """Return the ids of the running processes in a process group; only its leader's where there is no ``/proc``."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208
    except FileNotFoundError:
        return [number] if _in_group(number, number) else []
    return [int(name) for name in names if name.isdigit() and _in_group(int(name), number)]


def _in_group(pid: int, number: int) -> bool:
    try:
        return os.getpgid(pid) == number and _state(pid) != "Z"
    except (ProcessLookupError, PermissionError):
        return False


def _state(pid: int) -> str:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return fields[0] if fields else "Z"


def is_tracker(pid: int) -> bool:
    """Return whether a process is one of Python's resource trackers."""
    return "multiprocessing.resource_tracker" in _read(pid, "cmdline")


def _read(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""
