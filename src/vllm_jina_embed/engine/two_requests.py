"""Both kinds of vectors of an engine that gives one kind a request, as servers do."""

from __future__ import annotations

from .._arrays import Floats
from ..prompts.base import Prompt
from .protocol import VectorSource
from .self_check import together


async def both(
    engine: VectorSource,
    prompt: Prompt,
    *,
    dimensions: int,
    task: str,
    urgent: bool = False,
    normalize: bool = True,
) -> tuple[Floats, Floats]:
    """See ``Engine.both``; two requests at the same time."""
    vector, rows = await together(
        [
            engine.embed(prompt, dimensions=dimensions, task=task, urgent=urgent, normalize=normalize),
            engine.multi_vector(prompt, task=task, urgent=urgent),
        ]
    )
    return vector, rows
