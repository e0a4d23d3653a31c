"""A server that gives no unit vectors does not start: the proof of ``vllm-jina-embed serve``, without an engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.errors import EngineError

pytest.importorskip("vllm")

import torch

from vllm_jina_embed.serve.startup_check import prove

pytestmark = pytest.mark.fire


class Client:
    """Stands for vLLM's engine client: right token states, and embeddings times a factor."""

    model_config = SimpleNamespace(max_model_len=100)

    def __init__(self, factor: float) -> None:
        self.factor = factor

    async def encode(self, request: Any, params: Any, number: str, lora_request: Any = None) -> AsyncIterator[Any]:
        assert request["type"] == "token"  # a later vLLM refuses what is not rendered
        ids = request["prompt_token_ids"]
        states = torch.stack([torch.randn(8, generator=torch.Generator().manual_seed(one)) for one in ids])
        data = states if params.task == "token_embed" else torch.nn.functional.normalize(states[0], dim=0) * self.factor
        yield SimpleNamespace(outputs=SimpleNamespace(data=data), prompt_token_ids=ids)


def state(factor: float) -> Any:
    config = SimpleNamespace(
        jina_row=["xlm-roberta", XLM_ROBERTA.digest], bos_token_id=0, eos_token_id=2, pad_token_id=1
    )
    model = SimpleNamespace(hf_config=config, pooler_config=SimpleNamespace(task="embed"))
    return SimpleNamespace(
        vllm_config=SimpleNamespace(model_config=model),
        openai_serving_models=SimpleNamespace(lora_requests={}),
        engine_client=Client(factor),
    )


async def test_unit_vectors_are_proof_enough() -> None:
    await prove(state(1.0))


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 0.0, 0.5, 37.0])
async def test_other_vectors_are_refused(factor: float) -> None:
    """A server that overflows in every vector is not ready."""
    with pytest.raises(EngineError, match="by its first token"):
        await prove(state(factor))
