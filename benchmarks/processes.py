"""A contestant's process, seen from the run: orders, answers, and the memory of its whole tree."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil


class Contestant:
    """One worker process; counts the peak memory of its process tree from the start."""

    def __init__(self, name: str, folder: Path, dtype: str, options: dict[str, Any], log: Path) -> None:
        self.name = name
        command = [sys.executable, "-m", "benchmarks.worker", name, str(folder), dtype, json.dumps(options)]
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True
            )
        self._tree = psutil.Process(self._process.pid)
        self.peak_bytes = 0
        self._watching = True
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def started(self) -> float | None:
        """Return the seconds from the process's start to its first vector, or None where it cannot start."""
        answer = self._answer()
        return None if answer is None else float(answer["start_seconds"])

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Give an order and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer is None:
            raise RuntimeError(f"{self.name} ended while it was asked to {do}; see the log")
        return answer

    def close(self) -> None:
        """End the process and what it started."""
        self._watching = False
        self._watcher.join()
        children = self._tree.children(recursive=True) if self._tree.is_running() else []
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for child in children:
            if child.is_running():
                child.kill()

    def _answer(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer

    def _watch(self) -> None:
        while self._watching:
            self.peak_bytes = max(self.peak_bytes, self._memory())
            time.sleep(0.1)

    def _memory(self) -> int:
        """Return the tree's private memory plus its share of what is shared, in bytes."""
        total = 0
        try:
            processes = [self._tree, *self._tree.children(recursive=True)]
        except psutil.Error:
            return 0
        for process in processes:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        return total
