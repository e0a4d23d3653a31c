"""Embed items on the engine's loop: prompts are built in a thread, memory is bounded, order is kept.

Errors do not stop the other items; they are collected by position.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
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
from .building import Build, built_prompts, is_quick
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
        task: A task of the checkpoint, such as ``retrieval``.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call on its way: what it asks, and the outcome that its answers fill."""

    items: Sequence[Item]
    engine: Engine
    plan: Plan
    progress: Progress
    urgent: bool
    outcome: Outcome

    async def answer(self, row: int, prompt: Prompt | InputError) -> None:
        """Put the vector of an item into the outcome, or its error."""
        item = self.items[row]
        try:
            if isinstance(prompt, InputError):
                self.outcome.errors.append(prompt)
                return
            if prompt.truncated:
                self.outcome.truncated.append(item.position)
            self.outcome.embeddings[row] = await self.plan.ask(self.engine, prompt, urgent=self.urgent)
        except InputError as error:
            self.outcome.errors.append(error.at(item.where, item.position))
        finally:
            self.progress(1)

    async def answer_all(self, prompts: AsyncIterator[Prompt | InputError], tasks: asyncio.TaskGroup) -> None:
        """Start the answers, no more at a time than the engine has slots."""
        slots = asyncio.Semaphore(self.engine.in_flight)

        async def answer(row: int, prompt: Prompt | InputError, needed: int) -> None:
            try:
                await self.answer(row, prompt)
            finally:
                for _ in range(needed):
                    slots.release()

        rows = itertools.count()
        async for prompt in prompts:
            needed = _slots(prompt, self.engine.in_flight)
            for _ in range(needed):
                await slots.acquire()
            tasks.create_task(answer(next(rows), prompt, needed))


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
    urgent = plan.urgent and len(items) <= QUESTIONS
    build = plan.build(builder, engine.max_tokens)
    call = _Call(items=items, engine=engine, plan=plan, progress=progress, urgent=urgent, outcome=outcome)
    if len(items) == 1 and is_quick(items):  # a question: tasks would take half of its time here
        await call.answer(0, *build(items))
        return outcome
    try:
        async with asyncio.TaskGroup() as tasks, aclosing(built_prompts(items, build, urgent=urgent)) as prompts:
            await call.answer_all(prompts, tasks)
    except BaseExceptionGroup as group:  # callers catch EngineError and its like, never a group
        raise group.exceptions[0] from group.exceptions[0].__cause__
    outcome.errors.sort(key=lambda error: error.positions)
    return outcome


def _slots(prompt: Prompt | InputError, in_flight: int) -> int:
    """Return how many of the engine's slots a prompt takes: one, and more for its images; an error takes none."""
    if isinstance(prompt, InputError):
        return 0
    pixels = sum(image.width * image.height for image in prompt.images)
    return min(in_flight, 1 + pixels * in_flight // PIXELS)
