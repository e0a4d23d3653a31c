"""VllmJinaEmbedding translates LlamaIndex's calls, and nothing else."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import QueryBundle, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.embeddings.utils import resolve_embed_model
from llama_index.core.schema import TextNode

from tests.support.embedders import FakeEmbedder
from vllm_jina_embed import MediaPolicy
from vllm_jina_embed.llama_index import VllmJinaEmbedding

RETRIEVAL = "jinaai/jina-embeddings-v4-vllm-retrieval"


def test_the_model_name_comes_first_as_in_other_embeddings() -> None:
    """VllmJinaEmbedding("name") and the keyword give the same."""
    assert VllmJinaEmbedding(RETRIEVAL).model_name == VllmJinaEmbedding(model_name=RETRIEVAL).model_name == RETRIEVAL
    with pytest.raises(ValueError, match="Extra inputs"):
        VllmJinaEmbedding(RETRIEVAL, model=RETRIEVAL)


def test_it_fits_where_llama_index_wants_an_embedding(embedding: VllmJinaEmbedding) -> None:
    """MultiModalVectorStoreIndex needs a MultiModalEmbedding; everything else a BaseEmbedding."""
    assert isinstance(embedding, MultiModalEmbedding)
    assert isinstance(embedding, BaseEmbedding)
    assert resolve_embed_model(embedding, callback_manager=CallbackManager([])) is embedding
    assert VllmJinaEmbedding.class_name() == "VllmJinaEmbedding"


async def test_every_method_asks_for_the_right_role(embedding: VllmJinaEmbedding, fake: FakeEmbedder) -> None:
    """Queries are queries, texts are passages, images are images; sync calls the sync core, async awaits."""
    assert embedding.get_query_embedding("a") == fake.vector("query", "a")
    assert await embedding.aget_query_embedding("a") == fake.vector("query", "a")
    assert embedding.get_text_embedding("a") == fake.vector("passage", "a")
    assert await embedding.aget_text_embedding("a") == fake.vector("passage", "a")
    assert embedding.get_image_embedding("a.png") == fake.vector("image", "a.png")
    assert await embedding.aget_image_embedding("a.png") == fake.vector("image", "a.png")
    assert [was_awaited for _, _, was_awaited in fake.calls] == [False, True] * 3


async def test_batches_keep_the_order(embedding: VllmJinaEmbedding, fake: FakeEmbedder) -> None:
    """Five batch calls of LlamaIndex, five right lists."""
    texts, images = ["c", "a", "b"], ["c.png", "a.png"]
    passages = [fake.vector("passage", text) for text in texts]
    rows = [fake.vector("image", image) for image in images]
    assert embedding.get_text_embedding_batch(texts) == await embedding.aget_text_embedding_batch(texts) == passages
    assert await embedding.aget_text_embedding_batch(texts, show_progress=True) == passages
    assert embedding.get_image_embedding_batch(images) == rows
    assert await embedding.aget_image_embedding_batch(images) == rows


async def test_nothing_in_nothing_out(embedding: VllmJinaEmbedding, fake: FakeEmbedder) -> None:
    """An empty list is an empty list."""
    assert embedding.get_text_embedding_batch([]) == await embedding.aget_text_embedding_batch([]) == []
    assert embedding.get_image_embedding_batch([]) == await embedding.aget_image_embedding_batch([]) == []
    assert fake.calls == []


@pytest.mark.parametrize(("keywords", "sizes"), [({}, [128, 128, 44]), ({"embed_batch_size": 300}, [300])])
async def test_batches_are_large_enough_for_vllm(keywords: dict[str, Any], sizes: list[int]) -> None:
    """LlamaIndex's default of 10 starves vLLM; a batch arrives in one call of the core, never as single calls."""
    fake = FakeEmbedder()
    embedding = VllmJinaEmbedding(embedder=fake, **keywords)
    items = [f"{number}.png" for number in range(300)]
    embedding.get_text_embedding_batch(items)
    embedding.get_image_embedding_batch(items)
    await embedding.aget_text_embedding_batch(items)
    await embedding.aget_image_embedding_batch(items)
    assert [len(values) for _, values, _ in fake.calls] == sizes * 4


