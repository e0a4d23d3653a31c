"""Servers that answer slowly, endlessly or too much: every call ends in time, in little memory, with our error."""

from __future__ import annotations

import gzip
import io
import itertools
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.fake_engine import vector_of, wait_until
from tests.support.fake_servers import PATHS, WIDTH, FakeServers, RawServer, config_of, image_prompt
from tests.support.images import noise
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.engine.remote import balancer
from vllm_jina_embed.engine.remote.engine import RemoteEngine
from vllm_jina_embed.errors import EngineDeadError, EngineError, VllmJinaError
from vllm_jina_embed.prompts.base import Prompt

pytestmark = [pytest.mark.fire, pytest.mark.wide]

Chunks = Callable[[], Iterable[bytes]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MEGABYTE = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
FACTS, TOKENIZER, EMBEDDINGS = "/jina/checkpoint", "/jina/tokenizer.json", "/v1/embeddings"


def drip() -> Iterator[bytes]:
    yield OK + b"Content-Length: 100000\r\n\r\n"
    yield from itertools.repeat(b" ")


def dripping_headers() -> Iterator[bytes]:
    yield OK
    yield from itertools.repeat(b"X-A: b\r\n")


def dripping_error() -> Iterator[bytes]:
    yield b"HTTP/1.1 503 Later\r\nContent-Length: 100000\r\n\r\n"
    yield from itertools.repeat(b"a")


def informational() -> Iterator[bytes]:
    return itertools.repeat(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")


def silence() -> Iterator[bytes]:
    return itertools.repeat(b"")


def endless_headers() -> Iterator[bytes]:
    yield OK
    yield from itertools.repeat(b"X-A: " + b"b" * 10_000 + b"\r\n")


def endless_line() -> Iterator[bytes]:
    return itertools.repeat(b"a" * 10_000)


def endless() -> Iterator[bytes]:
    yield CHUNKED
    yield from itertools.repeat(MEGABYTE)


def endless_error() -> Iterator[bytes]:
    yield CHUNKED.replace(b"200 OK", b"400 Bad")
    yield from itertools.repeat(MEGABYTE)


def bomb(*, layers: int = 1) -> bytes:
    """Return 64 MB of zeros, compressed."""
    data = io.BytesIO()
    with gzip.GzipFile(fileobj=data, mode="wb") as file:
        for _ in range(64):
            file.write(bytes(1_000_000))
    body = data.getvalue()
    for _ in range(layers - 1):
        body = gzip.compress(body)
    return body


def compressed(body: bytes, encoding: bytes) -> Chunks:
    head = b"Content-Encoding: " + encoding + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    return lambda: [OK + head, body]


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start servers that are stopped at the end."""
    servers: list[RawServer] = []

    def begin(path: str, chunks: Chunks, *, pause: float = 0.0) -> RawServer:
        servers.append(RawServer(path, chunks, pause=pause))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Shorten all pauses alike: the longest is a sixth of the patience, as it is by default."""
    monkeypatch.setattr(balancer, "REST", seconds / 120)
    monkeypatch.setattr(balancer, "LONGEST_REST", seconds / 6)
    monkeypatch.setattr(balancer, "PATIENCE", seconds)
    monkeypatch.setattr(balancer, "HURRY", seconds)


def call(server: RawServer, *, timeout: float) -> float:
    """Embed one text; return the seconds that it takes to become one of our errors, which names the server.

    On a busy machine a short timeout may end one of the requests before the hostile one: then it is done again.
    """
    while True:
        begin = time.monotonic()
        with (
            pytest.raises(VllmJinaError, match=server.url),
            JinaEmbedder.from_server(server.url, timeout=timeout) as embedder,
        ):
            embedder.embed(["a"])
        if server.asked:
            return time.monotonic() - begin


@pytest.mark.parametrize(
    ("path", "chunks"),
    [(path, drip) for path in (FACTS, TOKENIZER, EMBEDDINGS)]
    + [(EMBEDDINGS, chunks) for chunks in (dripping_headers, dripping_error, informational, silence)],
)
def test_a_request_ends_after_the_timeout_however_little_comes(
    serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch, path: str, chunks: Chunks
) -> None:
    """A byte at a time, in the body, the headers, or before them: one try, one more, and it is over."""
    patience(monkeypatch, 0.2)
    assert 0.5 <= call(serve(path, chunks, pause=0.05), timeout=0.5) < 10


@pytest.mark.parametrize(
    ("path", "chunks"),
    [(path, endless) for path in (FACTS, TOKENIZER, EMBEDDINGS)]
    + [(EMBEDDINGS, chunks) for chunks in (endless_headers, endless_line, endless_error)],
)
def test_an_answer_without_end_is_not_read_on(
    serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch, path: str, chunks: Chunks
) -> None:
    """What is read is bounded by what was asked for, not by the timeout."""
    patience(monkeypatch, 0.2)
    server = serve(path, chunks)
    assert call(server, timeout=60) < 50
    most = 200e6 if path == TOKENIZER and chunks is endless else 20e6
    assert server.sent / server.asked < most


def test_a_flood_of_early_hints_ends_after_the_timeout(
    serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers before the answer, without a pause."""
    patience(monkeypatch, 0.2)
    assert call(serve(EMBEDDINGS, informational), timeout=0.5) < 10


@pytest.mark.parametrize(("layers", "encoding"), [(1, b"gzip"), (2, b"gzip, gzip"), (2, b"gzip")])
def test_a_compressed_bomb_is_not_unpacked(
    serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch, layers: int, encoding: bytes
) -> None:
    """Of 64 MB of zeros, a few are ever held."""
    patience(monkeypatch, 0.2)
    server = serve(EMBEDDINGS, compressed(bomb(layers=layers), encoding))
    with JinaEmbedder.from_server(server.url) as embedder:
        embedder.backend.ready()
        tracemalloc.start()
        try:
            with pytest.raises(EngineError, match=server.url):
                embedder.embed(["a"])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [(b"garbage", b"gzip", "cannot be decompressed"), (b"{}", b"br", "Content-Encoding 'br'"),
     (gzip.compress(b"{}", mtime=0)[:9], b"gzip", "no JSON")],
)  # fmt: skip
def test_a_body_that_cannot_be_unpacked_is_told(
    serve: Callable[..., RawServer], body: bytes, encoding: bytes, words: str
) -> None:
    server = serve(EMBEDDINGS, compressed(body, encoding))
    with JinaEmbedder.from_server(server.url) as embedder, pytest.raises(EngineError, match=words):
        embedder.embed(["a"])


def test_a_proxy_that_compresses_unasked_is_understood(serve: Callable[..., RawServer]) -> None:
    """The client asks for plain answers; gzip is read all the same."""
    fakes = FakeServers()
    facts = fakes._answer("a", FACTS, httpx.Request("GET", f"http://a{FACTS}")).content
    server = serve(FACTS, compressed(gzip.compress(facts), b"gzip"))
    with JinaEmbedder.from_server(server.url) as embedder:
        assert embedder.embed(["a"]).shape == (1, WIDTH)


# --- waits ----------------------------------------------------------------------------------------------------------


def engine_of(servers: FakeServers, *urls: str, **changes: Any) -> RemoteEngine:
    return RemoteEngine(config_of(*urls, **changes), transport=servers.transport)


def ask(engine: RemoteEngine, *ids: int) -> Any:
    """Return the vector or the error, and the seconds until it came."""
    begin = time.monotonic()
    future = engine.run(engine.embed(Prompt(token_ids=ids), dimensions=WIDTH, task="retrieval"))
    error = future.exception(timeout=20)
    return error or future.result(), time.monotonic() - begin


@pytest.mark.parametrize("wait", ["3600", "inf", "1e400", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "nan", "-1"])
def test_a_retry_after_is_obeyed_for_the_patience_at_most(monkeypatch: pytest.MonkeyPatch, wait: str) -> None:
    """A server that asks for an hour, once, is asked again by the next call at the latest."""
    patience(monkeypatch, 0.5)
    failures = iter([httpx.Response(503, headers={"retry-after": wait})])
    servers = FakeServers()
    with closing(engine_of(servers)) as engine:
        servers.fail = lambda request: next(failures, None) if request.url.path in PATHS else None
        answers = [ask(engine, 1) for _ in range(2)]
    np.testing.assert_array_equal(answers[-1][0], vector_of(Prompt(token_ids=(1,)), WIDTH))
    assert max(seconds for _, seconds in answers) < 10


@pytest.mark.parametrize("took", [0.0, 0.3])
@pytest.mark.parametrize("hosts", [1, 3])
def test_each_call_on_dead_servers_ends_within_the_patience(
    monkeypatch: pytest.MonkeyPatch, took: float, hosts: int
) -> None:
    """The first and all later ones, whether a connection is refused at once or does not come up."""
    patience(monkeypatch, 1.0)
    monkeypatch.setattr(balancer, "LONGEST_REST", 1.0)
    servers = FakeServers()
    dead = False

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if dead:
            raise httpx.ConnectError("refused", request=request)
        return None

    servers.fail = refuse
    with closing(engine_of(servers, *[f"http://host{number}" for number in range(hosts)])) as engine:
        dead, servers.delay = True, took
        answers = [ask(engine, number) for number in range(4)]
        assert all(isinstance(error, EngineDeadError) for error, _ in answers)
        assert all("refused" in str(error) and "http://host0" in str(error) for error, _ in answers)
        assert max(seconds for _, seconds in answers) < 1.7
        dead, servers.delay = False, 0.0
        wait_until(lambda: all(one.rests_until < time.monotonic() for one in engine._servers))
        (back, _) = ask(engine, 9)
        np.testing.assert_array_equal(back, vector_of(Prompt(token_ids=(9,)), WIDTH))


def test_a_server_that_needs_most_of_the_patience_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried until the end, not given up half-way because the pauses grow."""
    patience(monkeypatch, 1.2)
    back = 0.0
    servers = FakeServers()
    with closing(engine_of(servers)) as engine:

        def refuse(request: httpx.Request) -> httpx.Response | None:
            if time.monotonic() < back:
                raise httpx.ConnectError("refused", request=request)
            return None

        servers.fail, back = refuse, time.monotonic() + 0.95
        answer, _ = ask(engine, 1)
    np.testing.assert_array_equal(answer, vector_of(Prompt(token_ids=(1,)), WIDTH))


def test_those_who_wait_for_a_slow_answer_are_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was lost and works again on one request has not died of it, however long that takes."""
    patience(monkeypatch, 0.3)
    servers = FakeServers()
    with closing(engine_of(servers)) as engine:
        failures = iter([httpx.Response(503)])
        servers.fail, servers.delay = (lambda request: next(failures, None)), 0.9
        ids = [tuple([number] * 1500) for number in (1, 2, 3)]
        calls = [engine.run(engine.embed(Prompt(token_ids=i), dimensions=WIDTH, task="retrieval")) for i in ids]
        for one, future in zip(ids, calls, strict=True):
            np.testing.assert_array_equal(future.result(timeout=20), vector_of(Prompt(token_ids=one), WIDTH))


def test_a_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was lost and then refuses an item is well again."""
    patience(monkeypatch, 0.5)
    answers = iter([httpx.Response(503), httpx.Response(400)])
    servers = FakeServers()
    with closing(engine_of(servers)) as engine:
        servers.fail = lambda request: next(answers, None)
        ask(engine, 1)
        assert engine._servers[0].failures == 0


def test_a_tokenizer_that_is_lost_for_a_moment_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    patience(monkeypatch, 0.5)
    failures = iter([httpx.Response(503)])
    servers = FakeServers(fail=lambda request: next(failures, None) if request.url.path == TOKENIZER else None)
    with closing(engine_of(servers, location="")) as engine:  # servers that were not asked yet
        _, tokenizer = engine.facts()
    assert tokenizer.startswith(b"{")


def test_an_image_of_many_more_tokens_than_trained_is_another_prompt() -> None:
    """An answer too large to be read still tells what is wrong with the server."""
    servers = FakeServers(a="plain")
    with closing(engine_of(servers)) as engine:
        ask(engine, 1)
        servers.template_tokens = (90,) * 5000
        prompt = image_prompt(noise(56, 56))
        future = engine.run(engine.embed(prompt, dimensions=WIDTH, task="retrieval"))
        with pytest.raises(ConfigError, match="many more tokens"):
            future.result(timeout=20)
