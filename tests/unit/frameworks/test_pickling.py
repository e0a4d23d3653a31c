"""Adapters and rerankers of both frameworks that were pickled with an embedder of servers, a cache, or both."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import NodeWithScore, TextNode

from tests.support.fake_servers import FakeServers, RawServer
from vllm_jina_embed import ConfigError, JinaEmbedder, MediaPolicy, langchain, llama_index
from vllm_jina_embed.engine.config import RemoteConfig
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote.engine import RemoteEngine

KEY = "sk-very-secret"
TEXTS = ["a blue square", "where the red circle is", "a"]
both = pytest.mark.parametrize(
    "adapter", [langchain.VllmJinaEmbeddings, llama_index.VllmJinaEmbedding], ids=["langchain", "llama_index"]
)
both_rerankers = pytest.mark.parametrize(
    "kind", [langchain.MaxSimReranker, llama_index.MaxSimReranker], ids=["langchain", "llama_index"]
)


class Remote(JinaEmbedder):
    """Reaches the servers of this test."""


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServers]:
    servers = FakeServers(tokens="token_embed")
    pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))
    monkeypatch.setattr(Remote, "_pool", pool)
    yield servers
    pool.close()


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def query(adapter: Any, text: str = "q") -> list[float]:
    embed = adapter.embed_query if hasattr(adapter, "embed_query") else adapter.get_query_embedding
    found: list[float] = embed(text)
    return found


@both
def test_an_adapter_asks_the_same_servers(servers: FakeServers, adapter: Any) -> None:
    """It came back as one with an engine of its own before; nothing is asked until it is used."""
    with Remote.from_server(["http://a", "http://b"], dimensions=64) as embedder:
        made = adapter(embedder=embedder)
        expected = query(made)
        data = pickle.dumps(made)
        asked = sum(servers.requests.values())
        twin = pickle.loads(data)
        assert sum(servers.requests.values()) == asked
        engine = twin._embedder.settings.engine
        assert isinstance(engine, RemoteConfig)
        assert engine.servers == ("http://a", "http://b")
        assert twin._embedder.settings == embedder.settings
        assert twin.embedder is twin._embedder
        assert twin.fingerprint == made.fingerprint
        assert twin.model_dump() == made.model_dump()
        assert query(twin) == expected
        twin.close()
        assert twin._embedder.closed
        assert not embedder.closed
        assert query(made) == expected


@both
def test_a_key_travels_only_where_it_was_asked_for(servers: FakeServers, adapter: Any) -> None:
    sent: set[str] = set()
    with Remote.from_server("http://a", api_key=KEY) as embedder:
        data = pickle.dumps(adapter(embedder=embedder))
    assert KEY.encode() not in data
    with pytest.raises(ConfigError, match="pickle_api_key=True"):
        query(pickle.loads(data))
    with Remote.from_server("http://a", api_key=KEY, pickle_api_key=True) as embedder:
        twin = pickled(adapter(embedder=embedder))

    def note(request: httpx.Request) -> None:
        sent.add(request.headers["authorization"])

    servers.fail = note
    with twin:
        query(twin)
    assert sent == {f"Bearer {KEY}"}


def test_two_adapters_of_one_embedder_are_closed_apart(servers: FakeServers) -> None:
    """Each of a pickle has its own, whatever else is in it."""
    with Remote.from_server("http://a") as embedder:
        made = [
            embedder,
            langchain.VllmJinaEmbeddings(embedder=embedder),
            llama_index.VllmJinaEmbedding(embedder=embedder),
        ]
        reranker = llama_index.MaxSimReranker(embedder=made[2])
        one, two, three, four = pickled([*made, reranker])
    one.embed(["a"])
    one.close()
    expected = query(two)
    two.close()
    assert query(three) == expected
    three.close()
    four.close()
    assert Remote._pool.running() == 0


@both
def test_a_cache_comes_along(servers: FakeServers, adapter: Any, tmp_path: Path) -> None:
    """Its hits ask nobody."""
    with Remote.from_server("http://a") as embedder, adapter(embedder=embedder).cached(tmp_path / "c.sqlite") as made:
        expected = query(made)
        data = pickle.dumps(made)
    asked = sum(servers.requests.values())
    with pickle.loads(data) as twin:
        assert query(twin) == expected
        assert sum(servers.requests.values()) == asked
        query(twin, "another text")
        assert sum(servers.requests.values()) > asked
    assert Remote._pool.running() == 0


def reranked(kind: Any) -> list[tuple[str, float]]:
    if isinstance(kind, langchain.MaxSimReranker):
        documents = kind.compress_documents([Document(text) for text in TEXTS], "q")
        return [(one.page_content, one.metadata["relevance_score"]) for one in documents]
    nodes = kind.postprocess_nodes([NodeWithScore(node=TextNode(text=text)) for text in TEXTS], query_str="q")
    return [(one.node.get_content(), one.score) for one in nodes]


@both_rerankers
@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: langchain.VllmJinaEmbeddings(embedder=e)])
def test_a_reranker_asks_the_same_servers_and_keeps_its_cache(
    servers: FakeServers, kind: Any, wrap: Any, tmp_path: Path
) -> None:
    with Remote.from_server("http://tokens") as embedder:
        with kind(embedder=wrap(embedder), cache=tmp_path / "cache.sqlite", top_n=2) as made:
            expected = reranked(made)
            data = pickle.dumps(made)
        asked = sum(servers.requests.values())
        with pickle.loads(data) as twin:
            assert twin._reranker.settings == embedder.settings
            assert twin.top_n == 2
            assert reranked(twin) == expected
            assert sum(servers.requests.values()) == asked, "the cache has every multi-vector"
        (tmp_path / "cache.sqlite").unlink()
        with pickle.loads(data) as twin:
            assert reranked(twin) == expected
            assert sum(servers.requests.values()) > asked
        assert not embedder.closed
    assert Remote._pool.running() == 0


@both_rerankers
def test_a_reranker_of_its_own_model_comes_back_as_it_was(kind: Any) -> None:
    made = kind(model="demo", top_n=3, max_length=99)
    twin = pickled(made)
    assert twin._reranker.settings == made._reranker.settings
    assert (twin.top_n, twin.embedder, twin.model_dump()) == (3, None, made.model_dump())
    twin.close()
    assert twin._own.closed
    assert not made._own.closed


@pytest.mark.wide
def test_a_pipeline_in_processes_asks_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """LlamaIndex's ``num_workers``, which is refused for an engine in the process."""
    monkeypatch.setattr(multiprocessing, "cpu_count", lambda: 2)  # LlamaIndex's bound for num_workers
    server = RawServer("/never asked for", lambda: ())
    nodes = [TextNode(text=text) for text in TEXTS]
    try:
        with JinaEmbedder.from_server(server.url, dimensions=64) as embedder:
            embedding = llama_index.VllmJinaEmbedding(embedder=embedder)
            found = IngestionPipeline(transformations=[embedding]).run(nodes=nodes, num_workers=2)
            expected = embedder.embed(TEXTS).tolist()
    finally:
        server.close()
    assert {node.get_content(): node.embedding for node in found} == dict(zip(TEXTS, expected, strict=True))


