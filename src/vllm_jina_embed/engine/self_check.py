"""Checks that a started engine must pass before it serves, on the prompts of its own row.

Pooling: its vectors equal host pooling of its own token states, as the row says. This catches a plugin that vLLM did
not load, a version that ignores the pooler, an active prefix cache, and an adapter or a projector of another task.
Token ids: vLLM computes those that were sent, not others of its own processor.
Attention: the states of a prompt's first tokens depend on what follows, or not, as the model was trained.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from .._arrays import Floats
from ..checkpoints.description import Model
from ..checkpoints.row import Pooling, Row
from ..checkpoints.weights.token_layers import TokenLayers
from ..errors import EngineError
from ..inputs.items import ImageItem, Item, TextItem
from ..pooling import single_vector
from ..prompts.base import Builder, Prompt
from .protocol import TokenStates, VectorSource

Result = TypeVar("Result")

LIMIT = 1e-3
"""Largest ``distance``; bfloat16 rounding stays under 1e-4, another pooling or attention is over 1e-2."""
LONGEST = 256
"""Most tokens of a text's prompt here, unless prompts are filled up to the length of the model."""
TEXTS = ("a check of the engine", "a check of the engine, which begins like the other text and then ends otherwise")
"""Two lengths with one beginning, which tells the kind of attention."""
NOT_POOLED: dict[Pooling, str] = {
    "vision_span_mean": "does not average the vision spans",
    "first_token": "does not pool by the first token",
    "last_token": "does not pool by the last token",
    "mean": "does not average all tokens",
}
"""By a row's pooling, what is said of an engine that gives another vector."""


