"""JinaReranker.from_server on a wire in memory, with no file of the checkpoint, no vLLM and no torch."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.fake_servers import FakeServers
from tests.support.images import encoded, noise
from tests.support.in_memory_rerankers import in_memory_reranker, write_qwen3_vl
from tests.support.ranking_servers import RankingServers
from vllm_jina_embed import ConfigError, EngineError, InputError, JinaEmbedder, JinaReranker
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote.engine import RemoteEngine
from vllm_jina_embed.inputs.decoder import decoder

QUERY = "where does the fox live"
DOCUMENTS = ["the fox", "a dog", "brown", "quick and brown", "the"]
MIXED: list[Any] = ["the fox", noise(64, 32, 1), {"text": "a dog", "image": noise(32, 32, 2)}]


class Remote(JinaReranker):
    """Reaches the servers of this test."""

    _pool: ClassVar[EnginePool]


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RankingServers]:
    servers = RankingServers(write_qwen3_vl(tmp_path))
    pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))  # type: ignore[arg-type]
    monkeypatch.setattr(Remote, "_pool", pool, raising=False)
    yield servers
    pool.close()


async def test_scores_and_order_are_those_of_the_same_prompts_here(servers: RankingServers) -> None:
    """Texts in one request, each item with images in one of its own, all as token ids; facts come from the server."""
    engines: list[FakeEngine] = []
    with in_memory_reranker(engines)(servers.folder) as local, Remote.from_server("http://a:1/v1/") as reranker:
        assert (reranker.model, reranker.checkpoint.row) == ("tiny", local.checkpoint.row)
        for query in (QUERY, noise(48, 48, 3)):
            right = local.score(query, MIXED)
            np.testing.assert_array_equal(reranker.score(query, MIXED), right)
            np.testing.assert_array_equal(await reranker.ascore(query, MIXED), right)
        assert reranker.rerank(QUERY, DOCUMENTS, 2) == local.rerank(QUERY, DOCUMENTS, 2)
        changed = {"instruction": "Find it"}
        np.testing.assert_array_equal(
            reranker.score(QUERY, DOCUMENTS, **changed), local.score(QUERY, DOCUMENTS, **changed)
        )
    assert servers.requests["a", "/jina/tokenizer.json"] == 1
    assert max(len(body["input"]) for body in servers.bodies if "input" in body) == len(DOCUMENTS)
    assert {body["priority"] for body in servers.bodies} == {-1}


def test_the_settings_of_a_client_are_checked_as_here(servers: RankingServers) -> None:
    strict = Remote.from_server("http://a", max_length=300, truncate="error")
    with strict, pytest.raises(InputError, match=r"items\[1\]"):
        strict.score(QUERY, ["a fox", "a fox " * 200])
    for wrong, message in (
        ({"engine_kwargs": {}}, "engine_kwargs belong to the server"),
        ({"truncate": "middle"}, "truncate"),
        ({"row": "bge-reranker"}, "but the servers serve tiny as 'qwen3-vl-reranker'"),
        ({"row": "nobody's"}, "is not a reranker's"),
        ({"max_pixels": 1}, "is larger than max_pixels"),
    ):
        with pytest.raises(ConfigError, match=message):
            Remote.from_server("http://a", **wrong)  # type: ignore[arg-type]
    other = Remote.from_server("http://a", max_pixels=50_000)
    with other, pytest.raises(ConfigError, match=r"the server has max_pixels=.*expected 50000"):
        other.score(QUERY, DOCUMENTS)


def test_a_plain_server_is_refused(servers: RankingServers) -> None:
    """Nothing tells that its scores are right."""
    servers.plain.add("a")
    with pytest.raises(ConfigError, match=r"does not tell which tokens its reranker compares.*vllm-jina-embed serve"):
        Remote.from_server("http://a")
    assert servers.bodies == []


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"family": "nobody's"}, "is unknown here"),
        ({"row_digest": "0123"}, "has digest '0123'; expected"),
        ({"row_digest": None}, "expected two names"),
        ({"pooler_task": "embed"}, "embeds items one by one.*JinaEmbedder.from_server"),
        ({"max_tokens": 0}, "max_tokens: got 0"),
        ({"min_pixels": 10**9, "max_pixels": 5}, "min_pixels: got 1000000000"),
        ({"dtype": 3}, "dtype: got 3"),
        ({"checkpoint": []}, "expected RankingCheckpoint's fields"),
    ],
)
def test_what_a_server_tells_is_checked(servers: RankingServers, facts: dict[str, Any], message: str) -> None:
    servers.facts["a"] = facts
    with pytest.raises(ConfigError, match=message):
        Remote.from_server("http://a")


def test_an_answer_of_two_numbers_is_refused(servers: RankingServers) -> None:
    """Of a head with a label each for yes and no."""
    servers.numbers = 2
    with Remote.from_server("http://a") as reranker, pytest.raises(EngineError, match=r"gave 2 numbers for a pair"):
        reranker.score(QUERY, DOCUMENTS)


@pytest.mark.parametrize("name", ["dtype", "max_pixels"])
def test_servers_that_differ_are_refused(servers: RankingServers, name: str) -> None:
    servers.facts["b"] = {name: {"dtype": "bfloat16", "max_pixels": 60_000}[name]}
    with pytest.raises(ConfigError, match=rf"the server has {name}=.*expected servers that give equal scores"):
        Remote.from_server(["http://a", "http://b"])


def test_alike_servers_share_the_work(servers: RankingServers) -> None:
    with Remote.from_server(["http://a", "http://b"]) as reranker:
        reranker.score(QUERY, [f"the fox {number}" for number in range(200)])
    assert servers.requests["a", "/pooling"] > 0
    assert servers.requests["b", "/pooling"] > 0


def test_each_kind_of_client_refuses_the_other_kind_of_server(
    servers: RankingServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Embeds(JinaEmbedder):
        _pool: ClassVar[EnginePool] = EnginePool(
            lambda config: RemoteEngine(config, transport=servers.transport)  # type: ignore[arg-type]
        )

    with pytest.raises(ConfigError, match=r"serves a reranker.*JinaReranker\.from_server"):
        Embeds.from_server("http://a")
    embedding = FakeServers()
    pool = EnginePool(lambda config: RemoteEngine(config, transport=embedding.transport))  # type: ignore[arg-type]
    monkeypatch.setattr(Remote, "_pool", pool)
    with pytest.raises(ConfigError, match=r"embeds items one by one.*JinaEmbedder\.from_server"):
        Remote.from_server("http://a")
    pool.close()


def test_a_server_that_comes_back_with_other_weights_is_refused(servers: RankingServers) -> None:
    with Remote.from_server("http://a") as reranker:
        reranker.score(QUERY, DOCUMENTS)
        servers.facts["a"] = {"files": "4567"}
        engine: Any = reranker.backend.engine
        (server,) = engine._servers
        server._sure = False  # as after a loss
        with pytest.raises(ConfigError, match=r"started anew.*files='0123', now '4567'"):
            reranker.score(QUERY, DOCUMENTS)


@pytest.mark.parametrize("is_alike", [True, False])
def test_files_of_images_are_sent_where_a_server_decodes_them_alike(servers: RankingServers, is_alike: bool) -> None:
    """That of the query too, in its place; an image without a file goes as its pixels, and scores are the same."""
    if is_alike:
        servers.decoder = decoder()
    query, document = encoded(noise(120, 70, 1), "JPEG"), encoded(noise(70, 120, 2), "JPEG")
    with in_memory_reranker([])(servers.folder) as local, Remote.from_server("http://a") as reranker:
        items: list[Any] = [document, noise(32, 32, 3), {"text": "a dog", "image": document}]
        np.testing.assert_array_equal(reranker.score(query, items), local.score(query, items))
        np.testing.assert_array_equal(reranker.score(QUERY, items), local.score(QUERY, items))
    sent = [
        [part["image_url"]["url"] for part in body["messages"][0]["content"]]
        for body in servers.bodies
        if "messages" in body
    ]
    uris = {
        f"data:image/jpeg;base64,{base64.b64encode(one).decode()}": name
        for one, name in ((query, "query"), (document, "document"))
    }
    told = sorted([uris.get(uri, uri[:15]) for uri in one] for one in sent)
    pixels = "data:image/png;"
    if is_alike:
        assert told == sorted(
            [["query", "document"], ["query", pixels], ["query", "document"], ["document"], [pixels], ["document"]]
        )
    else:
        assert told == sorted([[pixels] * 2] * 3 + [[pixels]] * 3)
