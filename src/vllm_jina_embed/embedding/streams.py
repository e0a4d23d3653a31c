"""Embed a corpus of any length in constant memory: windows of it are embedded while the next ones are read."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import Any

from tqdm.auto import tqdm

from .._arrays import Floats
from ..errors import EmbeddingWarning, ForkedError, InputError
from ..inputs import items as inputs
from ..inputs.items import Checked, EmbedInput

WINDOW = 256
"""Items of a stream that are embedded together."""
STREAMS = 2
"""Windows of a stream that are in the engine at the same time, so that it never waits for the next one."""


def stream(items: Iterable[EmbedInput], call: Callable[[list[Checked]], Floats], bar: tqdm[Any]) -> Iterator[Floats]:
    """Yield one embedding ``(dimension,)`` per item; ``call`` embeds one window, in a thread of its own."""
    process = os.getpid()
    with ThreadPoolExecutor(STREAMS) as pool, bar:
        pending: deque[tuple[int, concurrent.futures.Future[Floats]]] = deque()
        try:
            for start, batch in _batches(items):
                pending.append((start, pool.submit(copy_context().run, call, batch)))  # for its trace
                if len(pending) > STREAMS:
                    yield from _rows(*pending.popleft(), bar, process)
            while pending:
                yield from _rows(*pending.popleft(), bar, process)
        finally:
            if os.getpid() == process:
                for _, future in pending:
                    future.cancel()


def _rows(start: int, future: concurrent.futures.Future[Floats], bar: tqdm[Any], process: int) -> Iterator[Floats]:
    """Yield a window's rows; if it has bad items, yield the rows before the first and raise its error."""
    if os.getpid() != process:  # the threads that compute it are the parent's
        raise ForkedError("this stream was begun in the parent process; begin a new one after the fork.")
    try:
        rows = future.result()
    except (InputError, EmbeddingWarning) as error:
        yield from _counted(_before(error, start), bar)
        raise
    yield from _counted(rows, bar)


async def astream(
    items: Iterable[EmbedInput], call: Callable[[list[Checked]], Coroutine[Any, Any, Floats]], bar: tqdm[Any]
) -> AsyncIterator[Floats]:
    """Yield as ``stream`` does, without blocking the loop."""
    with bar:
        pending: deque[tuple[int, asyncio.Task[Floats]]] = deque()
        try:
            for start, batch in _batches(items):
                pending.append((start, asyncio.create_task(call(batch))))
                if len(pending) > STREAMS:
                    async for embedding in _arows(*pending.popleft(), bar):
                        yield embedding
            while pending:
                async for embedding in _arows(*pending.popleft(), bar):
                    yield embedding
        finally:
            for _, task in pending:
                task.cancel()


async def _arows(start: int, task: asyncio.Task[Floats], bar: tqdm[Any]) -> AsyncIterator[Floats]:
    """Yield as ``_rows`` does."""
    try:
        rows = await task
    except (InputError, EmbeddingWarning) as error:
        for row in _counted(_before(error, start), bar):
            yield row
        raise
    finally:
        task.cancel()
    for row in _counted(rows, bar):
        yield row


def _batches(items: Iterable[EmbedInput]) -> Iterator[tuple[int, list[Checked]]]:
    """Yield the start of each batch of ``WINDOW`` items, and its checked items with positions in the whole stream."""
    start, rest = 0, iter(inputs.listed(items, "items"))
    while batch := list(islice(rest, WINDOW)):
        yield start, inputs.mixed(batch, start=start)
        start += len(batch)


def _before(error: InputError | EmbeddingWarning, start: int) -> Any:
    """Return the rows before the first bad item of the window at ``start``; all rows for a warning."""
    if error.embeddings is None:
        return []
    return error.embeddings[: error.positions[0] - start] if isinstance(error, InputError) else error.embeddings


def _counted(embeddings: Any, bar: tqdm[Any]) -> Any:
    """Return ``embeddings`` and count them on the bar."""
    bar.update(len(embeddings))
    return embeddings
