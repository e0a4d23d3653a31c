"""A pickled adapter in another process does not load the model a second time."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode

from tests.support.embedders import FakeEmbedder
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.llama_index import VllmJinaEmbedding

RETRIEVAL = "jinaai/jina-embeddings-v4-vllm-retrieval"
REFUSED = "sent to a worker process.*Run IngestionPipeline without num_workers"


@pytest.mark.wide
def test_a_pipeline_in_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its workers, by the first call: an error while unpickling would let multiprocessing hang for ever."""
    monkeypatch.setattr(multiprocessing, "cpu_count", lambda: 2)  # LlamaIndex's bound for num_workers
    pipeline = IngestionPipeline(transformations=[VllmJinaEmbedding(RETRIEVAL)])
    with pytest.raises(EngineError, match=REFUSED):
        pipeline.run(nodes=[TextNode(text="a"), TextNode(text="b")], num_workers=2)


async def test_an_async_pipeline_in_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same by ProcessPoolExecutor."""
    monkeypatch.setattr(multiprocessing, "cpu_count", lambda: 2)
    pipeline = IngestionPipeline(transformations=[VllmJinaEmbedding(RETRIEVAL)])
    with pytest.raises(EngineError, match=REFUSED):
        await pipeline.arun(nodes=[TextNode(text="a"), TextNode(text="b")], num_workers=2)


def sent(embedding: VllmJinaEmbedding, monkeypatch: pytest.MonkeyPatch) -> VllmJinaEmbedding:
    """Return what a worker would unpickle."""
    data = pickle.dumps(embedding)
    with monkeypatch.context() as there:
        there.setattr("os.getpid", lambda: -1)
        there.setattr(multiprocessing, "parent_process", lambda: object())
        twin: VllmJinaEmbedding = pickle.loads(data)
    return twin


@pytest.mark.parametrize(
    "ask",
    [
        lambda embedding: embedding.get_query_embedding("a"),
        lambda embedding: embedding.get_text_embedding_batch(["a"]),
        lambda embedding: embedding.get_image_embedding("a.png"),
        lambda embedding: embedding([TextNode(text="a")]),
    ],
)
def test_every_call_in_a_worker_is_refused(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of it as well."""
    twin = sent(VllmJinaEmbedding(RETRIEVAL), monkeypatch)
    assert twin.dimension == 2048, "its settings can be read"
    for one in (twin, pickle.loads(pickle.dumps(twin))):
        with pytest.raises(EngineError, match=REFUSED):
            ask(one)


def test_pickling_within_a_process_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin joins the engine of its settings; one that a worker makes for itself may start an engine there."""
    assert not pickle.loads(pickle.dumps(VllmJinaEmbedding(RETRIEVAL)))._is_sent
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    own = VllmJinaEmbedding(embedder=FakeEmbedder())
    assert own.get_query_embedding("a")
    assert not pickle.loads(pickle.dumps(VllmJinaEmbedding(RETRIEVAL)))._is_sent
