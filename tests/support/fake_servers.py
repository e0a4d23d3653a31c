"""vLLM servers on a wire in memory: every prompt has its own vector, and failures are told to them."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.support.fake_engine import vector_of
from vllm_jina_embed.checkpoints import description, resolve
from vllm_jina_embed.engine.config import RemoteConfig
from vllm_jina_embed.engine.remote.messages import image_tokens
from vllm_jina_embed.inputs.images import MediaPolicy, open_image
from vllm_jina_embed.pooling.single_vector import finish, normalize
from vllm_jina_embed.prompts.base import Prompt

MAX_BODY_BYTES = 512 * 1024**2  # as in serve/arguments.py, which needs vLLM
WIDTH = 128  # of the demo checkpoint
RAW = 5  # L2 norm of an embedding that is not to be normalised
BEFORE, SPAN, AFTER = (90, 91), (92, 93, 94), (95,)


def image_prompt(*images: Image.Image) -> Prompt:
    """Return a prompt whose template's tokens are made up."""
    return Prompt(token_ids=(*BEFORE, *SPAN * len(images), *AFTER), images=images, around=(len(BEFORE), len(AFTER)))


def config_of(*urls: str, **changes: Any) -> RemoteConfig:
    """Return the configuration of servers that serve the demo checkpoint."""
    demo = resolve.resolve("demo")
    pixels = {"min_pixels": demo.min_pixels, "max_pixels": demo.max_pixels}
    keywords = {"location": "demo", "revision": None, "checkpoint": demo, **pixels, **changes}
    return RemoteConfig(servers=urls or ("http://a",), **keywords)


class FakeServers:
    """Every host of a wire; ``transport`` carries to them.

    Attributes:
        kinds: What each host is: ``embed``, ``token_embed`` or ``plain``; hosts that are not named are ``embed``.
        fail: Gives a response instead of the right one, raises, or returns None.
        facts_at: Facts of single hosts, over those of all.
        fingerprints: What each host writes into every answer, as servers of ours do; nothing where it is missing.
        requests: How many requests each host got, by path.
        bodies: The decoded bodies of all POST requests, with their host.
        images: The data URI and the RGB image of each that was sent, as our server opens it.
        most_at_once: Most POST requests that were in each host at the same time.
        both_ways: Whether a token state depends on what follows.
    """

    def __init__(
        self,
        fail: Callable[[httpx.Request], httpx.Response | None] = lambda request: None,
        delay: float = 0.0,
        facts: dict[str, Any] | None = None,
        **kinds: str,
    ) -> None:
        self.kinds, self.fail, self.delay, self.facts = kinds, fail, delay, facts or {}
        self.facts_at: dict[str, dict[str, Any]] = {}
        self.fingerprints: dict[str, str] = {}
        self.requests: Counter[tuple[str, str]] = Counter()
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.inside: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self.template_tokens = BEFORE
        self.both_ways = False
        self.images: list[tuple[str, Image.Image]] = []
        self.transport = httpx.MockTransport(self._handle)

    def posts(self, host: str) -> int:
        """Return how many questions a host got."""
        return sum(count for (at, path), count in self.requests.items() if at == host and path in PATHS)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        host, path = request.url.host, request.url.path
        self.requests[host, path] += 1
        self.inside[host] += 1
        self.most_at_once[host] = max(self.most_at_once[host], self.inside[host])
        try:
            await asyncio.sleep(self.delay)
            failure = self.fail(request)
        finally:
            self.inside[host] -= 1
        response = self._answer(host, path, request) if failure is None else failure
        if host in self.fingerprints:
            response.headers["x-jina-checkpoint"] = self.fingerprints[host]
        return response

    def _answer(self, host: str, path: str, request: httpx.Request) -> httpx.Response:
        kind = self.kinds.get(host, "embed")
        body = json.loads(request.content) if request.content else {}
        if request.method == "POST":
            self.bodies.append((host, body))
        if path == "/jina/checkpoint" and kind != "plain":
            return httpx.Response(200, json=facts_of(kind, **{**self.facts, **self.facts_at.get(host, {})}))
        if path == "/jina/tokenizer.json" and kind != "plain":
            return httpx.Response(200, content=(description.DEMO_FOLDER / "tokenizer.json").read_bytes())
        if path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "plain", "parent": None, "max_model_len": 4096}]})
        if path == "/tokenize":
            return httpx.Response(200, json={"tokens": self._ids(body)[0]})
        if path == "/v1/embeddings" and kind == "embed":
            rows = [_cut(one, body["dimensions"]) for one in self._vectors(body)]
            return _numbers("embedding", rows if body.get("use_activation", True) else [RAW * one for one in rows])
        if path == "/pooling" and kind != "embed":
            states = [self._states(ids) for ids in self._ids(body)]
            return _numbers("data", [normalize(one) for one in states] if body["use_activation"] else states)
        return httpx.Response(404, json={"detail": "Not Found"})

    def _vectors(self, body: dict[str, Any]) -> list[np.ndarray]:
        return [vector_of(Prompt(token_ids=tuple(ids)), WIDTH) for ids in self._ids(body)]

    def _states(self, ids: list[int]) -> np.ndarray:
        follows = sum(ids) if self.both_ways else 0
        return np.stack([state_of(token + 100 * follows, place) for place, token in enumerate(ids)])

    def _ids(self, body: dict[str, Any]) -> list[list[int]]:
        """Return the expanded token ids of each prompt of a body."""
        if "input" in body:
            return [list(ids) for ids in body["input"]]
        ids = list(self.template_tokens)
        for part in body["messages"][0]["content"]:
            if part["type"] == "image_url":
                count = image_tokens(*self._opened(part).size, min_pixels=3136, max_pixels=602112, side=28)
                ids += [SPAN[0], *[SPAN[1]] * count, SPAN[2]]
        return [[*ids, *AFTER]]

    def _opened(self, part: dict[str, Any]) -> Image.Image:
        """Return an image as our server opens it; a server that does not tell how it decodes gets pixels alone."""
        url = part["image_url"]["url"]
        if "decoder" not in self.facts:
            with Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
                assert (image.format, image.mode) == ("PNG", "RGB")
        self.images.append((url, open_image(url, MediaPolicy(max_bytes=MAX_BODY_BYTES, allow_local_files=False))))
        return self.images[-1][1]


