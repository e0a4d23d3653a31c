"""Whole embedders on engines in memory: a checkpoint without weights, and a class that starts ``FakeEngine``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from tests.support.fake_engine import FakeEngine
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.prompts.base import Prompt


def write_folder(path: Path, *, hidden: int = 64) -> Path:
    """Write a checkpoint without weights: its facts and its tokenizer; embeddings have ``hidden`` numbers."""
    path.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "qwen2_5_vl",
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "text_config": {"hidden_size": hidden},
        "matryoshka_dims": [hidden // 4, hidden // 2, hidden],
    }
    (path / "config.json").write_text(json.dumps(config))
    make_tokenizer().save(str(path / "tokenizer.json"))
    return path


def in_memory(
    engines: list[FakeEngine], *, fail: Callable[[Prompt], Exception | None] = lambda prompt: None
) -> type[JinaEmbedder]:
    """Return a class of embedders whose engines live in memory and are noted in ``engines``."""

    def start(config: Any) -> FakeEngine:
        engines.append(FakeEngine(config, fail=fail))
        return engines[-1]

    class InMemory(JinaEmbedder):
        _pool: ClassVar[EnginePool] = EnginePool(start)

    return InMemory


class Make:
    """Makes embedders whose engines live in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engines: list[FakeEngine] = []
        self.made: list[JinaEmbedder] = []
        self.fail: Any = lambda prompt: None

    def __call__(self, **settings: Any) -> JinaEmbedder:
        embedder = in_memory(self.engines, fail=lambda prompt: self.fail(prompt))(self.folder, **settings)
        self.made.append(embedder)
        return embedder
