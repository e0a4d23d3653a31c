"""Embed items on the engine's loop: prompts are built in a thread, memory is bounded, order is kept.

Errors do not stop the other items; they are collected by position.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .._arrays import Floats
from ..engine.protocol import Engine
from ..errors import InputError
from ..inputs.items import Item
from ..prompts.base import Builder, Prompt, Truncate
from .building import Build, built_prompts
from .outcomes import Outcome, empty_rows

Progress = Callable[[int], object]

QUESTIONS = 32
"""Most queries of one call that are urgent; a longer list is bulk work and overtakes nothing."""
PIXELS = 256_000_000
"""Pixels of one call's images in the engine: decoded they hold at most 1 GB, however large they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the items of one call are embedded.

    Attributes:
        task: ``retrieval``, ``text-matching`` or ``code``.
        role: ``query`` or ``passage``.
        dimensions: Length of an embedding, or of each row of a multi-vector.
        max_length: Longest text in tokens, prefix included.
        truncate: Which end of a longer text is cut, or ``error``.
        urgent: Whether a short list overtakes bulk work.
        multi: Whether to compute multi-vectors.
    """

    task: str
    role: str
    dimensions: int
    max_length: int
    truncate: Truncate
    urgent: bool = False
    multi: bool = False

    def empty(self, count: int) -> Any:
        """Return the rows of ``count`` items that have no vector yet."""
        return empty_rows(count, self.dimensions, multi=self.multi)

    def build(self, builder: Builder, max_tokens: int) -> Build:
        """Return what builds prompts; none is longer than the engine can take."""
        return partial(
            builder.build,
            role=self.role,
            task=self.task,
            max_length=min(self.max_length, max_tokens),
            truncate=self.truncate,
        )

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
    slots = asyncio.Semaphore(engine.in_flight)
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

    build = plan.build(builder, engine.max_tokens)

    async def embed_all(tasks: asyncio.TaskGroup) -> None:
        rows = itertools.count()
        async with aclosing(built_prompts(items, build, urgent=urgent)) as prompts:
            async for prompt in prompts:
                row = next(rows)
                if isinstance(prompt, InputError):
                    outcome.errors.append(prompt)
                    progress(1)
                    continue
                if prompt.truncated:
                    outcome.truncated.append(items[row].position)
                needed = _slots(prompt, engine.in_flight)
                for _ in range(needed):
                    await slots.acquire()
                tasks.create_task(embed_one(row, prompt, needed))

    try:
        async with asyncio.TaskGroup() as tasks:
            await embed_all(tasks)
    except BaseExceptionGroup as group:  # callers catch EngineError and its like, never a group
        raise group.exceptions[0] from group.exceptions[0].__cause__
    outcome.errors.sort(key=lambda error: error.positions)
    return outcome


def _slots(prompt: Prompt, in_flight: int) -> int:
    """Return how many of the engine's slots a prompt takes: one, and more for its images."""
    pixels = sum(image.width * image.height for image in prompt.images)
    return min(in_flight, 1 + pixels * in_flight // PIXELS)