def test_vectors_are_lists_of_python_floats(embedding: VllmJinaEmbedding) -> None:
    """Stores persist them as JSON, which refuses numpy's floats."""
    image = BytesIO(b"bytes")
    vectors = [embedding.get_query_embedding("a"), embedding.get_text_embedding("a")]
    for vector in (*vectors, embedding.get_image_embedding(image)):
        assert type(vector) is list
        assert {type(value) for value in vector} == {float}
        assert json.loads(json.dumps(vector)) == vector


def test_observers_see_no_path_and_no_setting(tmp_path: Path) -> None:
    """Events and callbacks carry to_payload(); a folder shows as its last name, engine settings not at all."""
    folder = tmp_path / "secret" / "my-checkpoint"
    folder.mkdir(parents=True)
    config = {"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"], "hidden_size": 128}
    (folder / "config.json").write_text(json.dumps(config))
    fake = FakeEmbedder(model=folder)
    handler = LlamaDebugHandler(print_trace_on_end=False)
    embedding = VllmJinaEmbedding(embedder=fake, callback_manager=CallbackManager([handler]))
    embedding.get_text_embedding("a")
    embedding.get_image_embedding("a.png")
    started = [start for start, _ in handler.get_event_pairs(CBEventType.EMBEDDING)]
    assert len(started) == 2
    assert "secret" not in repr([event.payload for event in started])
    assert embedding.to_payload() == {
        "class_name": "VllmJinaEmbedding",
        "model_name": "my-checkpoint",
        "embed_batch_size": 128,
        "task": "retrieval",
        "dimensions": 128,
    }
    published = VllmJinaEmbedding(RETRIEVAL, engine_kwargs={"hf_token": "secret"})
    assert published.to_payload()["model_name"] == RETRIEVAL
    assert "secret" not in repr(published.to_payload())


def test_json_and_back() -> None:
    """LlamaIndex serialises components with to_json, which knows no pathlib.Path, and reads them with from_json."""
    embedding = VllmJinaEmbedding(RETRIEVAL, dimensions=256, media=MediaPolicy(allowed_root=Path("images")))
    twin = VllmJinaEmbedding.from_json(embedding.to_json())
    assert twin.to_dict() == embedding.to_dict()
    assert twin.fingerprint == embedding.fingerprint


@pytest.mark.parametrize(
    "change", [{"dimensions": 128}, {"max_pixels": 50_000}, {"truncate": "start"}, {"max_length": 9}]
)
def test_what_changes_vectors_changes_the_dump(change: dict[str, Any]) -> None:
    """IngestionPipeline's cache key is the dump, so nothing that decides a vector may be missing from it."""
    assert VllmJinaEmbedding(RETRIEVAL, **change).to_dict() != VllmJinaEmbedding(RETRIEVAL).to_dict()
    changed, plain = FakeEmbedder(**{"dimensions": 256, **change}), FakeEmbedder(dimensions=256)
    assert VllmJinaEmbedding(embedder=changed).to_dict() != VllmJinaEmbedding(embedder=plain).to_dict()


def test_an_index_stores_passages_and_asks_by_query(embedding: VllmJinaEmbedding, fake: FakeEmbedder) -> None:
    """A plain VectorStoreIndex on the default store."""
    index = VectorStoreIndex([TextNode(text=text) for text in ("a", "b", "c")], embed_model=embedding)
    assert fake.calls == [("mixed passage", ["a", "b", "c"], False)]
    retriever = index.as_retriever(similarity_top_k=1)
    found = retriever.retrieve(QueryBundle("", embedding=fake.vector("passage", "b")))
    assert [result.node.get_content() for result in found] == ["b"]
    retriever.retrieve("question")
    assert fake.calls[-1] == ("mixed query", ["question"], False)
