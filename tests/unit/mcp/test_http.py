"""The tools over HTTP: by the library's own client, with and without a key, and by whoever has none to ask."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp.server.mcpserver")

import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ImageContent, TextContent

from tests.support.fake_engine import FakeEngine, wait_until
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory
from tests.support.indexes import indexed
from vllm_jina_embed import ConfigError
from vllm_jina_embed._addresses import is_local
from vllm_jina_embed.cli import main
from vllm_jina_embed.mcp import server as server_module
from vllm_jina_embed.mcp.http import app_of, serve_http

pytestmark = [pytest.mark.fire, pytest.mark.timeout(300), pytest.mark.wide]

KEY = "a-key-that-nobody-guesses"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@dataclass
class Running:
    """A server, its URL and the engines that it started."""

    url: str
    engines: list[FakeEngine]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = {f"{n}.png": encoded(noise(1400, 1100, seed=n)) for n in range(4)}
    return indexed(tmp_path_factory.mktemp("index"), {**images, "a.md": "a note", "b.md": "another"})


@contextmanager
def running(index: Path, **options: Any) -> Iterator[Running]:
    """Serve an index by the app of ``app_of`` and uvicorn, on a free port of this machine."""
    engines: list[FakeEngine] = []
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as listening:
        patch.setattr("vllm_jina_embed.mcp.opening.embedder_of", embedder_maker(engines))
        app = app_of(server_module.server_of(index, max_side=1400, max_bytes=600_000), **options)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), seconds=60)
            yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", engines)
        finally:
            server.should_exit = True
            thread.join(60)
    assert not thread.is_alive()
    assert all(engine.closed for engine in engines)


def embedder_maker(engines: list[FakeEngine]) -> Any:
    from vllm_jina_embed.corpus import embedder_of

    def make(corpus: Any, **options: Any) -> Any:
        return embedder_of(corpus, **{**options, "make": in_memory(engines)})

    return make


@pytest.fixture(scope="module")
def guarded(index: Path) -> Iterator[Running]:
    with running(index, api_key=KEY) as found:
        yield found


@pytest.fixture(scope="module")
def unguarded(index: Path) -> Iterator[Running]:
    with running(index) as found:
        yield found


@asynccontextmanager
async def client_of(url: str, key: str | None = None, codes: list[int] | None = None) -> AsyncIterator[Client]:
    """Give the library's client; the status of each answer is noted in ``codes``."""

    async def note(answer: httpx2.Response) -> None:
        if codes is not None:
            codes.append(answer.status_code)

    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=120, event_hooks={"response": [note]}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def ask(client: Client, tool: str = "search_texts_and_images", **arguments: Any) -> list[Any]:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result
    return list(result.content)


async def check(client: Client) -> None:
    """Search and open, as over stdin and stdout; images are larger together than an event of the library may be."""
    assert {tool.name for tool in (await client.list_tools()).tools} == {"search_texts_and_images", "get_item"}
    found = await ask(client, image="2.png", count=6)
    assert isinstance(found[0], TextContent)
    assert found[0].text.startswith("[1] 2.png (id 2.png, score 1.000")
    images = [block for block in found if isinstance(block, ImageContent)]
    assert len(images) == 4
    assert sum(len(image.data) for image in images) > 1024 * 1024
    item = await ask(client, "get_item", id="2.png")
    assert isinstance(item[1], ImageContent)
    assert base64.b64decode(item[1].data)[:2] == b"\xff\xd8"
    assert (await ask(client, query="a note", count=1))[0].text


@pytest.mark.parametrize("name", ["guarded", "unguarded"])
async def test_a_client_searches_and_sees(name: str, request: pytest.FixtureRequest) -> None:
    """With the key where there is one; without, on this machine, where there is none."""
    server: Running = request.getfixturevalue(name)
    async with client_of(server.url, KEY if name == "guarded" else None) as client:
        await check(client)


async def test_two_clients_at_once_get_their_own_answers(guarded: Running) -> None:
    """Five calls of each in flight together, on one engine."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(guarded.url, KEY)) for _ in range(2)]
        calls = [ask(clients[n % 2], image=f"{n % 4}.png", count=1) for n in range(10)]
        for number, found in enumerate(await asyncio.gather(*calls)):
            assert found[0].text.startswith(f"[1] {number % 4}.png")
        await asyncio.gather(*(ask(client, query="a note", count=2) for client in clients))
    assert len(guarded.engines) == 1


async def test_large_images_arrive_whole(guarded: Running) -> None:
    """More than the 1 MiB that the library's client reads of an event."""
    uri = "data:image/png;base64," + base64.b64encode(encoded(noise(1300, 1300))).decode()
    assert len(uri) > 5_000_000
    async with client_of(guarded.url, KEY) as client:
        assert (await ask(client, image=uri, count=1))[0].text.startswith("[1] ")


@pytest.mark.parametrize("version", [{}, {"mcp-protocol-version": "2025-06-18"}])
def test_an_answer_is_json_and_never_an_event(unguarded: Running, version: dict[str, str]) -> None:
    """For clients of older protocols too: the library's own reads at most 1 MiB of an event."""
    with httpx2.Client() as http:
        answer = http.post(unguarded.url, headers={**HEADERS, **version}, json=PING)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"] == {}


@pytest.mark.parametrize("key", [None, "another", KEY[:-1], KEY + "x", KEY.upper()])
async def test_without_the_key_a_client_is_told_nothing(guarded: Running, key: str | None) -> None:
    """Whatever the library's client asks, it gets 401."""
    codes: list[int] = []
    with pytest.raises(Exception, match=r"unhandled errors|Server returned an error"):
        async with client_of(guarded.url, key, codes) as client:
            await client.list_tools()
    assert codes
    assert set(codes) == {401}


