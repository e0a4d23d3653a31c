"""A model without embeddings in both adapters: each call is refused with what to use instead, and no engine starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.in_memory import in_memory
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.errors import ConfigError

INSTEAD = "has a vector of each token and none of a whole item. Call embed_multi_vector, or score"
CALLS = {
    "langchain": [
        ("embed_query", "a"),
        ("embed_documents", ["a", "b"]),
        ("embed_images", [b"no image"]),
    ],
    "llama_index": [
        ("get_query_embedding", "a"),
        ("get_text_embedding", "a"),
        ("get_text_embedding_batch", ["a", "b"]),
        ("get_image_embedding", Path("no-image.png")),
    ],
}


@pytest.mark.parametrize(
    ("framework", "name", "given"), [(framework, *call) for framework, calls in CALLS.items() for call in calls]
)
def test_each_call_is_refused(tmp_path: Path, framework: str, name: str, given: Any) -> None:
    pytest.importorskip({"langchain": "langchain_core", "llama_index": "llama_index.core"}[framework])
    if framework == "langchain":
        from vllm_jina_embed.langchain import VllmJinaEmbeddings as Adapter
    else:
        from vllm_jina_embed.llama_index import VllmJinaEmbedding as Adapter  # type: ignore[assignment]
    config = {"architectures": ["ColQwen3"], "text_config": {"hidden_size": 96, "max_position_embeddings": 4096}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").write_text(make_tokenizer().to_str())
    engines: list[FakeEngine] = []
    with in_memory(engines)(tmp_path) as embedder:
        adapter = Adapter(embedder=embedder)
        with pytest.raises(ConfigError, match=INSTEAD):
            getattr(adapter, name)(given)
    assert engines == []