async def together(checks: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Return what checks give, run at the same time, so that vLLM batches their prompts: a step reads all weights once.

    Raises:
        EngineError: One failed, the first that did; the others are cancelled.
    """
    running = [asyncio.ensure_future(check) for check in checks]
    try:
        return await asyncio.gather(*running)
    finally:
        for check in running:
            check.cancel()


async def check_engine(
    engine: VectorSource,
    builder: Builder,
    config: Any,
    *,
    row: Model,
    task: str,
    max_tokens: int,
    layers: TokenLayers = TokenLayers(),  # noqa: B008 - frozen
) -> None:
    """Check pooling, token ids and attention on a few prompts of ``row``: texts of both roles, and an image.

    Args:
        engine: The engine.
        builder: Makes the prompts of ``row``.
        config: The checkpoint's configuration, as vLLM has read it.
        row: What the engine should do.
        task: The task of the prompts.
        max_tokens: Longest prompt that the engine takes.
        layers: What the row has on top of its token states; of a checkpoint with adapters, nothing.

    Raises:
        EngineError: The engine does something else.
    """

    async def check(prompt: Prompt) -> TokenStates:
        tokens = await engine.token_states(prompt, task=task)
        check_ids(prompt, tokens)
        if layers.projector is not None:
            await _check_rows(engine, prompt, layers.projector.multi_vector(tokens.states), task)
        if layers.weights is not None:
            await _check_weights(engine, prompt, layers.weights.token_weights(tokens.states)[:, 0], task)
        if row.pooling is not None:
            await check_pooling(prompt, tokens, row.pooling)
        return tokens

    async def check_pooling(prompt: Prompt, tokens: TokenStates, pooling: Pooling) -> None:
        pooled = _pooled(tokens, row, config)
        for size in (len(pooled), shortest(row, len(pooled))):  # the second time a prefix cache would answer
            expected = single_vector.finish(pooled, size)
            got = await engine.embed(prompt, dimensions=size, task=task)
            if not distance(got, expected) <= LIMIT:
                raise EngineError(
                    f"vLLM {NOT_POOLED[pooling]} as this checkpoint needs (got {described(got, expected)} to the "
                    "right vector). Was the plugin 'vllm_jina_embed' loaded? Check VLLM_PLUGINS, and that this package "
                    "is installed in the environment that vLLM runs in."
                )

    checked = await together(map(check, prompts_of_row(builder, row, task, max_tokens)))
    check_attention(checked, row)


def shortest(row: Model, full: int) -> int:
    """Return the shortest length that the row names."""
    return min(*row.matryoshka_sizes, row.min_dimensions or full, full)


def _pooled(tokens: TokenStates, row: Model, config: Any) -> Floats:
    """Return what the row's pooling makes of token states, not yet cut or normalised."""
    assert row.pooling is not None
    mask = None
    if row.pooling == "vision_span_mean":
        span = {"vision_start": config.vision_start_token_id, "vision_end": config.vision_end_token_id}
        mask = single_vector.vision_mask(tokens.token_ids, **span)
    return single_vector.pooled(tokens.states, row.pooling, mask=mask, layer_norm=row.layer_norm)


def check_ids(prompt: Prompt, tokens: TokenStates) -> None:
    """Check that the engine computed the tokens that were sent, the token of each image repeated.

    Raises:
        EngineError: It computed others, or has another number of states.
    """
    got, sent = _unexpanded(tokens.token_ids, prompt), _unexpanded(prompt.token_ids, prompt)
    if got != sent:
        place = _first_difference(got, sent)
        raise EngineError(
            f"vLLM computes other tokens than those sent: from place {place} on, got {list(got[place : place + 8])}, "
            f"sent {list(sent[place : place + 8])}. Its processor for this model makes tokens of the prompt anew, so "
            "that special tokens in a text would take effect. It cannot be served so; try another version of vLLM."
        )
    if len(tokens.states) != len(tokens.token_ids):
        raise EngineError(
            f"vLLM gives {len(tokens.states)} token states for {len(tokens.token_ids)} tokens; expected one for each."
        )


def _unexpanded(ids: Sequence[int], prompt: Prompt) -> tuple[int, ...]:
    """Return the ids; where ``prompt`` has images, those between its texts without repetitions next to each other."""
    if not prompt.images:
        return tuple(ids)
    before, end = prompt.around[0], len(ids) - prompt.around[1]
    if sum(prompt.around) == len(prompt.token_ids):  # the engine's own tokens stand between
        return (*ids[:before], *ids[end:])
    return (*ids[:before], *(one for one, _ in itertools.groupby(ids[before:end])), *ids[end:])


def _first_difference(ids: Sequence[int], others: Sequence[int]) -> int:
    """Return how many ids two sequences have in common before they differ."""
    pairs = enumerate(zip(ids, others, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(ids), len(others)))


def check_attention(checked: Sequence[TokenStates], row: Row) -> None:
    """Check how the states of the first two prompts differ in the tokens that both begin with.

    Nothing is checked if there are none: so few tokens may be sent that both texts are cut to the same.

    Raises:
        EngineError: They differ, and attention is causal; or they do not, and it is to both sides.
    """
    count = 0 if len(checked) == 1 else _first_difference(checked[0].token_ids, checked[1].token_ids)
    if row.attention is None or count == 0:
        return
    gap = apart(*(tokens.states[:count] for tokens in checked[:2]))
    if row.attention == "causal" and not gap <= LIMIT:
        raise EngineError(
            f"vLLM lets the first tokens of a prompt see what follows (their states are {gap:.4f} apart), but "
            "this checkpoint was trained with causal attention. If its config.json has is_causal=false, set it to "
            "true, or give the row overrides={'is_causal': True}."
        )
    if row.attention == "both" and not gap > LIMIT:
        raise EngineError(
            f"vLLM does not let the first tokens of a prompt see what follows (their states are {gap:.4f} apart), "
            "but this checkpoint was trained with attention to both sides. Give the row overrides={'is_causal': "
            "False}; where vLLM's class does not read it, it cannot serve this checkpoint."
        )


def apart(states: Floats, others: Floats) -> float:
    """Return how far the states of equal first tokens of two prompts are apart; over ``LIMIT`` they see what follows.

    Args:
        states: Of one prompt's first tokens, ``(n_tokens, hidden_size)``, not normalised.
        others: Of the other's.
    """
    return distance(single_vector.normalize(states), single_vector.normalize(others))


def prompts_of_row(builder: Builder, row: Model, task: str, max_tokens: int) -> list[Prompt]:
    """Return the different prompts of ``row``: first a query's texts of two lengths, then passages and images.

    Raises:
        InputError: One cannot be built.
        ConfigError: The longest prompt has no room for a text.
    """
    texts: list[Item] = [TextItem(position=0, where="check", text=text) for text in TEXTS]
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (84, 56, 3), dtype=np.uint8))
    images: list[Item] = [ImageItem(position=0, where="check", images=(pixels,))] * row.takes_images
    prompts: dict[tuple[tuple[int, ...], bool], Prompt] = {}
    longest = max_tokens if row.padding is not None else min(LONGEST, max_tokens)
    for role, items in (("query", [*texts, *images]), ("passage", [texts[1], *images])):
        built = builder.build(items, role=role, task=task, max_length=longest, truncate="end")
        for prompt in built:
            if isinstance(prompt, Exception):
                raise prompt
            prompts.setdefault((prompt.token_ids, bool(prompt.images)), prompt)
    return list(prompts.values())