AUTHORIZATIONS: dict[str, list[tuple[str, str]]] = {
    "none": [],
    "another": [("Authorization", "Bearer another")],
    "no scheme": [("Authorization", KEY)],
    "basic": [("Authorization", f"Basic {KEY}")],
    "two": [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer another")],
    "in a query": [],
    "another header": [("X-API-Key", KEY)],
    "bytes": [("Authorization", "Bearer \xff\xfe")],
}


@pytest.mark.parametrize("name", AUTHORIZATIONS)
@pytest.mark.parametrize("path", ["/mcp", "/", "/mcp/", "/.well-known/oauth-protected-resource", "/docs"])
def test_every_path_and_method_wants_the_key(guarded: Running, path: str, name: str) -> None:
    headers = [(key.encode(), value.encode("latin-1")) for key, value in [*HEADERS.items(), *AUTHORIZATIONS[name]]]
    url = guarded.url.removesuffix("/mcp") + path + (f"?api_key={KEY}" if name == "in a query" else "")
    with httpx2.Client() as http:
        for method in ("GET", "POST", "DELETE", "OPTIONS", "PUT"):
            answer = http.request(method, url, headers=headers, json=PING if method == "POST" else None)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Bearer realm="mcp"'
            assert KEY not in answer.text


@pytest.mark.parametrize("name", ["guarded", "unguarded"])
@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("host", "evil.example", 421),
        ("host", "evil.example:80", 421),
        ("host", "127.0.0.1.evil.example:8000", 421),
        ("host", "localhost.evil.example", 421),
        ("host", "0.0.0.0:8000", 421),
        ("origin", "http://evil.example", 403),
        ("origin", "https://localhost.evil.example", 403),
        ("origin", "null", 403),
        ("host", "localhost:9000", 200),
        ("host", "[::1]:9000", 200),
        ("origin", "http://localhost:3000", 200),
    ],
)
def test_a_page_in_a_browser_of_this_machine_cannot_ask(
    name: str, header: str, value: str, status: int, request: pytest.FixtureRequest
) -> None:
    """A name of its own that leads to this machine (DNS rebinding) does not help it."""
    server: Running = request.getfixturevalue(name)
    key = {"authorization": f"Bearer {KEY}"} if name == "guarded" else {}
    with httpx2.Client() as http:
        answer = http.post(server.url, headers={**HEADERS, **key, header: value}, json=PING)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "body", [b"", b"[" * 100_000, b"{}", b"null", b"\xff\xfe", b'{"jsonrpc": "2.0", "id": 1, "method": 5}', b"[]" * 9]
)
def test_hostile_bodies_fail_nobody_else(unguarded: Running, body: bytes) -> None:
    with httpx2.Client(timeout=60) as http:
        answer = http.post(unguarded.url, headers=HEADERS, content=body)
        assert 400 <= answer.status_code < 500
        assert http.post(unguarded.url, headers=HEADERS, json=PING).status_code == 200


@pytest.mark.parametrize("name", ["guarded", "unguarded"])
def test_a_giant_body_is_refused_before_it_is_read(name: str, request: pytest.FixtureRequest) -> None:
    server: Running = request.getfixturevalue(name)
    host, port = server.url.split("/")[2].split(":")
    head = "".join(f"{key}: {value}\r\n" for key, value in {**HEADERS, "host": host}.items())
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"POST /mcp HTTP/1.1\r\n{head}content-length: {1 << 40}\r\n\r\n{{".encode())
        answer = connection.recv(100)
    assert answer.startswith(b"HTTP/1.1 401 " if name == "guarded" else b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.9", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
        ("0", False),
        ("::ffff:0.0.0.0", False),
    ],
)
def test_only_this_machine_is_served_without_a_key(index: Path, host: str, local: bool) -> None:
    assert is_local(host) == local
    if not local:
        with pytest.raises(ConfigError, match="needs a key: pass --api-key, or set VLLM_JINA_EMBED_MCP_KEY"):
            app_of(None, host=host)


def test_named_hosts_alone_are_answered(index: Path) -> None:
    """Where it is named by what name it is asked; without names the key is all that counts."""
    for names, status in ((["box.example"], {"box.example:80": 200, "evil.example": 421}), ([], {"evil.example": 200})):
        with running(index, host="0.0.0.0", api_key=KEY, allow_hosts=names) as server, httpx2.Client() as http:
            for host, expected in status.items():
                headers = {**HEADERS, "authorization": f"Bearer {KEY}", "host": host}
                assert http.post(server.url, headers=headers, json=PING).status_code == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "--host goes with --http"),
        (["--port", "1"], "--port goes with --http"),
        (["--api-key", "k"], "--api-key goes with --http"),
        (["--allow-host", "a"], "--allow-host goes with --http"),
        (["--http", "--host", "0.0.0.0"], "needs a key"),
        (["--http", "--api-key", "two words"], "without spaces"),
        (["--http", "--api-key", ""], "without spaces"),
    ],
)
def test_the_command_refuses_what_would_be_open(
    index: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is opened, in one line that shows no key."""
    assert main(["mcp", str(index), *arguments]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.count("\n") == 1
    assert "two words" not in said.err


def test_a_port_that_is_taken_is_told() -> None:
    class Server:
        def streamable_http_app(self, **options: Any) -> None: ...

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port={port} cannot be listened on"):
            serve_http(Server(), port=port)
    with pytest.raises(ConfigError, match="port=99999 cannot be listened on"):
        serve_http(Server(), port=99999)
