"""An event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from .._forks import fork_safe_lock
from ..errors import ClosedError, ForkedError

Result = TypeVar("Result")


class LoopThread:
    """An event loop in a daemon thread, shared by callers of any thread and any loop."""

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self._lock = fork_safe_lock(self)  # a job handed to a loop that is about to stop would never end
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        """Start ``job`` on the loop.

        Raises:
            ForkedError: This process was forked from the one that owns the loop.
            ClosedError: The loop is closed.
        """
        error: Exception = ClosedError("the engine is closed.")
        if os.getpid() != self._pid:
            error = ForkedError(
                "the engine belongs to the parent process and cannot be reached after a fork; start worker processes "
                "with 'spawn', or create the embedder in the worker."
            )
        else:
            with self._lock:
                if not self._closed:
                    return asyncio.run_coroutine_threadsafe(job, self._loop)
        job.close()
        raise error

    def close(self) -> None:
        """Cancel running jobs, then stop the loop; further calls do nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
