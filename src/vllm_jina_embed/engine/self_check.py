"""Checks that a started engine must pass before it serves: its vectors equal host pooling of its own token states.

They catch a plugin that vLLM did not load, a version that ignores the pooler, an active prefix cache, and an adapter or
a projector of another task.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import numpy as np
from PIL import Image

from .._arrays import Floats
from ..checkpoints.description import Pooling
from ..errors import EngineError
from ..pooling import single_vector
from ..prompts.base import Prompt
from .protocol import VectorSource

Check = Callable[..., Coroutine[Any, Any, None]]

LIMIT = 1e-3
"""Largest ``_distance``; bfloat16 rounding stays under 1e-4, another pooling is over 1e-2."""


async def together(checks: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run checks at the same time, so that vLLM batches their prompts: each step reads all weights once.

    Raises:
        EngineError: One failed, the first that did; the others are cancelled.
    """
    running = [asyncio.ensure_future(check) for check in checks]
    try:
        await asyncio.gather(*running)
    finally:
        for check in running:
            check.cancel()


async def check_pooling(engine: VectorSource, config: Any, *, task: str) -> None:
    """Compare the engine's embeddings of a text and an image with host pooling of its own token states.

    Raises:
        EngineError: They differ.
    """
    span = {"vision_start": config.vision_start_token_id, "vision_end": config.vision_end_token_id}

    async def check(prompt: Prompt) -> None:
        tokens = await engine.token_states(prompt, task=task)
        mask = single_vector.vision_mask(tokens.token_ids, **span)
        expected = single_vector.finish(single_vector.mean(tokens.states, mask), tokens.states.shape[1])
        for _ in range(2):  # the second time a prefix cache would answer
            got = await engine.embed(prompt, dimensions=len(expected), task=task)
            if not _distance(got, expected) <= LIMIT:
                raise EngineError(
                    f"vLLM does not average the vision spans as this checkpoint needs (got {_described(got, expected)} "
                    "to the right vector). Was the plugin 'vllm_jina_embed' loaded? Check VLLM_PLUGINS, and "
                    "that this package is installed in the environment that vLLM runs in."
                )

    await together(check(prompt) for prompt in _prompts(config))


async def check_first_token(engine: VectorSource, config: Any, *, task: str) -> None:
    """Compare the engine's embeddings of two texts with the states of their first tokens.

    Raises:
        EngineError: They differ.
    """
    first, last = ([one] * (one is not None) for one in (config.bos_token_id, config.eos_token_id))  # BERT has none
    plain = [token_id for token_id in range(64) if token_id not in {*first, *last, config.pad_token_id}]

    async def check(prompt: Prompt) -> None:
        states = (await engine.token_states(prompt, task=task)).states
        expected = single_vector.finish(states[0], states.shape[1])
        got = await engine.embed(prompt, dimensions=len(expected), task=task)
        if not _distance(got, expected) <= LIMIT:
            raise EngineError(
                f"vLLM does not pool this checkpoint by its first token (got {_described(got, expected)} to the right "
                "vector). Its own modules.json may ask for another pooling."
            )

    await together(check(Prompt(token_ids=(*first, *plain[:count], *last))) for count in (9, 5))


CHECKS: dict[Pooling, Check] = {"vision_span_mean": check_pooling, "first_token": check_first_token}
"""The check of each pooling."""


async def check_multi_vector(
    engine: VectorSource, config: Any, *, task: str, expected: Callable[[Floats], Floats]
) -> None:
    """Compare the engine's multi-vectors of a text and an image with ``expected`` of its token states.

    Raises:
        EngineError: They differ.
    """

    async def check(prompt: Prompt) -> None:
        rows = expected((await engine.token_states(prompt, task=task)).states)
        got = await engine.multi_vector(prompt, task=task)
        if not _distance(got, rows) <= LIMIT:
            raise EngineError(
                f"vLLM does not project multi-vectors of task {task!r} as this checkpoint needs (got "
                f"{_described(got, rows)} to the right rows). Was the plugin 'vllm_jina_embed' loaded?"
            )

    await together(check(prompt) for prompt in _prompts(config))


def _distance(got: Floats, expected: Floats) -> float:
    """Return the largest half squared distance between rows: 1 - cosine where both have L2 norm 1, more where not.

    It is NaN where a number is NaN, so only ``not _distance(...) <= LIMIT`` catches every wrong result.
    """
    if got.shape != expected.shape:
        return math.inf
    return float(np.square(got.astype(np.float64) - expected).sum(-1).max() / 2)


def _described(got: Floats, expected: Floats) -> str:
    if got.shape != expected.shape:
        return f"shape {got.shape}, not {expected.shape},"
    norms = np.linalg.norm(got.astype(np.float64), axis=-1)
    return f"L2 norms {norms.min():.4f} to {norms.max():.4f} and a distance of {_distance(got, expected):.4f}"


def _prompts(config: Any) -> tuple[Prompt, Prompt]:
    """Return a text and an image in ordinary tokens of this checkpoint."""
    span = (config.vision_start_token_id, config.image_token_id, config.vision_end_token_id)
    plain = [token_id for token_id in range(64) if token_id not in {*span, config.video_token_id}]
    image = np.random.default_rng(0).integers(0, 256, (84, 56, 3), dtype=np.uint8)
    return (
        Prompt(token_ids=tuple(plain[:9])),
        Prompt(token_ids=(*plain[9:12], *span, *plain[12:16]), images=(Image.fromarray(image),)),
    )
