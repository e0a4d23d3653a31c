"""JinaEmbedder.from_server on a wire in memory, with no file of the checkpoint, no vLLM and no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.support.fake_servers import FakeServers, facts_of
from tests.support.images import noise
from vllm_jina_embed import ClosedError, ConfigError, JinaEmbedder
from vllm_jina_embed.checkpoints.prompt_pieces import Slot
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote.engine import RemoteEngine


class Remote(JinaEmbedder):
    """Reaches the servers of this test."""

    servers: ClassVar[FakeServers]


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServers]:
    servers = FakeServers(tokens="token_embed", plain="plain")
    pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))
    monkeypatch.setattr(Remote, "_pool", pool)
    yield servers
    pool.close()


def test_a_client_needs_no_file_of_the_checkpoint(servers: FakeServers) -> None:
    """Facts and tokenizer come from the server; texts, images and lists of images go there."""
    with Remote.from_server("http://a:1/v1/", dimensions=64) as embedder:
        assert (embedder.model, embedder.dimensions, embedder.task) == ("demo", 64, "retrieval")
        rows = embedder.embed(["a tree", noise(60, 60), [noise(30, 30), noise(90, 30)], "<|vision_start|>"])
    assert rows.shape == (4, 64)
    assert servers.requests["a", "/jina/tokenizer.json"] == 1
    inputs = [body["input"] for _, body in servers.bodies if "input" in body]
    assert max(len(ids) for batch in inputs for ids in batch) > 3


def test_a_text_with_its_image_is_the_mean_of_two_answers(servers: FakeServers) -> None:
    """It takes no prompt that a server lacks."""
    both = {"text": "a tree", "image": noise(60, 60)}
    with Remote.from_server("http://a", fusion="mean") as embedder:
        row, text, image = embedder.embed([both, "a tree", noise(60, 60)])
    middle = text.astype(np.float64) + image
    np.testing.assert_allclose(row, middle / np.linalg.norm(middle), atol=1e-6)


def test_vectors_may_stay_as_they_were_pooled(servers: FakeServers) -> None:
    """From a server that pools, one of token states, and a plain one; on one engine with those that are normalised."""
    for url, keywords in (("http://a", {}), ("http://tokens", {}), ("http://plain", {"model": "demo"})):
        with (
            Remote.from_server(url, normalize=False, **keywords) as raw,  # type: ignore[arg-type]
            Remote.from_server(url, **keywords) as unit,  # type: ignore[arg-type]
        ):
            (row,), (normalised,) = raw.embed(["a tree"]), unit.embed(["a tree"])
            assert abs(np.linalg.norm(row) - 1) > 0.1
            np.testing.assert_allclose(row / np.linalg.norm(row), normalised, atol=1e-6)


def test_embedders_of_the_same_servers_share_one_engine(servers: FakeServers) -> None:
    """Whatever their task, dimensions or role; another key or timeout is another engine."""
    with (
        Remote.from_server("http://a") as one,
        Remote.from_server(["http://a/"], dimensions=32) as two,
        Remote.from_server("http://a", timeout=5) as three,
    ):
        for embedder in (one, two, three):
            embedder.embed_queries(["q"])
        assert Remote._pool.running() == 2
    assert Remote._pool.running() == 0


async def test_every_call_has_its_awaited_twin(servers: FakeServers) -> None:
    async with Remote.from_server("http://tokens") as embedder:
        np.testing.assert_array_equal(await embedder.aembed(["a"]), embedder.embed(["a"]))
        (rows,) = await embedder.aembed_multi_vector(["a"])
        assert rows.shape[1] == 128
        streamed = [row async for row in embedder.aembed_stream(["a", "b"])]
        np.testing.assert_allclose(np.stack(streamed), embedder.embed(["a", "b"]), atol=1e-6)


def test_a_plain_server_needs_the_name_of_its_checkpoint(servers: FakeServers) -> None:
    with pytest.raises(ConfigError, match="model="):
        Remote.from_server("http://plain")
    with Remote.from_server("http://plain", model="demo") as embedder:
        np.testing.assert_allclose(np.linalg.norm(embedder.embed(["a", "b"]), axis=1), 1, atol=1e-6)


def test_another_checkpoint_than_the_named_one_is_told(servers: FakeServers) -> None:
    for url in ("http://plain", "http://a"):
        with (
            Remote.from_server(url, model="demo") as embedder,
            Remote.from_server(url, model="jinaai/jina-embeddings-v4-vllm-code") as other,
        ):
            other.backend.builder = embedder.backend.ready()[1]  # whose tokenizer lies in no folder here
            with pytest.raises(ConfigError, match=r"expected.*2048"):
                other.embed(["a"])


def test_a_wrong_task_is_told_before_anything_is_asked(servers: FakeServers) -> None:
    with pytest.raises(ConfigError, match="summarise"):
        Remote.from_server("http://a", task="summarise")


@pytest.mark.parametrize(
    ("urls", "keywords", "words"),
    [
        ([], {}, "got no server"),
        ("gpu-box:8000", {}, "is not a URL"),
        (["http://a", "http://b?x"], {}, "is not a URL"),
        ("http://a", {"timeout": 0}, "timeout=0"),
        ("http://a", {"timeout": True}, "timeout=True"),
        ("http://a", {"api_key": "a b"}, "api_key must be"),
        ("http://a", {"engine_kwargs": {"dtype": "float32"}}, "belong to the server"),
        ("http://a", {"dimensions": 64, "truncate_dim": 64}, "two names"),
    ],
)
def test_settings_that_no_server_can_honour(
    servers: FakeServers, urls: Any, keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Remote.from_server(urls, **keywords)


def test_an_unknown_keyword_is_an_error(servers: FakeServers) -> None:
    with pytest.raises(TypeError, match="batch_size"):
        Remote.from_server("http://a", batch_size=3)


def test_the_key_is_shown_to_the_server_and_to_nobody_else(servers: FakeServers) -> None:
    shown = set()

    def note(request: Any) -> None:
        shown.add(request.headers["authorization"])

    servers.fail = note
    with Remote.from_server("http://a", api_key="secret") as embedder:
        embedder.embed(["a"])
        assert "secret" not in repr(embedder) + repr(embedder.settings)
    assert shown == {"Bearer secret"}


def test_vectors_are_cached_by_what_the_server_serves(servers: FakeServers, tmp_path: Any) -> None:
    """A hit asks nobody; a server elsewhere with the same files has the same vectors, other weights have others."""
    with Remote.from_server("http://a").cached(tmp_path / "cache.sqlite") as cached:
        first = cached.embed(["a"])
    asked = servers.posts("a") + servers.posts("b")
    with Remote.from_server("http://b").cached(tmp_path / "cache.sqlite") as cached:
        assert (cached.embed(["a"]) == first).all()
    assert servers.posts("a") + servers.posts("b") == asked
    servers.facts = {"files": "4567"}
    with Remote.from_server("http://b").cached(tmp_path / "cache.sqlite") as cached:
        cached.embed(["a"])
    assert servers.posts("b") == 1


def test_a_closed_one_says_so(servers: FakeServers) -> None:
    embedder = Remote.from_server("http://a")
    embedder.embed(["a"])
    embedder.close()
    with pytest.raises(ClosedError):
        embedder.embed(["a"])


@pytest.mark.fire
@pytest.mark.parametrize("urls", [5, None])
def test_servers_that_are_no_list_are_named(servers: FakeServers, urls: Any) -> None:
    with pytest.raises(ConfigError, match=f"servers={urls} is a .*expected a URL"):
        Remote.from_server(urls)


def test_a_server_of_a_users_own_row_is_known_by_the_row(servers: FakeServers) -> None:
    """By ``row=``, or by the registered name; another row than the server's is refused with both digests."""
    own = replace(JINA_V4, name="own", templates=JINA_V4.templates | {("query", "text"): ("q: ", Slot.TEXT)})
    checkpoint = facts_of("embed")["checkpoint"] | {"family": "own", "row_digest": own.digest}
    servers.facts = {"checkpoint": checkpoint}
    with pytest.raises(ConfigError, match="'own' is a row that is unknown here"):
        Remote.from_server("http://a")
    with Remote.from_server("http://a", row=own) as embedder:
        assert embedder.checkpoint.row == own
        embedder.embed_queries(["a"])
    images = {("query", "image"): ("Find: ", Slot.IMAGES), ("passage", "image"): (Slot.IMAGES,)}
    both = replace(own, templates={key: own.templates[key] for key in own.templates if key[1] == "text"} | images)
    servers.facts = {"checkpoint": checkpoint | {"row_digest": both.digest}}
    with Remote.from_server("http://a", row=both) as embedder:
        for role in ("query", "passage"):
            embedder.embed([noise(56, 56)], prompt_name=role)
    choices = [body["chat_template_kwargs"]["jina_prompt"]["token_ids"] for _, body in servers.bodies[-2:]]
    assert choices[0][-3:] == choices[1]  # the query's prompt has words in front of the image's place
    assert len(choices[0]) > len(choices[1]) == 3
    servers.facts = {}
    with pytest.raises(ConfigError, match=rf"row='own' \(digest {own.digest}\), but the servers serve demo as 'jina-v"):
        Remote.from_server("http://a", row=own)
