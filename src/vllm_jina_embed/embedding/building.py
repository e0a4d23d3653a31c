"""Build prompts in threads, some lists ahead of the engine, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from .._cores import usable_cores
from ..errors import InputError
from ..inputs.images import may_share_a_file
from ..inputs.items import ImageItem, Item, TextItem
from ..prompts.base import Chunks, Prompt, Spans

Built = Prompt | Chunks | Spans | InputError
Build = Callable[[Sequence[Item]], Sequence[Built]]

AHEAD = 8
"""Most lists that are built at the same time; one for each core of smaller machines."""
CHUNK = 32
"""Most items of a list."""
IMAGES = 1
"""Items with images of a list."""
CHARACTERS = 1_000_000
"""Characters of texts from which a list is long enough."""
QUICK = 1000
"""Characters that are tokenised at once, in about 0.1 ms."""


async def built_prompts(items: Sequence[Item], build: Build, *, urgent: bool) -> AsyncGenerator[Built, None]:
    """Yield the prompt of each item, or its error, in order.

    Long texts and images are prepared in threads: on as many cores as there are, unless reading one item might move
    the file of another.

    Args:
        items: Texts, images and both.
        build: Returns the prompts of a list.
        urgent: Whether to wait for no thread that builds other calls' prompts.
    """
    if is_quick(items):
        for prompt in build(items):
            yield prompt
        return
    ahead = 1 if any(map(_reads_in_turn, items)) else min(AHEAD, usable_cores())
    pool = ThreadPoolExecutor(1) if urgent else None  # that of the loop may be full of documents
    try:
        async with aclosing(_built(_chunks(items), build, ahead, pool)) as lists:
            async for prompts in lists:
                for prompt in prompts:
                    yield prompt
    finally:
        if pool is not None:
            pool.shutdown(wait=False)


async def _built(
    chunks: Iterator[list[Item]], build: Build, ahead: int, pool: ThreadPoolExecutor | None
) -> AsyncGenerator[Sequence[Built], None]:
    """Yield what ``build`` returns for each list, in order, with ``ahead`` of them in threads."""
    building: deque[asyncio.Future[Sequence[Built]]] = deque()
    try:
        for chunk in chunks:
            if is_quick(chunk) and not building:
                yield build(chunk)
                continue
            building.append(asyncio.get_running_loop().run_in_executor(pool, build, chunk))
            if len(building) >= ahead:
                yield await building.popleft()
        while building:
            yield await building.popleft()
    finally:
        for future in building:
            future.cancel()  # one that has failed is not logged then


def _chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield ``items`` in order, in lists of at most ``CHUNK`` items with ``IMAGES`` images among them."""
    chunk: list[Item] = []
    images = characters = 0
    for item in items:
        chunk.append(item)
        images += not isinstance(item, TextItem)
        characters += 0 if isinstance(item, ImageItem) else len(item.text)
        if len(chunk) == CHUNK or images == IMAGES or characters >= CHARACTERS:
            yield chunk
            chunk, images, characters = [], 0, 0
    if chunk:
        yield chunk


def is_quick(items: Sequence[Item]) -> bool:
    """Tell whether tokenising takes less time than a round trip to a thread, as for a question."""
    if len(items) > CHUNK:
        return False
    return sum(len(item.text) if isinstance(item, TextItem) else QUICK for item in items) < QUICK


def _reads_in_turn(item: Item) -> bool:
    """Tell whether opening this item's images may move the file of another's."""
    return not isinstance(item, TextItem) and any(map(may_share_a_file, item.images))
