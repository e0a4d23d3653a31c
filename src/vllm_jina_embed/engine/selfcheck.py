"""A started engine proves that it pools as it should, or does not serve.

Catches a plugin that vLLM did not load, a version that ignores the pooler, and a prefix cache that was left on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from .. import pooling
from ..errors import EngineError
from ..prompts import Prompt
from .base import Engine

LIMIT = 1e-3
"""Largest 1 - cosine; bfloat16 rounding stays under 1e-4, another pooling is over 1e-2."""


async def check_pooling(engine: Engine, config: Any, *, task: str) -> None:
    """Compare the engine's embeddings of a text and a picture with host pooling of its own token states.

    Raises:
        EngineError: They differ.
    """
    special = {config.vision_start_token_id, config.vision_end_token_id, config.image_token_id, config.video_token_id}
    plain = [token_id for token_id in range(64) if token_id not in special]
    picture = np.random.default_rng(0).integers(0, 256, (84, 56, 3), dtype=np.uint8)
    span = (config.vision_start_token_id, config.image_token_id, config.vision_end_token_id)
    prompts = (
        Prompt(token_ids=tuple(plain[:9])),
        Prompt(token_ids=(*plain[9:12], *span, *plain[12:16]), images=(Image.fromarray(picture),)),
    )
    for prompt in prompts:
        tokens = await engine.token_states(prompt, task=task)
        mask = pooling.vision_mask(tokens.token_ids, vision_start=span[0], vision_end=span[2])
        expected = pooling.finish(pooling.mean(tokens.states, mask), tokens.states.shape[1])
        for _ in range(2):  # the second time a prefix cache would have something to give
            got = await engine.embed(prompt, dimensions=len(expected), task=task)
            if 1 - float(got @ expected) > LIMIT:
                raise EngineError(
                    f"vLLM does not pool as jina-embeddings-v4 does (cosine {float(got @ expected):.4f} to the right "
                    "vector). Was the plugin 'vllm_jina_embed' loaded? Check VLLM_PLUGINS, and that this package is "
                    "installed in the environment that vLLM runs in."
                )
