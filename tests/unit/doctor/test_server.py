"""Asking a server, on a wire in memory: what it serves, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest

from tests.support.fake_servers import FakeServers, facts_of
from tests.support.in_memory_rerankers import write_qwen3_vl
from tests.support.ranking_servers import RankingServers
from vllm_jina_embed import JinaEmbedder, JinaReranker
from vllm_jina_embed.doctor import known
from vllm_jina_embed.doctor.builds import check_vllm
from vllm_jina_embed.doctor.finding import Finding, Surroundings
from vllm_jina_embed.doctor.installed import Site
from vllm_jina_embed.doctor.probing import Probe
from vllm_jina_embed.doctor.server import check_server
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote.engine import RemoteEngine

AROUND = Surroundings(site=Site([]), probe=Probe(), environment={})


class Embedders(JinaEmbedder):
    """Reach the servers of this test."""

    _pool: ClassVar[EnginePool]


class Rerankers(JinaReranker):
    """Reach the servers of this test."""

    _pool: ClassVar[EnginePool]


def reach(monkeypatch: pytest.MonkeyPatch, transport: httpx.AsyncBaseTransport) -> Iterator[None]:
    """Let both classes reach hosts of a wire."""
    pool = EnginePool(lambda config: RemoteEngine(config, transport=transport))  # type: ignore[arg-type]
    monkeypatch.setattr(Embedders, "_pool", pool, raising=False)
    monkeypatch.setattr(Rerankers, "_pool", pool, raising=False)
    yield
    pool.close()


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServers]:
    servers = FakeServers(tokens="token_embed", plain="plain")
    yield from ((servers) for _ in reach(monkeypatch, servers.transport))


def ask(url: str, **keywords: Any) -> Finding:
    return check_server(AROUND, url, embedders=Embedders, rerankers=Rerankers, **keywords)


@pytest.fixture
def served(servers: FakeServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors of the wire are the known ones."""
    with Embedders.from_server("http://a") as embedder:
        rows = [embedder.embed_queries([known.QUERY]), embedder.embed_passages([known.PASSAGE])]
        vectors = np.concatenate([*rows, embedder.embed_images([known.image()])])
    monkeypatch.setattr(known, "known_vectors", lambda: vectors)


@pytest.mark.usefixtures("served")
def test_a_server_of_the_demo_gives_the_known_vectors() -> None:
    finding = ask("http://a")
    assert finding.status == "ok", finding
    assert finding.summary.startswith("http://a serves demo in float32; 1 - cosine to transformers' vectors is ")
    assert max(finding.details["distances"]) < 1e-5


def test_wrong_vectors_are_seen(servers: FakeServers) -> None:
    """The wire's are made up."""
    finding = ask("http://a")
    assert finding.status == "problem"
    assert "serves demo in float32, with wrong vectors: 1 - cosine to transformers' is " in finding.summary
    assert finding.mend


def test_vectors_of_another_model_are_looked_at(servers: FakeServers) -> None:
    """None is known; two texts have two vectors."""
    servers.facts = {"checkpoint": facts_of("embed")["checkpoint"] | {"name": "own/model"}}
    finding = ask("http://a")
    assert finding.status == "ok", finding
    assert finding.summary == "http://a serves own/model in float32; two texts got vectors of 128 numbers."


@pytest.mark.parametrize("row", [np.full(128, 0.5), np.full(128, np.nan), np.eye(128)[0]], ids=["long", "nan", "same"])
def test_vectors_of_another_length_or_all_the_same_are_seen(
    servers: FakeServers, monkeypatch: pytest.MonkeyPatch, row: np.ndarray
) -> None:
    servers.facts = {"checkpoint": facts_of("embed")["checkpoint"] | {"name": "own/model"}}
    monkeypatch.setattr(Embedders, "embed_queries", lambda self, texts: np.stack([row] * len(texts)))
    finding = ask("http://a")
    assert finding.status == "problem"
    assert "with wrong vectors" in finding.summary


def test_a_server_that_does_not_answer(servers: FakeServers) -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("planted")

    servers.fail = lost
    finding = ask("http://a/v1/", seconds=1)
    assert (finding.status, finding.command) == ("problem", "curl -sSI --max-time 10 http://a/health")
    assert "vllm-jina-embed serve CHECKPOINT" in finding.mend


def test_a_server_that_refuses_the_key(servers: FakeServers) -> None:
    """The error is that of the first question, and the key is not in it."""
    servers.fail = lambda request: httpx.Response(401, json={})
    finding = ask("http://a", api_key="planted-key")
    assert finding.status == "problem"
    assert "refuses the API key" in finding.summary
    assert "--api-key" in finding.mend
    assert "planted-key" not in repr(finding)


def test_a_plain_server_needs_the_name_of_its_model(servers: FakeServers) -> None:
    finding = ask("http://plain")
    assert finding.status == "problem"
    assert "Pass the checkpoint that it serves as model=" in finding.summary
    named = ask("http://plain", model="demo")
    assert "is not the trained one" in named.summary  # it is asked for vectors; the wire's template is made up


def test_a_server_of_another_model_than_the_named_one(servers: FakeServers) -> None:
    finding = ask("http://a", model="jinaai/jina-embeddings-v4-vllm-retrieval")
    assert finding.status == "problem"
    assert "expected" in finding.summary


def test_a_server_of_a_reranker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_qwen3_vl(tmp_path)
    servers = RankingServers(folder)
    for _ in reach(monkeypatch, servers.transport):
        finding = ask("http://a")
        assert finding.status == "ok", finding
        assert finding.summary.startswith("http://a serves tiny in float32, a reranker; two texts got the scores ")
        assert ask("http://a", model=str(folder)).status == "ok"
        other = ask("http://a", model="Qwen/Qwen3-Reranker-0.6B")
        assert (other.status, "serves tiny" in other.summary) == ("problem", True)


def test_a_client_needs_no_vllm(tmp_path: Path) -> None:
    around = Surroundings(site=Site([str(tmp_path)]), probe=Probe(), environment={})
    assert check_vllm(around).status == "problem"
    assert check_vllm(around, is_client=True).status == "absent"
