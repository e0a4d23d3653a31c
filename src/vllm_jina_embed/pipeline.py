"""Items to embeddings on the engine's loop: prepared in a thread, bounded, order kept, errors kept apart.

Enters: items and an engine. Leaves: a float32 array ``(n, dimensions)`` and the errors by position.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .engine.base import Engine
from .errors import InputError
from .inputs import Item
from .pooling import Floats
from .prompts import Prompt, PromptBuilder, Truncate

Progress = Callable[[int], object]

CHUNK = 32
"""Items that are tokenised or decoded together."""
IN_FLIGHT = 512
"""Prompts of one call that wait in the engine at most; decoded pictures are held that long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the items of one call are embedded."""

    text_prefix: str
    dimensions: int
    max_length: int
    truncate: Truncate


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one call gave.

    Attributes:
        embeddings: Shape ``(n, dimensions)``, float32; rows of items with an error are NaN.
        errors: One error per bad item, ascending by position.
        truncated: Positions of texts that were cut.
    """

    embeddings: Floats
    errors: list[InputError] = field(default_factory=list)
    truncated: list[int] = field(default_factory=list)


async def embed_items(
    items: Sequence[Item],
    *,
    engine: Engine,
    builder: PromptBuilder,
    plan: Plan,
    progress: Progress,
) -> Outcome:
    """Embed ``items`` in order; ``progress`` is called with 1 for each one that is done."""
    outcome = Outcome(embeddings=np.full((len(items), plan.dimensions), np.nan, dtype=np.float32))
    room = asyncio.Semaphore(IN_FLIGHT)

    async def embed_one(row: int, prompt: Prompt) -> None:
        try:
            outcome.embeddings[row] = await engine.embed(prompt, dimensions=plan.dimensions)
        except InputError as error:
            outcome.errors.append(_at(items[row], error))
        finally:
            room.release()
            progress(1)

    max_length = min(plan.max_length, engine.max_tokens)
    async with asyncio.TaskGroup() as tasks:
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            prompts = await asyncio.to_thread(
                builder.build,
                chunk,
                text_prefix=plan.text_prefix,
                max_length=max_length,
                truncate=plan.truncate,
            )
            for row, prompt in enumerate(prompts, start):
                if isinstance(prompt, InputError):
                    outcome.errors.append(prompt)
                    progress(1)
                    continue
                if prompt.truncated:
                    outcome.truncated.append(items[row].position)
                await room.acquire()
                tasks.create_task(embed_one(row, prompt))
    outcome.errors.sort(key=lambda error: error.positions)
    return outcome


def _at(item: Item, error: InputError) -> InputError:
    return InputError(f"{item.where}: {error}", positions=[item.position])
