"""Embed items on the engine's loop: prompts are built in a thread, memory is bounded, order is kept.

Errors do not stop the other items; they are collected by position.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .._arrays import Floats
from .._cores import usable_cores
from ..engine.protocol import Engine
from ..errors import InputError
from ..inputs.items import ImageItem, Item, TextItem
from ..prompts.base import Builder, Prompt, Truncate
from .outcomes import Outcome, empty_rows

Progress = Callable[[int], object]
Prompts = AsyncGenerator[tuple[int, Prompt | InputError], None]

CHUNK = 32
"""Texts that are tokenised together."""
QUICK = 1000
"""Characters that are tokenised at once, in about 0.1 ms."""
QUESTIONS = 32
"""Most queries of one call that are urgent; a longer list is bulk work and overtakes nothing."""
IMAGES = 1
"""Items with images that are decoded together; several such lists are built at the same time."""
AHEAD = 8
"""Most lists that are built at the same time; one for each core of smaller machines."""
IN_FLIGHT = 512
"""Slots of one call in the engine: a prompt takes one slot, and one more for each ``PIXELS`` of its images."""
PIXELS = 500_000
"""Pixels per slot, so that the decoded images of one call hold at most 0.75 GB, however large they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the items of one call are embedded.

    Attributes:
        task: ``retrieval``, ``text-matching`` or ``code``.
        role: ``query`` or ``passage``.
        text_prefix: Put before each text.
        dimensions: Length of an embedding, or of each row of a multi-vector.
        max_length: Longest text in tokens, prefix included.
        truncate: Which end of a longer text is cut, or ``error``.
        urgent: Whether a short list overtakes bulk work.
        multi: Whether to compute multi-vectors.
    """

    task: str
    role: str
    text_prefix: str
    dimensions: int
    max_length: int
    truncate: Truncate
    urgent: bool = False
    multi: bool = False

    def empty(self, count: int) -> Any:
        """Return the rows of ``count`` items that have no vector yet."""
        return empty_rows(count, self.dimensions, multi=self.multi)

    async def ask(self, engine: Engine, prompt: Prompt, *, urgent: bool) -> Floats:
        """Return the rows that ``engine`` computes for one prompt.

        Raises:
            InputError: The engine refuses the prompt, or its answer holds NaN or infinity.
        """
        if self.multi:
            rows = await engine.multi_vector(prompt, task=self.task, urgent=urgent)
        else:
            rows = await engine.embed(prompt, dimensions=self.dimensions, task=self.task, urgent=urgent)
        if not np.isfinite(rows).all():
            raise InputError("the model gave NaN or infinity. If its dtype has 16 bits or fewer, try float32.")
        return rows


async def embed_items(
    items: Sequence[Item],
    *,
    engine: Engine,
    builder: Builder,
    plan: Plan,
    progress: Progress,
) -> Outcome:
    """Embed ``items`` in order; ``progress`` is called with 1 for each finished item."""
    outcome = Outcome(embeddings=plan.empty(len(items)))
    slots = asyncio.Semaphore(IN_FLIGHT)
    urgent = plan.urgent and len(items) <= QUESTIONS

    async def embed_one(row: int, prompt: Prompt, needed: int) -> None:
        try:
            outcome.embeddings[row] = await plan.ask(engine, prompt, urgent=urgent)
        except InputError as error:
            outcome.errors.append(error.at(items[row].where, items[row].position))
        finally:
            for _ in range(needed):
                slots.release()
            progress(1)

    async def embed_all(tasks: asyncio.TaskGroup, prompts: Prompts) -> None:
        async for row, prompt in prompts:
            if isinstance(prompt, InputError):
                outcome.errors.append(prompt)
                progress(1)
                continue
            if prompt.truncated:
                outcome.truncated.append(items[row].position)
            needed = _places(prompt)
            for _ in range(needed):
                await slots.acquire()
            tasks.create_task(embed_one(row, prompt, needed))

    max_length = min(plan.max_length, engine.max_tokens)
    try:
        async with asyncio.TaskGroup() as tasks, aclosing(_prompts(items, builder, plan, max_length)) as prompts:
            await embed_all(tasks, prompts)
    except BaseExceptionGroup as group:  # callers catch EngineError and its like, never a group
        raise group.exceptions[0] from group.exceptions[0].__cause__
    outcome.errors.sort(key=lambda error: error.positions)
    return outcome


async def _prompts(items: Sequence[Item], builder: Builder, plan: Plan, max_length: int) -> Prompts:
    """Yield each row and its prompt in order; long texts and images are prepared in threads, some lists ahead."""
    build = partial(
        builder.build,
        role=plan.role,
        text_prefix=plan.text_prefix,
        max_length=max_length,
        truncate=plan.truncate,
    )
    ahead = min(AHEAD, usable_cores())
    building: deque[asyncio.Future[list[Prompt | InputError]]] = deque()
    rows = itertools.count()
    try:
        for chunk in _chunks(items):
            if _is_quick(chunk) and not building:
                for prompt in build(chunk):
                    yield next(rows), prompt
                continue
            building.append(asyncio.ensure_future(asyncio.to_thread(build, chunk)))
            if len(building) >= ahead:
                for prompt in await building.popleft():
                    yield next(rows), prompt
        while building:
            for prompt in await building.popleft():
                yield next(rows), prompt
    finally:
        for future in building:
            if not future.cancel() and not future.cancelled():
                future.exception()  # it is that of the list before; asyncio would log it


def _chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield ``items`` in order, in lists of at most ``CHUNK`` items with ``IMAGES`` images among them."""
    chunk: list[Item] = []
    images = 0
    for item in items:
        chunk.append(item)
        images += isinstance(item, ImageItem)
        if len(chunk) == CHUNK or images == IMAGES:
            yield chunk
            chunk, images = [], 0
    if chunk:
        yield chunk


def _is_quick(chunk: list[Item]) -> bool:
    """Return whether tokenising takes less time than a round trip to a thread, as for a question."""
    return sum(len(item.text) if isinstance(item, TextItem) else QUICK for item in chunk) < QUICK


def _places(prompt: Prompt) -> int:
    pixels = sum(image.width * image.height for image in prompt.images)
    return min(IN_FLIGHT, 1 + pixels // PIXELS)
