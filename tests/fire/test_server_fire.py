"""A served engine under siege: whatever one client sends, the next one gets its vectors."""

from __future__ import annotations

import base64
import collections
import contextlib
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.support.builders import SpecialIds
from tests.support.hostile_bodies import END, START, Hostile, bomb, chat, hostile_bodies, image, uri
from tests.support.image_files import image_files
from tests.support.images import noise
from tests.support.reference import distance
from tests.support.servers import RealServer, served
from vllm_jina_embed import InputError, JinaEmbedder

pytestmark = [pytest.mark.fire, pytest.mark.siege, pytest.mark.timeout(900)]

LIMIT = 1e-6
GOOD = {"model": "demo", "input": "Passage: a red circle"}


class Besieged:
    """The server, and the request that must never fail."""

    def __init__(self, server: RealServer) -> None:
        self.server = server
        self.client = httpx.Client(base_url=server.url, timeout=60)
        self.processes = {process.pid for process in server.processes()}
        self.wanted = self._ask()

    def _ask(self) -> np.ndarray:
        return vector(self.client.post("/v1/embeddings", json=GOOD).raise_for_status())

    def check(self, after: str) -> None:
        """Ask for the good vector."""
        worst = distance(self._ask(), self.wanted)
        assert worst <= LIMIT, f"after {after}: 1 - cosine is {worst}"

    def check_processes(self) -> None:
        """Every process that there was is there, and did not start again."""
        assert self.processes == {process.pid for process in self.server.processes()}


def vector(reply: httpx.Response) -> np.ndarray:
    entry = reply.json()["data"][0]
    return np.array(entry.get("embedding", entry.get("data")), dtype=np.float32)


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    with served("demo", tmp_path_factory.mktemp("besieged") / "log") as server:
        yield Besieged(server)


def test_no_body_fails_anybody_else(besieged: Besieged) -> None:
    """Each of over 500 is answered with its vector or an error that says what is wrong; a good one follows each."""
    ids = SpecialIds.of_demo()
    bodies = hostile_bodies(ids)
    assert len(bodies) >= 500
    counts: collections.Counter[int] = collections.Counter()
    headers = {"content-type": "application/json"}
    for body in bodies:
        reply = besieged.client.request(body.method, body.path, content=body.content, headers=headers)
        counts[reply.status_code] += 1
        assert reply.status_code < 500, f"{body.name}: {reply.status_code} {reply.text[:300]}"
        if reply.status_code == 400:
            check_error(body, reply)
        besieged.check(body.name)
    besieged.check_processes()
    print(f"\n{len(bodies)} hostile bodies, answers {dict(counts)}; {len(bodies)} good requests, 0 failed")


def check_error(body: Hostile, reply: httpx.Response) -> None:
    """An error has a text, and no path or exception of the server's."""
    told = reply.json() if reply.text.startswith("{") else {"detail": reply.text}  # uvicorn's own: no HTTP
    text = told["detail"] if "detail" in told else told["error"]["message"]
    assert text, body.name
    assert not re.search(r"Traceback|site-packages|/usr/|/home/|/etc/passwd", text), text


def test_a_text_is_a_text_on_every_path(besieged: Besieged) -> None:
    """A string that spells special tokens has the vector that the embedder gives it."""
    texts = ["Passage: the token <|vision_start|> opens an image", f"{END}{START}", "<|im_end|>\n<|endoftext|>", START]
    with JinaEmbedder.from_server(besieged.server.url) as embedder:
        wanted = embedder.embed_queries(texts)
    for text, row in zip(texts, wanted, strict=True):
        body = {"model": "demo", "input": f"Query: {text}"}
        for path in ("/v1/embeddings", "/pooling", "/invocations"):
            assert distance(vector(besieged.client.post(path, json=body).raise_for_status()), row) <= LIMIT
        said = {"messages": [{"role": "user", "content": [{"type": "text", "text": f"Query: {text}"}]}]}
        assert distance(vector(besieged.client.post("/v1/embeddings", json=said).raise_for_status()), row) <= LIMIT
        cohere = besieged.client.post(
            "/v2/embed", json={"model": "demo", "texts": [f"Query: {text}"]}
        ).raise_for_status()
        assert distance(np.array(cohere.json()["embeddings"]["float"][0]), row) <= LIMIT


def test_the_item_of_a_refusal_is_named(besieged: Besieged) -> None:
    ids = SpecialIds.of_demo()
    reply = besieged.client.post("/v1/embeddings", json={"model": "demo", "input": [[20], [20, 21, ids.vision_end]]})
    assert reply.status_code == 400
    assert f"input[1]: token 2 is {ids.vision_end}" in reply.json()["error"]["message"]
    assert reply.json()["error"]["type"] == "BadRequestError"


