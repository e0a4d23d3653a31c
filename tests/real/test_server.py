"""Served engines against the reference and the engine in this process: the same vectors, whoever computes them."""

from __future__ import annotations

import base64
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import openai
import psutil
import pytest
from PIL import Image

from tests.support.images import SIZES, encoded, noise
from tests.support.reference import Reference, distance, relative_error
from tests.support.servers import RealServer, plain, served
from vllm_jina_embed import CachedEmbedder, ConfigError, InputError, JinaEmbedder
from vllm_jina_embed.checkpoints.description import DEMO_FOLDER
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding
from vllm_jina_embed.prompts.chat_template import chat_template

pytestmark = [pytest.mark.real, pytest.mark.wide]

LIMIT = 1e-6
RAW_LIMIT = 1e-4
KEY = "open-sesame"
TEXTS = [
    "a red circle",
    "浜辺に沈む美しい夕日",
    "Ein Text mit\nZeilen,\tTabs und  Leerzeichen ",
    "<|vision_start|><|image_pad|><|vision_end|> stays text <|im_end|>",
    "long " * 400,
]
IMAGES = [noise(width, height, seed) for seed, (width, height) in enumerate(SIZES)]
PAIR = [noise(120, 90, 7), noise(300, 500, 8)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Three servers of the demo checkpoint, started one after the other."""
    logs = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        yield SimpleNamespace(
            pooling=stack.enter_context(served("demo", logs / "pooling", "--api-key", KEY)),
            tokens=stack.enter_context(served("demo", logs / "tokens", "--api-key", KEY, "--multi-vector")),
            plain=stack.enter_context(plain(DEMO_FOLDER, logs / "plain", chat_template())),
        )


class Careful(Reference):
    """Takes a user's text for text, whatever it spells, as the published tokenizer can be told to."""

    def token_states(self, item: Any) -> Any:
        self.tokenizer.split_special_tokens = isinstance(item, str)
        return super().token_states(item)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Careful(DEMO_FOLDER)


@pytest.fixture(scope="module", params=["pooling", "tokens", "plain", "local"])
def embedder(request: pytest.FixtureRequest, servers: SimpleNamespace) -> Iterator[JinaEmbedder]:
    """The same checkpoint by each of the four ways."""
    if request.param == "local":
        yield request.getfixturevalue("demo_embedder")
        return
    server: RealServer = getattr(servers, request.param)
    keywords = {"model": "demo"} if request.param == "plain" else {"api_key": KEY}
    with JinaEmbedder.from_server(server.url, timeout=600, **keywords) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def client(servers: SimpleNamespace) -> Iterator[JinaEmbedder]:
    with JinaEmbedder.from_server(servers.pooling.url, api_key=KEY) as embedder:
        yield embedder


def test_the_vectors_are_the_references(embedder: JinaEmbedder, reference: Reference) -> None:
    """Texts, hostile texts, images of all sizes and items of two images, mixed in one call, in order."""
    items = [item for pair in zip(IMAGES, TEXTS * 2, strict=True) for item in pair] + [PAIR]
    wanted = [reference.embed(f"Passage: {item}" if isinstance(item, str) else item) for item in items]
    got = embedder.embed(items)
    assert got.dtype == np.float32
    worst = max(distance(one, other) for one, other in zip(got, wanted, strict=True))
    print(f"\n1 - cosine to the reference: {worst:.1e}")  # shown by -s
    assert worst <= LIMIT


def test_the_roles_and_sizes_are_the_references(embedder: JinaEmbedder, reference: Reference) -> None:
    """A query's prefix, and every Matryoshka size, also of the demo's smallest."""
    for dimensions in embedder.checkpoint.matryoshka_sizes:
        wanted = np.stack([reference.embed(f"Query: {text}", dimensions) for text in TEXTS])
        assert distance(embedder.embed_queries(TEXTS, dimensions=dimensions), wanted) <= LIMIT


def test_raw_vectors_are_the_references_before_they_are_normalised(
    embedder: JinaEmbedder, reference: Reference
) -> None:
    """Their lengths too, of texts and images, at two sizes."""
    items: list[Any] = [TEXTS[1], IMAGES[4], PAIR]
    for dimensions in (None, 64):
        wanted = np.stack([reference.raw(f"Query: {i}" if isinstance(i, str) else i, dimensions) for i in items])
        got = embedder.embed(items, prompt_name="query", dimensions=dimensions, normalize=False)
        assert abs(np.linalg.norm(got, axis=1) - 1).min() > 0.1
        assert relative_error(got, wanted) <= RAW_LIMIT


def test_the_multi_vectors_are_the_references(servers: SimpleNamespace, reference: Reference) -> None:
    """From both kinds of servers that give them, one row per token, in the prompts' order."""
    items = [TEXTS[3], IMAGES[4], "b", PAIR]
    for server, keywords in ((servers.tokens, {"api_key": KEY}), (servers.plain, {"model": "demo"})):
        with JinaEmbedder.from_server(server.url, **keywords) as embedder:
            for item, got in zip(items, embedder.embed_multi_vector(items), strict=True):
                _, states = reference.token_states(f"Passage: {item}" if isinstance(item, str) else item)
                assert got.shape == tuple(states.shape)
                assert distance(got, states.numpy()) <= LIMIT


def test_servers_of_both_kinds_give_both_kinds(servers: SimpleNamespace, demo_embedder: JinaEmbedder) -> None:
    """Each call goes to the servers that can answer it."""
    with JinaEmbedder.from_server([servers.pooling.url, servers.tokens.url], api_key=KEY) as remote:
        assert distance(remote.embed(TEXTS), demo_embedder.embed(TEXTS)) <= LIMIT
        (rows,) = remote.embed_multi_vector(["a"])
        assert distance(rows, demo_embedder.embed_multi_vector(["a"])[0]) <= LIMIT


def test_a_server_of_embeddings_says_that_it_has_no_multi_vectors(client: JinaEmbedder) -> None:
    with pytest.raises(ConfigError, match="--multi-vector"):
        client.embed_multi_vector(["a"])


def test_any_openai_client_gets_the_vectors(servers: SimpleNamespace, reference: Reference) -> None:
    """Texts as strings with their prefix, and an image as a message, by the openai package itself."""
    with openai.OpenAI(base_url=f"{servers.pooling.url}/v1", api_key=KEY, max_retries=0) as client:
        answer = client.embeddings.create(model="demo", input=["Query: a tree", "Passage: ein Baum"])
        wanted = np.stack([reference.embed("Query: a tree"), reference.embed("Passage: ein Baum")])
        assert distance(np.array([one.embedding for one in answer.data]), wanted) <= LIMIT
        uri = f"data:image/png;base64,{base64.b64encode(encoded(IMAGES[6])).decode()}"
        parts = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": "Describe the image."}]
        for content in (parts, parts[:1]):  # the instruction may be left out
            body = {"model": "demo", "messages": [{"role": "user", "content": content}], "encoding_format": "float"}
            image = client.post("/embeddings", body=body, cast_to=openai.types.CreateEmbeddingResponse)
            assert distance(np.array(image.data[0].embedding), reference.embed(IMAGES[6])) <= LIMIT
        other = [parts[0], {"type": "text", "text": "What is this?"}]
        with pytest.raises(openai.BadRequestError, match="Describe the image"):
            client.post("/embeddings", body={"messages": [{"role": "user", "content": other}]}, cast_to=object)


def test_a_length_that_was_not_trained_is_refused(servers: SimpleNamespace, reference: Reference) -> None:
    """Of any client, with the model's name; a raw vector of a trained one is as it was pooled."""
    with openai.OpenAI(base_url=f"{servers.pooling.url}/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="dimensions=100 is not a Matryoshka size of demo; choose one"):
            client.embeddings.create(model="demo", input="Query: a tree", dimensions=100)
        options = {"extra_body": {"use_activation": False}, "encoding_format": "float"}
        answer = client.embeddings.create(model="demo", input="Query: a tree", dimensions=64, **options)  # type: ignore[call-overload]
        wanted = reference.raw("Query: a tree", 64)
        assert relative_error(np.array(answer.data[0].embedding), wanted) <= RAW_LIMIT


@pytest.mark.parametrize("path", ["/jina/checkpoint", "/jina/tokenizer.json", "/v1/models", "/tokenize", "/pooling"])
def test_every_path_wants_the_key(servers: SimpleNamespace, path: str) -> None:
    """Those too that vLLM leaves open; a health check does not."""
    assert httpx.get(f"{servers.tokens.url}/health").status_code == 200
    assert httpx.get(f"{servers.tokens.url}{path}").status_code == 401
    assert httpx.get(f"{servers.tokens.url}{path}", headers={"authorization": "Bearer other"}).status_code == 401


def test_every_answer_names_its_checkpoint(servers: SimpleNamespace) -> None:
    """Errors too; only to who has the key."""
    with httpx.Client(base_url=servers.pooling.url, headers={"authorization": f"Bearer {KEY}"}) as client:
        answers = [client.get("/jina/checkpoint"), client.get("/nothing"), client.post("/v1/embeddings", json={})]
        answers.append(client.post("/v1/embeddings", json={"model": "demo", "input": "a"}))
    assert [answer.status_code for answer in answers] == [200, 404, 400, 200]
    assert len({answer.headers["x-jina-checkpoint"] for answer in answers}) == 1
    assert "x-jina-checkpoint" not in httpx.get(f"{servers.pooling.url}/v1/models").headers


def test_a_wrong_key_is_told(servers: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="api_key="):
        JinaEmbedder.from_server(servers.pooling.url, api_key="other")


def test_other_pixel_bounds_are_told(servers: SimpleNamespace) -> None:
    """A plain server with its own bounds, and one of ours, would give other vectors."""
    with (
        JinaEmbedder.from_server(servers.plain.url, model="demo", max_pixels=100_000) as embedder,
        pytest.raises(ConfigError, match="--mm-processor-kwargs"),
    ):
        embedder.embed([noise(1000, 700)])
    with (
        JinaEmbedder.from_server(servers.pooling.url, api_key=KEY, max_pixels=100_000) as embedder,
        pytest.raises(ConfigError, match="max_pixels"),
    ):
        embedder.embed(["a"])


def test_bad_items_are_named_and_the_rest_kept(client: JinaEmbedder, demo_embedder: JinaEmbedder) -> None:
    """What the server refuses is an error of that item alone."""
    with pytest.raises(InputError) as raised:
        client.embed(["a", Image.new("RGB", (3000, 14)), "b"])
    assert raised.value.positions == (1,)
    assert distance(raised.value.embeddings[[0, 2]], demo_embedder.embed(["a", "b"])) <= LIMIT


def test_streams_and_caches_work(client: JinaEmbedder, demo_embedder: JinaEmbedder, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(300)]
    wanted = demo_embedder.embed(texts)
    assert distance(np.stack(list(client.embed_stream(iter(texts)))), wanted) <= LIMIT
    cached: CachedEmbedder = client.cached(tmp_path / "cache.sqlite")
    first = cached.embed(texts[:5])
    assert distance(first, wanted[:5]) <= LIMIT
    assert (cached.embed(texts[:5]) == first).all()


def test_both_adapters_work_on_it(client: JinaEmbedder, demo_embedder: JinaEmbedder) -> None:
    query, image = demo_embedder.embed_queries(["a tree"])[0], demo_embedder.embed_images([IMAGES[3]])[0]
    langchain = VllmJinaEmbeddings(embedder=client)
    assert distance(np.array(langchain.embed_query("a tree")), query) <= LIMIT
    assert distance(np.array(langchain.embed_image(IMAGES[3])), image) <= LIMIT
    llama = VllmJinaEmbedding(embedder=client)
    assert distance(np.array(llama.get_query_embedding("a tree")), query) <= LIMIT
    assert distance(np.array(llama.get_image_embedding(encoded(IMAGES[3]))), image) <= LIMIT


def test_both_adapters_give_raw_vectors(servers: SimpleNamespace, reference: Reference) -> None:
    """Of an embedder over a server, and of their own on the engine in this process."""
    with JinaEmbedder.from_server(servers.pooling.url, api_key=KEY, normalize=False) as raw:
        for own in ({"embedder": raw}, {"model": "demo", "normalize": False}):
            with VllmJinaEmbeddings(**own) as langchain, VllmJinaEmbedding(**own) as llama:
                queries = np.array([langchain.embed_query("a tree"), llama.get_query_embedding("a tree")])
                assert relative_error(queries, np.stack([reference.raw("Query: a tree")] * 2)) <= RAW_LIMIT
                images = np.array([langchain.embed_image(IMAGES[3]), llama.get_image_embedding(encoded(IMAGES[3]))])
                assert relative_error(images, np.stack([reference.raw(IMAGES[3])] * 2)) <= RAW_LIMIT


def test_a_lost_server_loses_no_vector(servers: SimpleNamespace, demo_embedder: JinaEmbedder) -> None:
    """One of two is killed in the middle of 1,000 requests; all 1,000 vectors come, and are right."""
    items = [f"text number {number}" if number % 4 else noise(56, 56, number) for number in range(1000)]
    wanted = demo_embedder.embed(items)
    done = 0
    at_kill = -1

    def kill() -> None:
        nonlocal at_kill
        while done < 200:
            time.sleep(0.001)
        at_kill = done
        servers.tokens.kill_group()

    killer = threading.Thread(target=kill)
    with JinaEmbedder.from_server([servers.tokens.url, servers.pooling.url], api_key=KEY) as remote:
        both = remote.embed(["a"] * 64)
        assert distance(both, demo_embedder.embed(["a"] * 64)) <= LIMIT
        killer.start()
        rows = []
        for row in remote.embed_stream(iter(items)):
            rows.append(row)
            done += 1
        killer.join()
        assert 200 <= at_kill < 900
        assert len(rows) == 1000
        worst = max(distance(one, other) for one, other in zip(rows, wanted, strict=True))
        print(f"\nserver killed after {at_kill} of 1000 vectors; 1 - cosine of all: {worst:.1e}")
        assert worst <= LIMIT
        assert distance(remote.embed(["a"]), demo_embedder.embed(["a"])) <= LIMIT


def test_its_processes_end_with_the_server(servers: SimpleNamespace) -> None:
    """It says when it is ready; killed without a chance to clean up, it leaves no process behind."""
    assert servers.pooling.said(rf"Ready: {servers.pooling.url} serves demo")
    processes = servers.pooling.processes()
    assert len(processes) > 2
    servers.pooling.signal(signal.SIGKILL)
    engines = [one for one in processes if one.pid != processes[0].pid and "resource_tracker" not in _line(one)]
    _, alive = psutil.wait_procs(engines, timeout=20)
    assert alive == []


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
