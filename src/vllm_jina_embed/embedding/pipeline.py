"""Embed items on the engine's loop: prompts are built in a thread, memory is bounded, order is kept.

Errors do not stop the other items; they are collected by position.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from .._arrays import Floats
from ..engine.protocol import Engine
from ..engine.self_check import together
from ..errors import InputError
from ..inputs.items import Item
from ..prompts.base import Builder, Chunks, Prompt, Spans, Truncate
from ..settings import LongText
from .building import Build, Built, built_prompts, is_quick
from .means import of_chunks, of_spans
from .outcomes import BothKinds, Outcome, empty_rows
from .token_weights import of_ids

Progress = Callable[[int], object]

QUESTIONS = 32
"""Most prompts of one call's queries that are urgent; more are bulk work and overtake nothing."""
PIXELS = 256_000_000
"""Pixels of one call's images in the engine: decoded they hold at most 1 GB, however large they are."""
STATES = 65_536
"""Tokens of one call whose states are in memory for late chunks: of 2048 numbers each they take 0.5 GB."""


class Work(Protocol):
    """What one call does with its items: what their prompts are, and what the engine is asked for each."""

    @property
    def urgent(self) -> bool:
        """Whether a short list overtakes bulk work."""
        ...

    def empty(self, count: int) -> Any:
        """Return the results of ``count`` items that have none yet."""
        ...

    async def ask(self, engine: Engine, prompt: Any, *, urgent: bool) -> Any:
        """Return the result of one prompt, or of its chunks or spans.

        Raises:
            InputError: It has none.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the items of one call are embedded.

    Attributes:
        task: A task of the checkpoint, such as ``retrieval``.
        role: ``query`` or ``passage``.
        dimensions: Length of an embedding, or of each row of a multi-vector.
        max_length: Longest text in tokens, prefix included.
        truncate: Which end of a longer text is cut, or ``error``.
        normalize: Whether embeddings have L2 norm 1; multi-vectors' rows always do.
        long_text: ``chunks`` if a longer text alone is not cut; of multi-vectors it is all the same.
        ends: For late chunking, by the position of each item where its chunks end in it.
        layer_norm: Whether the row has a layer norm; of late chunks it is computed here.
        urgent: Whether a short list overtakes bulk work.
        multi: Whether to compute multi-vectors.
        both: Instead, whether to compute both kinds.
        token_dimensions: Of both kinds, the length of each row of a multi-vector.
        weights: Whether to compute the weights of token ids instead of vectors.
        unweighted: Token ids that have no weight.
    """

    task: str
    role: str
    dimensions: int
    max_length: int
    truncate: Truncate
    normalize: bool = True
    long_text: LongText | None = None
    ends: Mapping[int, Sequence[int]] | None = None
    layer_norm: bool = False
    urgent: bool = False
    multi: bool = False
    both: bool = False
    token_dimensions: int = 0
    weights: bool = False
    unweighted: Set[int] = frozenset()

    def empty(self, count: int) -> Any:
        """Return the rows of ``count`` items that have no vector yet."""
        if self.weights:
            return [{} for _ in range(count)]
        if self.both:
            return BothKinds.empty(count, self.dimensions, self.token_dimensions)
        return empty_rows(count, self.dimensions, multi=self.multi or self.ends is not None)

    def build(self, builder: Builder, max_tokens: int) -> Build:
        """Return what builds prompts; none is longer than the engine can take."""
        build: Callable[..., Sequence[Built]] = builder.build
        if self.ends is not None:
            build = partial(builder.build_spans, ends=self.ends)
        elif self.long_text == "chunks" and not (self.multi or self.weights):
            build = builder.build_whole
        return partial(
            build,
            role=self.role,
            task=self.task,
            max_length=min(self.max_length, max_tokens),
            truncate=self.truncate,
        )

    async def ask(self, engine: Engine, prompt: Prompt | Chunks | Spans, *, urgent: bool) -> Any:
        """Return the rows that ``engine`` computes for one prompt, or what is made of those of chunks or spans.

        Raises:
            InputError: As ``ask_once``, or a mean has no direction.
        """
        if isinstance(prompt, Spans):
            states = (await engine.token_states(prompt.prompt, task=self.task)).states
            options = {"layer_norm": self.layer_norm, "normalized": self.normalize}
            return _finite(of_spans(states, prompt.counts, self.dimensions, **options))
        if isinstance(prompt, Prompt) and self.weights:
            each = _finite(await engine.token_weights(prompt, task=self.task))
            return of_ids(prompt.token_ids, each, without=self.unweighted)
        if isinstance(prompt, Prompt):
            return await self.ask_once(engine, prompt, urgent=urgent)
        slots = asyncio.Semaphore(engine.in_flight)

        async def ask(one: Prompt) -> Any:
            async with slots:
                return await self.ask_once(engine, one, urgent=urgent)

        vectors = await together(map(ask, prompt.prompts))
        return of_chunks(np.stack(vectors), prompt.weights, normalized=self.normalize)

    async def ask_once(self, engine: Engine, prompt: Prompt, *, urgent: bool) -> Any:
        """Return the rows that ``engine`` computes for one prompt, or a pair of both kinds.

        Raises:
            InputError: The engine refuses the prompt, or its answer holds NaN or infinity.
        """
        if self.multi:
            return _finite(await engine.multi_vector(prompt, task=self.task, urgent=urgent))
        ask = engine.both if self.both else engine.embed
        rows: Any = await ask(
            prompt, dimensions=self.dimensions, task=self.task, urgent=urgent, normalize=self.normalize
        )
        return tuple(map(_finite, rows)) if self.both else _finite(rows)