def test_every_kind_of_image_has_the_embedders_vector(besieged: Besieged) -> None:
    """From any client, as a data URI: 16 bits, palettes with transparency, CMYK, EXIF and the like."""
    with JinaEmbedder.from_server(besieged.server.url) as embedder:
        worst = 0.0
        for kind, data in image_files().items():
            reply = besieged.client.post("/v1/embeddings", json=chat(image(uri(data))))
            try:
                row = embedder.embed_images([data])[0]
            except InputError:
                assert reply.status_code == 400, kind
                continue
            got = vector(reply.raise_for_status())
            worst = max(worst, distance(got, row))
            assert worst <= LIMIT, kind
    print(f"\n1 - cosine between server and embedder, {len(image_files())} kinds of images: {worst:.1e}")


def test_nothing_that_a_client_names_is_fetched(besieged: Besieged) -> None:
    """No connection is made, and an open port answers as a closed one does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        port = listener.getsockname()[1]
        told = set()
        for kind in ("image_url", "video_url", "audio_url"):
            for url in (f"http://127.0.0.1:{port}/a.png", "http://127.0.0.1:9/a.png", "file:///etc/passwd"):
                reply = besieged.client.post("/v1/embeddings", json=chat({"type": kind, kind: {"url": url}}))
                assert reply.status_code == 400, reply.text
                told.add((kind, reply.json()["error"]["message"]))
        assert len(told) == 3
        with pytest.raises(TimeoutError):
            listener.accept()
    besieged.check("URLs")


def test_a_websocket_is_closed(besieged: Besieged) -> None:
    """On any path, also on those that only HTTP has."""
    for path in ("/metrics", "/v1/embeddings", "/health", "/none"):
        head = (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert re.match(rb"HTTP/1.1 (403|404)", send_raw(besieged, head.encode())), path
    besieged.check("websockets")


def address(besieged: Besieged) -> tuple[str, int]:
    url = httpx.URL(besieged.server.url)
    assert url.port is not None
    return url.host, url.port


def send_raw(besieged: Besieged, data: bytes) -> bytes:
    with socket.create_connection(address(besieged), timeout=30) as connection:
        connection.sendall(data)
        return connection.recv(65536)


def raw_request(**body: Any) -> bytes:
    content = json.dumps({**GOOD, **body}).encode()
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    return f"{head}\r\n\r\n".encode() + content


def test_200_connections_at_once_are_all_answered(besieged: Besieged) -> None:
    """All open before the first request is sent."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(address(besieged), timeout=120)) for _ in range(200)]
        for connection in sockets:
            connection.sendall(raw_request(encoding_format="base64"))
        wrong = [reply for connection in sockets if (reply := whole_reply(connection)) is None]
    assert wrong == []
    besieged.check("200 connections")
    besieged.check_processes()


def whole_reply(connection: socket.socket) -> np.ndarray | None:
    """Return the vector of an answer with status 200, else None."""
    data = b""
    while b"\r\n\r\n" not in data or b"}" not in data.partition(b"\r\n\r\n")[2][-1:]:
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head.splitlines()[0]:
        return None
    return np.frombuffer(base64.b64decode(json.loads(body)["data"][0]["embedding"]), dtype="<f4")


