"""End vLLM's processes on Ctrl-C and SIGTERM, while vLLM starts or runs, so that none is left behind.

vLLM's processes ignore Ctrl-C, and this process's threads that start or call vLLM wait while they live.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def children_stop_first(say: Callable[[str], None]) -> Iterator[None]:
    """Handle SIGINT and SIGTERM inside; works in the main thread only. A second signal ends the process at once.

    Args:
        say: Called with a line for the user, on another thread.
    """
    finished = threading.Event()
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(128 + number)
        received.append(number)
        threading.Thread(target=_stop_children, args=(finished, say), daemon=True).start()
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        finished.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            _stop_children(finished, lambda line: None)


def _stop_children(finished: threading.Event, say: Callable[[str], None]) -> None:
    """Terminate every child, including those that are still starting; return once ``finished`` is set."""
    say("Stopping vLLM ...")
    terminated = set()
    while True:
        for child in multiprocessing.active_children():
            if child.pid not in terminated:
                terminated.add(child.pid)
                child.terminate()
        if finished.wait(0.1):
            return