class RawServer:
    """A server on a socket that answers as ``FakeServers`` do, and with bytes of its own on one path.

    Attributes:
        url: Where it is.
        sent: How many of those bytes it got rid of.
        asked: How often that path was asked for.
    """

    def __init__(self, path: str, chunks: Callable[[], Iterable[bytes]], *, pause: float = 0.0) -> None:
        self.sent = self.asked = 0
        self._path, self._chunks, self._pause = path, chunks, pause
        self._ends = threading.Event()
        fakes, server = FakeServers(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == path:
                    self.close_connection = True
                    server._send(self.wfile.write)
                    return
                response = fakes._answer(
                    "a", self.path, httpx.Request(self.command, f"http://a{self.path}", content=body)
                )
                self.send_response(response.status_code)
                self.send_header("Content-Length", str(len(response.content)))
                self.end_headers()
                self.wfile.write(response.content)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop, in the middle of an answer too."""
        self._ends.set()
        self._http.shutdown()
        self._http.server_close()

    def _send(self, write: Callable[[bytes], object]) -> None:
        self.asked += 1
        try:
            for chunk in self._chunks():
                write(chunk)
                self.sent += len(chunk)
                if self._ends.wait(self._pause) if self._pause else self._ends.is_set():
                    return
        except OSError:
            pass  # the client has had enough


PATHS = ("/v1/embeddings", "/pooling")


def facts_of(kind: str, **changes: Any) -> dict[str, Any]:
    """Return the facts that a server of the demo checkpoint tells, some of them changed."""
    checkpoint = resolve.resolve("demo")
    demo = asdict(checkpoint) | {"location": "demo"}
    del demo["options"], demo["architecture"]
    demo["dimensions"], demo["family"] = demo.pop("matryoshka_sizes"), demo.pop("row")["name"]  # the wire's names
    return {
        "checkpoint": demo, "revision": None, "files": "0123", "dtype": "float32", "pooler_task": kind,
        "projected": False, "max_tokens": 2048, "priority": True, "models": {}, "version": "0",
        "of a later version": 1, **changes,
    }  # fmt: skip


def state_of(token: int, place: int) -> np.ndarray:
    """Return the state of a token at a place in its prompt."""
    return np.random.default_rng(token * 10_000 + place).normal(size=WIDTH).astype(np.float32)


def _cut(embedding: np.ndarray, dimensions: int) -> np.ndarray:
    return embedding if dimensions == len(embedding) else finish(embedding, dimensions)


def _numbers(name: str, arrays: list[np.ndarray]) -> httpx.Response:
    """Answer in the reverse order: the index counts."""
    data = [
        {"index": index, name: base64.b64encode(array.astype("<f4").tobytes()).decode()}
        for index, array in enumerate(arrays)
    ]
    return httpx.Response(200, json={"data": data[::-1]})
