"""A corpus of any length in constant memory: windows of it are embedded while the last ones are read.

Enters: items, and the call that embeds a checked window. Leaves: one embedding per item, in order.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from tqdm.auto import tqdm

from . import inputs
from .inputs import EmbedInput, Item
from .pooling import Floats

WINDOW = 256
"""Items of a stream that are embedded together."""
STREAMS = 2
"""Windows of a stream that are in the engine at the same time, so that it never waits for the next one."""


def stream(items: Iterable[EmbedInput], call: Callable[[list[Item]], Floats], bar: tqdm[Any]) -> Iterator[Floats]:
    """Yield one embedding ``(dimension,)`` per item; ``call`` embeds one window, in a thread of its own."""
    with ThreadPoolExecutor(STREAMS) as pool, bar:
        pending: deque[concurrent.futures.Future[Floats]] = deque()
        try:
            for batch in _batches(items):
                pending.append(pool.submit(call, batch))
                if len(pending) > STREAMS:
                    yield from _told(pending.popleft().result(), bar)
            while pending:
                yield from _told(pending.popleft().result(), bar)
        finally:
            for future in pending:
                future.cancel()


async def astream(
    items: Iterable[EmbedInput], call: Callable[[list[Item]], Coroutine[Any, Any, Floats]], bar: tqdm[Any]
) -> AsyncIterator[Floats]:
    """Yield as ``stream`` does, without blocking the loop."""
    with bar:
        pending: deque[asyncio.Task[Floats]] = deque()
        try:
            for batch in _batches(items):
                pending.append(asyncio.create_task(call(batch)))
                if len(pending) > STREAMS:
                    for embedding in _told(await pending.popleft(), bar):
                        yield embedding
            while pending:
                for embedding in _told(await pending.popleft(), bar):
                    yield embedding
        finally:
            for task in pending:
                task.cancel()


def _batches(items: Iterable[EmbedInput]) -> Iterator[list[Item]]:
    """Yield ``items`` in checked batches of ``WINDOW`` that know their positions in the whole."""
    start, rest = 0, iter(items)
    while batch := list(islice(rest, WINDOW)):
        yield inputs.mixed(batch, start=start)
        start += len(batch)


def _told(embeddings: Floats, bar: tqdm[Any]) -> Floats:
    bar.update(len(embeddings))
    return embeddings