async def check_multi_vector(
    engine: VectorSource, config: Any, *, task: str, expected: Callable[[Floats], Floats]
) -> None:
    """Compare the engine's multi-vectors of a text and an image with ``expected`` of its token states.

    Raises:
        EngineError: They differ.
    """

    async def check(prompt: Prompt) -> None:
        await _check_rows(engine, prompt, expected((await engine.token_states(prompt, task=task)).states), task)

    await together(check(prompt) for prompt in _prompts(config))


async def _check_rows(engine: VectorSource, prompt: Prompt, rows: Floats, task: str) -> None:
    """Compare the engine's multi-vector of a prompt with ``rows``."""
    got = await engine.multi_vector(prompt, task=task)
    if not distance(got, rows) <= LIMIT:
        raise EngineError(
            f"vLLM does not project multi-vectors of task {task!r} as this checkpoint needs (got "
            f"{described(got, rows)} to the right rows). Was the plugin 'vllm_jina_embed' loaded?"
        )


async def _check_weights(engine: Any, prompt: Prompt, weights: Floats, task: str) -> None:
    """Compare the engine's token weights of a prompt with ``weights`` ``(n_tokens,)``, over their L2 norm."""
    got, norm = await engine.token_weights(prompt, task=task), np.float32(np.linalg.norm(weights) or 1)
    if not distance(got / norm, weights / norm) <= LIMIT:
        raise EngineError(
            f"vLLM does not weigh tokens as this checkpoint needs (got {described(got / norm, weights / norm)} to the "
            "right weights, over their norm). Was the plugin 'vllm_jina_embed' loaded?"
        )


def distance(got: Floats, expected: Floats) -> float:
    """Return the largest half squared distance between rows: 1 - cosine where both have L2 norm 1, more where not.

    It is NaN where a number is NaN, so only ``not distance(...) <= LIMIT`` catches every wrong result.
    """
    if got.shape != expected.shape:
        return math.inf
    return float(np.square(got.astype(np.float64) - expected).sum(-1).max() / 2)


def described(got: Floats, expected: Floats) -> str:
    """Return in words how far ``got`` is from ``expected``, to stand before "to ..." in an error."""
    if got.shape != expected.shape:
        return f"shape {got.shape}, not {expected.shape},"
    norms = np.linalg.norm(got.astype(np.float64), axis=-1)
    return f"L2 norms {norms.min():.4f} to {norms.max():.4f} and a distance of {distance(got, expected):.4f}"


def _prompts(config: Any) -> tuple[Prompt, Prompt]:
    """Return a text and an image in ordinary tokens of this checkpoint."""
    span = (config.vision_start_token_id, config.image_token_id, config.vision_end_token_id)
    plain = [token_id for token_id in range(64) if token_id not in {*span, config.video_token_id}]
    image = np.random.default_rng(0).integers(0, 256, (84, 56, 3), dtype=np.uint8)
    return (
        Prompt(token_ids=tuple(plain[:9])),
        Prompt(token_ids=(*plain[9:12], *span, *plain[12:16]), images=(Image.fromarray(image),)),
    )