def _finite(rows: Floats) -> Floats:
    """Return ``rows`` themselves.

    Raises:
        InputError: They hold NaN or infinity.
    """
    if not np.isfinite(rows).all():
        raise InputError("the model gave NaN or infinity. If its dtype has 16 bits or fewer, try float32.")
    return rows


@dataclass(slots=True, kw_only=True)
class _Call:
    """One call on its way: what it asks, how many prompts so far, and the outcome that its answers fill."""

    items: Sequence[Item]
    engine: Engine
    plan: Work
    progress: Progress
    urgent: bool
    outcome: Outcome
    prompts: int = 0

    async def answer(self, row: int, prompt: Built) -> None:
        """Put the vector of an item into the outcome, or its error."""
        item = self.items[row]
        try:
            if isinstance(prompt, InputError):
                self.outcome.errors.append(prompt)
                return
            if isinstance(prompt, Prompt) and prompt.truncated:
                self.outcome.truncated.append(item.position)
            self.prompts += len(prompt.prompts) if isinstance(prompt, Chunks) else 1
            urgent = self.urgent and self.prompts <= QUESTIONS
            self.outcome.embeddings[row] = await self.plan.ask(self.engine, prompt, urgent=urgent)
        except InputError as error:
            self.outcome.errors.append(error.at(item.where, item.position))
        finally:
            self.progress(1)

    async def answer_all(self, prompts: AsyncIterator[Built], tasks: asyncio.TaskGroup) -> None:
        """Start the answers, no more at a time than the engine has slots."""
        slots = asyncio.Semaphore(self.engine.in_flight)

        async def answer(row: int, prompt: Built, needed: int) -> None:
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
    build = plan.build(builder, engine.max_tokens)
    return await work_on(items, engine=engine, build=build, plan=plan, progress=progress)


async def work_on(items: Sequence[Item], *, engine: Engine, build: Build, plan: Work, progress: Progress) -> Outcome:
    """Return the results of ``items`` in order; ``progress`` is called with 1 for each finished item.

    Args:
        items: Texts, images and both.
        engine: It answers.
        build: Returns the prompts of a list of items.
        plan: What it is asked.
        progress: Is called with 1 for each finished item.
    """
    outcome = Outcome(embeddings=plan.empty(len(items)))
    urgent = plan.urgent and len(items) <= QUESTIONS
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


def _slots(prompt: Built, in_flight: int) -> int:
    """Return how many of the engine's slots a prompt takes: one, more for images, one for each chunk; an error none."""
    if isinstance(prompt, InputError):
        return 0
    if isinstance(prompt, Spans):
        return min(in_flight, 1 + sum(prompt.counts) * in_flight // STATES)
    if isinstance(prompt, Chunks):
        return min(in_flight, len(prompt.prompts))
    pixels = sum(image.width * image.height for image in prompt.images)
    return min(in_flight, 1 + pixels * in_flight // PIXELS)
