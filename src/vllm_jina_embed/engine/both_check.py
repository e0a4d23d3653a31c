"""A check that a started engine must pass before it serves: one pass for both kinds gives what two requests give."""

from __future__ import annotations

from typing import Any

from ..checkpoints.description import Model
from ..errors import EngineError
from ..prompts.base import Builder
from .protocol import Engine
from .self_check import LIMIT, described, distance, prompts_of_row, shortest, together
from .two_requests import both


async def check_both(engine: Engine, builder: Builder, *, row: Model, task: str, max_tokens: int, full: int) -> None:
    """Compare both kinds of vectors of one prompt, an image if the row takes any, with those of two requests.

    Of the shortest length that the row names, so that the embedding's end is not its full one. The other checks have
    compared what two requests give with the host's pooling.

    Args:
        engine: The engine.
        builder: Makes the prompts of ``row``.
        row: What the engine should do.
        task: The task of the prompt.
        max_tokens: Longest prompt that the engine takes.
        full: The full length of an embedding.

    Raises:
        EngineError: They differ.
    """
    prompts = prompts_of_row(builder, row, task, max_tokens)
    prompt = next((one for one in prompts if one.images), prompts[-1])
    options: dict[str, Any] = {"dimensions": shortest(row, full), "task": task}
    found = await together([engine.both(prompt, **options), both(engine, prompt, **options)])
    for got, expected in zip(*found, strict=True):
        if not distance(got, expected) <= LIMIT:
            raise EngineError(
                f"vLLM gives another vector where it computes both kinds together (got {described(got, expected)} to "
                "that of a request of its own). Was the plugin 'vllm_jina_embed' loaded?"
            )