def test_json_keeps_the_servers(servers: FakeServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came back as an embedding with an engine of its own before; a key is passed anew."""
    monkeypatch.setattr(JinaEmbedder, "_pool", Remote._pool)
    settings = {"dimensions": 64, "media": MediaPolicy(allowed_root=Path("images")), "on_error": "skip"}
    with Remote.from_server(["http://a", "http://b"], timeout=7, api_key=KEY, **settings) as embedder:
        made = llama_index.VllmJinaEmbedding(embedder=embedder, embed_batch_size=9)
        expected, text, fields = query(made), made.to_json(), made.to_dict()
        fingerprint = made.fingerprint
    assert KEY not in text
    sent: set[str] = set()
    servers.fail = lambda request: sent.add(request.headers["authorization"])
    for twin in (
        llama_index.VllmJinaEmbedding.from_dict(fields, api_key=KEY),
        llama_index.VllmJinaEmbedding.from_json(text, api_key=KEY),
    ):
        with twin:
            engine = twin._embedder.settings.engine
            assert isinstance(engine, RemoteConfig)
            assert (engine.servers, engine.timeout) == (("http://a", "http://b"), 7)
            assert (twin.embed_batch_size, twin.on_error, twin.fingerprint) == (9, "skip", fingerprint)
            assert query(twin) == expected
            assert {name: value for name, value in twin.to_dict().items() if name != "run"} == {
                name: value for name, value in fields.items() if name != "run"
            }
        assert twin._embedder.closed
    assert sent == {f"Bearer {KEY}"}


def test_json_keeps_a_plain_server(servers: FakeServers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JinaEmbedder, "_pool", Remote._pool)
    with Remote.from_server("http://plain", model="demo") as embedder:
        made = llama_index.VllmJinaEmbedding(embedder=embedder)
        expected = query(made)
    with llama_index.VllmJinaEmbedding.from_dict(made.to_dict()) as twin:
        assert query(twin) == expected
