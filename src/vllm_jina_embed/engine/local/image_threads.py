"""Threads that resize and normalise images for vLLM, which has one such thread.

Its own feeds about 37 pages a second to a GPU (docs/performance.md). What the threads call is vLLM's function, so the
numbers do not depend on how many they are. A local engine and a server have their own each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..._cores import usable_cores
from ..._forks import fork_safe_lock

Result = TypeVar("Result")

MOST = 8
"""Most threads; one for each core of smaller machines."""


class ImageThreads:
    """A pool of threads that leaves torch as many threads as it had.

    vLLM sets torch's number of threads to 1 while it prepares an image, for the whole process, and then to what it
    was: of several calls at once, the last would leave the 1 of another.
    """

    def __init__(self, number: int | None = None) -> None:
        number = number or min(MOST, usable_cores())
        self._pool = ThreadPoolExecutor(number, thread_name_prefix="vllm-jina-embed-images")
        self._lock = fork_safe_lock(self)
        self._at_work = 0
        self._torch_threads = 0

    async def run(self, prepare: Callable[..., Result], *arguments: Any) -> Result:
        """Call ``prepare`` on one of the threads and return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._call, prepare, *arguments)

    def close(self) -> None:
        """End the threads; what they do is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _call(self, prepare: Callable[..., Result], *arguments: Any) -> Result:
        import torch

        with self._lock:
            if not self._at_work:
                self._torch_threads = torch.get_num_threads()
            self._at_work += 1
        try:
            return prepare(*arguments)
        finally:
            with self._lock:
                self._at_work -= 1
                if not self._at_work:
                    torch.set_num_threads(self._torch_threads)
