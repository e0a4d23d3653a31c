"""Whole rerankers on engines in memory: a checkpoint without weights, and a class that starts ``FakeEngine``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import AddedToken

from tests.support.fake_engine import FakeEngine
from tests.support.tokenizer import KNOWN, make_tokenizer
from vllm_jina_embed import JinaReranker
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.prompts.base import Prompt

QWEN3 = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}
QWEN3_VL = {"model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"]}


def write_reranker(path: Path, config: dict[str, Any]) -> Path:
    """Write a checkpoint without weights, its facts and its tokenizer, to a folder named as its models are."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps({**config, "hidden_size": 64, "max_position_embeddings": 4096}))
    tokenizer = make_tokenizer(f"yes\nno\n{KNOWN}")
    tokenizer.add_tokens([AddedToken(token, special=False) for token in ("<think>", "</think>")])
    tokenizer.save(str(path / "tokenizer.json"))
    return path


def write_qwen3(parent: Path) -> Path:
    """Write one that takes texts."""
    return write_reranker(parent / "Qwen3-Reranker-tiny", QWEN3)


def write_qwen3_vl(parent: Path) -> Path:
    """Write one that takes texts, images, and both."""
    return write_reranker(parent / "Qwen3-VL-Reranker-tiny", QWEN3_VL)


def in_memory_reranker(
    engines: list[FakeEngine], *, fail: Callable[[Prompt], Exception | None] = lambda prompt: None
) -> type[JinaReranker]:
    """Return a class of rerankers whose engines live in memory and are noted in ``engines``."""

    def start(config: Any) -> FakeEngine:
        engines.append(FakeEngine(config, fail=fail))
        return engines[-1]

    class InMemory(JinaReranker):
        _pool: ClassVar[EnginePool] = EnginePool(start)

    return InMemory
