"""Checks that a started reranker must pass before it serves, on pairs in the prompt of its own row.

Head: vLLM's number of a pair is what the checkpoint's own head makes of vLLM's state of the pair's token. This catches
a head of other words, or of both in the wrong order, one that was not loaded, and another token than the row's.
Token ids and attention are checked as those of every engine (``self_check``).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image

from ..checkpoints.files import Location
from ..checkpoints.ranking import RankingModel
from ..checkpoints.weights.heads import Judge, read_head
from ..errors import EngineError
from ..inputs.items import ImageItem, Item, TextItem
from ..inputs.policy import MediaPolicy
from ..prompts.base import Prompt
from ..prompts.pairs import PairBuilder, pair_builder
from .protocol import TokenStates
from .self_check import TEXTS, check_attention, check_ids, together

LIMIT = 0.1
"""Largest difference of two logits of which the greater is at most 1, else of their ratio to it. In bfloat16 they are
rounded to 0.02 or so; a head of other words gives numbers that have nothing to do with each other."""
QUERY = "what is checked at the start of an engine"
DOCUMENTS = (*TEXTS, "the head of a reranker, which makes a score of the state of one token", "yes", "no")


class ScoreSource(Protocol):
    """Computes the logits and the token states of prompts, as an ``Engine`` does."""

    async def logit(self, prompt: Prompt, *, urgent: bool = False) -> float:
        """See ``Engine.logit``."""
        ...

    async def token_states(self, prompt: Prompt, *, task: str) -> TokenStates:
        """See ``Engine.token_states``."""
        ...


async def check_ranker(engine: ScoreSource, row: RankingModel, location: Location, *, max_tokens: int) -> None:
    """Check the head, the token ids and the attention of an engine.

    Args:
        engine: The engine.
        row: What it should do.
        location: Where the checkpoint is.
        max_tokens: Longest prompt that the engine takes.

    Raises:
        EngineError: It does something else.
        ConfigError: The head cannot be read from the checkpoint.
    """
    builder = pair_builder(row, location, policy=MediaPolicy())
    await check_scores(engine, builder, read_head(location, row.head, builder.token_id), row, max_tokens=max_tokens)


async def check_scores(
    engine: ScoreSource, builder: PairBuilder, head: Judge, row: RankingModel, *, max_tokens: int
) -> None:
    """Check an engine against a head; see ``check_ranker``."""

    async def check(prompt: Prompt) -> TokenStates:
        tokens = await engine.token_states(prompt, task="")
        check_ids(prompt, tokens)
        right = head.logit(tokens.states[0 if row.pooling == "first_token" else -1])
        got = await engine.logit(prompt)
        if not abs(got - right) <= LIMIT * max(1.0, abs(right)):
            raise EngineError(
                f"vLLM does not judge pairs as this checkpoint's head does (got {got:.3f}; its own weights give "
                f"{right:.3f}). Was the plugin 'vllm_jina_embed' loaded? Check VLLM_PLUGINS, and hf_overrides "
                "of engine_kwargs; or try another version of vLLM."
            )
        return tokens

    checked = await together(map(check, check_prompts(builder, row, max_tokens)))
    check_attention(checked, row)


def check_prompts(builder: PairBuilder, row: RankingModel, max_tokens: int) -> list[Prompt]:
    """Return the prompts of pairs of texts, the first two with one beginning, and of an image where it is taken.

    Raises:
        InputError: One cannot be built.
    """
    query = TextItem(position=0, where="check", text=QUERY)
    documents: list[Item] = [TextItem(position=0, where="check", text=text) for text in DOCUMENTS]
    if row.takes_images:
        pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (84, 56, 3), dtype=np.uint8))
        documents.append(ImageItem(position=0, where="check", images=(pixels,)))
    pairs = builder.for_query(query, instruction=row.instruction, max_length=max_tokens)
    prompts = []
    for prompt in pairs.build(documents, max_length=max_tokens, truncate="end"):
        if isinstance(prompt, Exception):
            raise prompt
        prompts.append(prompt)
    return prompts
