"""Threads that resize and normalise images for vLLM, which has one such thread.

Its own feeds about 37 pages a second to a GPU (docs/performance.md). What the threads call is vLLM's function, so the
numbers do not depend on how many they are. A local engine and a server have their own each.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from PIL import Image

from ..._cores import usable_cores
from ..._forks import fork_safe_lock
from ...inputs.image_files import BUDGET

Result = TypeVar("Result")

MOST = 8
"""Most threads, also of those that decode in a server; one for each core of smaller machines."""
BYTES = 10
"""Memory that preparing an image takes for each of its pixels, beside the image: measured with vLLM 0.32."""


class ImageThreads:
    """A pool of threads that prepare images; together they hold no more memory than decoding may."""

    def __init__(self, number: int | None = None) -> None:
        number = number or min(MOST, usable_cores())
        self._pool = ThreadPoolExecutor(number, thread_name_prefix="vllm-jina-embed-images")

    async def run(self, images: Sequence[Image.Image], prepare: Callable[..., Result], *arguments: Any) -> Result:
        """Call ``prepare`` on one of the threads and return what it returns.

        Args:
            images: What it prepares.
            prepare: A function that is safe on several threads.
            arguments: Its arguments.
        """
        pixels = sum(image.width * image.height for image in images)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._call, pixels, prepare, *arguments)

    def close(self) -> None:
        """End the threads; what they do is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _call(pixels: int, prepare: Callable[..., Result], *arguments: Any) -> Result:
        with BUDGET.hold(BYTES * pixels), _TORCH.kept():
            return prepare(*arguments)


class _TorchThreads:
    """Torch's number of threads, which vLLM sets to 1 for the whole process while it prepares an image.

    Then vLLM sets it to what it was: of several calls at once, the last would leave the 1 of another.
    """

    def __init__(self) -> None:
        self._lock = fork_safe_lock(self)
        self._at_work = self._number = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._at_work = 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Leave torch as many threads as it had before the first of the calls that are at work."""
        import torch

        with self._lock:
            if not self._at_work:
                self._number = _in_new_thread(torch.get_num_threads)
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
                if not self._at_work:
                    torch.set_num_threads(self._number)


_TORCH = _TorchThreads()


def _in_new_thread(function: Callable[[], int]) -> int:
    """Return what a thread gets that has just started; a thread of a pool keeps its own number of torch's threads."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]
