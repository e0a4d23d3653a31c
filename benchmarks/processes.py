"""A benchmark's process, seen from the run: orders, answers, and the memory of its whole tree.

Between its orders a process is stopped (SIGSTOP), all its processes: vLLM's poll while they wait, and threads of
torch spin. Memory is watched in orders that are not timed, because looking at it takes a core of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil


class Worker:
    """A process that answers orders line by line, with what it starts, in a process group of its own."""

    def __init__(self, command: list[str], errors: IO[bytes] | None = None) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, process_group=0
        )
        self._tree = psutil.Process(self._process.pid)

    def ready(self) -> str:
        """Return its first line, empty where it ended before, and stop it until it is asked."""
        line = self._line()
        self._signal(signal.SIGSTOP)
        return line

    def order(self, line: str) -> str:
        """Return the line that answers ``line``; empty where it ended."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._line()
        self._signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End the process and what it started."""
        self._signal(signal.SIGCONT)
        children = self._tree.children(recursive=True) if self._tree.is_running() else []
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it has ended already
                self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for child in children:
            if child.is_running():
                child.kill()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class Contestant(Worker):
    """One way to the same vectors: ``benchmarks.worker`` in a process."""

    def __init__(self, name: str, folder: Path, dtype: str, options: dict[str, Any], log: Path) -> None:
        self.name = name
        self.peak_bytes = 0
        with log.open("ab") as file:
            super().__init__(
                [sys.executable, "-m", "benchmarks.worker", name, str(folder), dtype, json.dumps(options)], file
            )

    def started(self) -> float | None:
        """Return the seconds from the process's start to its first vector, or None where it cannot start."""
        line = self.ready()
        return float(json.loads(line)["start_seconds"]) if line else None

    def ask(self, do: str, *, watched: bool = False, **arguments: Any) -> dict[str, Any]:
        """Give an order and return the answer; with ``watched`` its peak memory counts, and its times do not."""
        with self._watch() if watched else nullcontext():
            line = self.order(json.dumps({"do": do, **arguments}))
        if not line:
            raise RuntimeError(f"{self.name} ended while it was asked to {do}; see the log")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """Raise ``peak_bytes`` to what the process tree holds, ten times a second."""
        with peak_memory(self._tree) as peak:
            yield
        self.peak_bytes = max(self.peak_bytes, peak[0].total)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process tree holds, in bytes; pages that several processes share count once.

    Attributes:
        own: Memory of its own.
        shared: Memory shared between processes.
        files: Mapped pages of files, such as weights, which the system takes back when it needs room.
    """

    own: int = 0
    shared: int = 0
    files: int = 0

    @property
    def total(self) -> int:
        """The sum."""
        return self.own + self.shared + self.files

    def __str__(self) -> str:
        parts = f"{self.own / 1e9:.1f} own, {self.shared / 1e9:.1f} shared, {self.files / 1e9:.1f} mapped files"
        return f"{self.total / 1e9:.1f} GB ({parts})"


@contextmanager
def peak_memory(root: psutil.Process) -> Iterator[list[Memory]]:
    """Yield a list of the most memory that the process tree has held, looked at twice a second."""
    done, peak = threading.Event(), [Memory()]

    def watch() -> None:
        while not done.wait(0.5):
            peak[0] = max(peak[0], tree_memory(root), key=lambda memory: memory.total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def tree_memory(root: psutil.Process) -> Memory:
    """Return what a process and its descendants hold."""
    sums = {"Pss_Anon": 0, "Pss_Shmem": 0, "Pss_File": 0}
    try:
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return Memory()
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        for name, _, value in (line.partition(":") for line in lines):
            if name in sums:
                sums[name] += 1024 * int(value.split()[0])
    return Memory(sums["Pss_Anon"], sums["Pss_Shmem"], sums["Pss_File"])
