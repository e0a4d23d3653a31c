"""A server that gives no unit vectors does not start: the proof of ``vllm-jina-embed serve``, without an engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.unigram import make_unigram
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

    async def encode(self, request: Any, params: Any, number: str, **_: Any) -> AsyncIterator[Any]:
        assert request["type"] == "token"  # a later vLLM refuses what is not rendered
        ids = request["prompt_token_ids"]
        seed = torch.Generator().manual_seed(sum(ids))  # a state depends on all tokens
        states = torch.randn(len(ids), 8, generator=seed)
        data = states if params.task == "token_embed" else torch.nn.functional.normalize(states[0], dim=0) * self.factor
        yield SimpleNamespace(outputs=SimpleNamespace(data=data), prompt_token_ids=ids)


def state(factor: float, folder: Path) -> Any:
    (folder / "tokenizer.json").write_text(make_unigram().to_str())
    config = {"architectures": ["XLMRobertaModel"], "hidden_size": 8, "max_position_embeddings": 514, "pad_token_id": 1}
    (folder / "config.json").write_text(json.dumps(config))
    model = SimpleNamespace(
        hf_config=SimpleNamespace(jina_row=["xlm-roberta", XLM_ROBERTA.digest]),
        pooler_config=SimpleNamespace(task="embed"),
        model=str(folder),
        revision=None,
        max_model_len=100,
    )
    return SimpleNamespace(
        vllm_config=SimpleNamespace(model_config=model),
        openai_serving_models=SimpleNamespace(lora_requests={}),
        engine_client=Client(factor),
    )


async def test_unit_vectors_are_proof_enough(tmp_path: Path) -> None:
    await prove(state(1.0, tmp_path))


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 0.0, 0.5, 37.0])
async def test_other_vectors_are_refused(factor: float, tmp_path: Path) -> None:
    """A server that overflows in every vector is not ready."""
    with pytest.raises(EngineError, match="by the first token"):
        await prove(state(factor, tmp_path))