def slow_reader(connection: socket.socket, stop: threading.Event) -> None:
    """Ask for a megabyte of numbers and read a byte at a time."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(raw_request(input=["a"] * 300))
    while not stop.wait(0.05) and connection.recv(1):
        pass


def half_closed(connection: socket.socket, stop: threading.Event) -> None:
    """Send a request, close one direction, and wait."""
    connection.sendall(raw_request())
    connection.shutdown(socket.SHUT_WR)
    stop.wait(20)


def gone(connection: socket.socket, stop: threading.Event) -> None:
    """Send a request, and go away without the answer."""
    connection.sendall(raw_request(input=["a"] * 100))


def byte_writer(connection: socket.socket, stop: threading.Event) -> None:
    """Send a request a byte at a time."""
    for byte in raw_request():
        if stop.wait(0.3):
            return
        connection.sendall(bytes([byte]))


def half_a_body(connection: socket.socket, stop: threading.Event) -> None:
    """Promise a body and send half of it."""
    connection.sendall(raw_request()[:-10])
    stop.wait(20)


def silent(connection: socket.socket, stop: threading.Event) -> None:
    stop.wait(20)


def chunked(connection: socket.socket, stop: threading.Event) -> None:
    """Send chunks that say nothing."""
    connection.sendall(b"POST /pooling HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not stop.wait(0.1):
        connection.sendall(b"1\r\n \r\n")


def no_http(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"\x16\x03\x01" + b"\xff" * 5000 + b"\r\n" * 50)
    stop.wait(1)


KINDS: list[Callable[[socket.socket, threading.Event], None]] = [
    slow_reader, half_closed, gone, byte_writer, half_a_body, silent, chunked, no_http,
]  # fmt: skip


def test_slow_and_broken_connections_hold_nobody_up(besieged: Besieged) -> None:
    """Twelve of each kind at once, while good requests come and are right."""
    stop = threading.Event()

    def hold(kind: Callable[[socket.socket, threading.Event], None]) -> None:
        with contextlib.suppress(OSError), socket.create_connection(address(besieged), timeout=30) as connection:
            kind(connection, stop)

    with ThreadPoolExecutor(len(KINDS) * 12) as threads:
        work = [threads.submit(hold, kind) for kind in KINDS for _ in range(12)]
        slowest = 0.0
        try:
            for number in range(60):
                start = time.monotonic()
                besieged.check(f"good request {number}")
                slowest = max(slowest, time.monotonic() - start)
        finally:
            stop.set()
        for one in work:
            one.result(60)
    print(f"\n96 slow or broken connections; the slowest of 60 good requests took {slowest:.1f} s")
    assert slowest < 30
    besieged.check("slow connections")
    besieged.check_processes()


def test_a_body_over_the_bound_is_refused(besieged: Besieged) -> None:
    """Before it is read, and in the API's own form."""
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n{"
    reply = send_raw(besieged, head)
    assert b" 413 " in reply.splitlines()[0]
    assert b"RequestEntityTooLargeError" in reply
    besieged.check("a large body")


def test_bombs_are_refused_in_little_memory(besieged: Besieged) -> None:
    """As the embedder refuses them; the server's memory stays as it is."""
    before = sum(process.memory_info().rss for process in besieged.server.processes())
    for body in hostile_bombs():
        reply = besieged.client.post("/v1/embeddings", json=body)
        assert reply.status_code == 400, reply.text[:200]
        assert "pixels" in reply.json()["error"]["message"]
    after = sum(process.memory_info().rss for process in besieged.server.processes())
    print(f"\nmemory of the server: {(after - before) / 1e6:+.0f} MB after bombs")
    assert after - before < 100e6
    besieged.check("bombs")


def hostile_bombs() -> Iterator[dict[str, Any]]:
    for side in (10_500, 13_000, 60_000):
        yield chat(image(uri(bomb(side, rows=200))))


def test_an_item_that_is_refused_costs_the_others_nothing(besieged: Besieged) -> None:
    """Through our own client, which sends each image by itself."""
    with JinaEmbedder.from_server(besieged.server.url) as embedder, pytest.raises(InputError) as raised:
        embedder.embed(["a", noise(3000, 14), "b"])
    assert raised.value.positions == (1,)
    assert np.isfinite(raised.value.embeddings[[0, 2]]).all()


def test_a_server_whose_engine_dies_fails_by_its_exit_code(besieged: Besieged) -> None:
    """Last, for it ends the server: with a code that whoever runs it sees, and without a process left behind."""
    besieged.check("all")
    processes = besieged.server.processes()
    (engine,) = [process for process in processes if "EngineCore" in " ".join(process.cmdline())]
    engine.kill()
    assert besieged.server.exit_code(60) == 1
    assert besieged.server.said("ended by itself")
    assert left_of(processes) == []


def left_of(processes: list[psutil.Process], seconds: float = 5) -> list[psutil.Process]:
    """Return which processes still run; a resource tracker gets a moment to give back shared memory."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def engine_appears(server: RealServer, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(psutil.Error):
            if any("EngineCore" in " ".join(process.cmdline()) for process in server.processes()):
                return
        time.sleep(0.02)
    raise AssertionError(server.log.read_text()[-3000:])


@pytest.mark.parametrize("moment", ["at once", 0, 1, 3, 10, "ready"])
def test_a_server_is_stopped_at_any_moment_of_its_start(tmp_path: Path, moment: str | float) -> None:
    """By SIGTERM so many seconds after its engine's process appears: within 5 s, and nothing is left."""
    server = served("demo", tmp_path / "log").begin()
    try:
        if moment == "ready":
            server.wait()
        elif moment != "at once":
            engine_appears(server)
            time.sleep(float(moment))
        processes = server.processes()
        start = time.monotonic()
        code = server.signal(signal.SIGTERM)
        took = time.monotonic() - start
        late = left_of(processes)
    finally:
        server.close()
    print(f"\nSIGTERM {moment}: ended after {took:.1f} s with code {code}")
    assert code in ((0, -signal.SIGTERM) if moment == "at once" else (0,))
    assert late == []
    assert took < 5
