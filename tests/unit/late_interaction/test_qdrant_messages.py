"""What a Qdrant server is sent: by the sync client and by the async one, over HTTP, to a server that notes it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from typing import Any

import pytest
from qdrant_client import models
from qdrant_client.http.exceptions import UnexpectedResponse

from tests.unit.late_interaction.conftest import MakeIndex
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.errors import ConfigError, EngineError
from vllm_jina_embed.late_interaction import Storage, batches
from vllm_jina_embed.late_interaction.qdrant_messages import ID_KEY

pytestmark = pytest.mark.wide

Request = tuple[str, str, Any]
HIT = {"id": "0", "version": 1, "score": 7.5, "payload": {"page": 3, ID_KEY: "report"}}
COLLECTION = "/collections/items"


class Server:
    """Answers as Qdrant does and notes every request.

    Attributes:
        requests: Method, path and body of each but the first, which asks for the version.
        delay: Seconds that writing points takes.
        refuse: Which write of points is answered with an error, counted from 1.
    """

    delay = 0.0
    refuse = 0

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._vectors: dict[str, Any] = {}
        self._metadata: dict[str, Any] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_PUT(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def do_POST(self) -> None:
                self.do_PUT()

            def _answer(self, body: Any) -> None:
                path = self.path.split("?")[0]
                found = json.dumps(server.answer(self.command, path, body)).encode()
                writes = len(server.sent("PUT", f"{COLLECTION}/points"))
                bad = (self.command, path) == ("PUT", f"{COLLECTION}/points") and writes == server.refuse
                self.send_response(500 if bad else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def answer(self, method: str, path: str, body: Any) -> Any:
        if path == "/":
            return {"title": "qdrant", "version": version("qdrant-client")}
        if (method, path) == ("PUT", f"{COLLECTION}/points"):
            time.sleep(self.delay)
        self.requests.append((method, path, body))
        if (method, path) == ("PUT", COLLECTION):
            self._vectors, self._metadata = body["vectors"], body["metadata"]
        return {"result": self._result(method, path), "status": "ok", "time": 0.0}

    def _result(self, method: str, path: str) -> Any:
        if path.endswith("/exists"):
            return {"exists": bool(self._vectors)}
        if path.endswith("/query"):
            return {"points": [HIT]}
        if method == "GET":
            config = {
                "params": {"vectors": self._vectors},
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
                "optimizer_config": {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000,
                                     "default_segment_number": 0, "flush_interval_sec": 5},
                "metadata": self._metadata,
            }  # fmt: skip
            return {"status": "green", "optimizer_status": "ok", "segments_count": 1, "config": config,
                    "payload_schema": {}}  # fmt: skip
        return True if path == COLLECTION else {"operation_id": 1, "status": "completed"}

    def sent(self, method: str, path: str) -> list[Any]:
        """Return the bodies of these requests."""
        return [body for *request, body in self.requests if request == [method, path]]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_collection_has_a_graph_for_the_first_stage_alone(server: Server, make: MakeIndex) -> None:
    storage = Storage(datatype="float16", quantization="scalar", on_disk=True)
    make(url=server.url, dimensions=32, storage=storage).add(["a"])
    (body,) = server.sent("PUT", COLLECTION)
    kept = {
        "datatype": "float16",
        "on_disk": True,
        "quantization_config": {"scalar": {"type": "int8", "always_ram": True}},
    }
    assert body["vectors"] == {
        "embedding": {"size": 32, "distance": "Cosine", **kept},
        "multi_vector": {
            "size": 64,
            "distance": "Dot",
            "multivector_config": {"comparator": "max_sim"},
            "hnsw_config": {"m": 0},
            **kept,
        },
    }


def test_a_quantised_copy_is_searched_first_and_checked(server: Server, make: MakeIndex) -> None:
    make(url=server.url, storage=Storage(quantization="binary", oversampling=2.5)).search("a")
    (body,) = server.sent("PUT", COLLECTION)
    assert body["vectors"]["multi_vector"]["quantization_config"] == {"binary": {"always_ram": True}}
    (query,) = server.sent("POST", f"{COLLECTION}/points/query")
    for stage in (query, query["prefetch"]):
        assert stage["params"]["quantization"].items() >= {"rescore": True, "oversampling": 2.5}.items()


@pytest.mark.parametrize("awaited", [False, True])
async def test_both_stages_are_one_request(
    server: Server, make: MakeIndex, embedder: JinaEmbedder, awaited: bool
) -> None:
    index = make(url=server.url, dimensions=32)
    only = models.Filter(must=[models.FieldCondition(key="page", match=models.MatchValue(value=3))])
    ask = {"candidates": 50, "filter": only}
    (hit,) = await index.asearch("a", 5, **ask) if awaited else index.search("a", 5, **ask)
    assert (hit.id, hit.score, dict(hit.payload)) == ("report", 7.5, {"page": 3})
    (body,) = server.sent("POST", f"{COLLECTION}/points/query")
    embedding = embedder.embed(["a"], prompt_name="query", dimensions=32)[0]
    (rows,) = embedder.embed_multi_vector(["a"], prompt_name="query")
    assert body["prefetch"]["query"] == pytest.approx(embedding.tolist())
    assert (body["prefetch"]["using"], body["prefetch"]["limit"]) == ("embedding", 50)
    assert body["query"]["nearest"] == [pytest.approx(row) for row in rows.tolist()]
    assert (body["using"], body["limit"]) == ("multi_vector", 5)
    assert body["filter"] == {"must": [{"key": "page", "match": {"value": 3}}]}
    await index.aclose()


@pytest.mark.parametrize("awaited", [False, True])
async def test_points_are_sent_in_requests_of_bounded_size(
    server: Server, make: MakeIndex, monkeypatch: pytest.MonkeyPatch, awaited: bool
) -> None:
    monkeypatch.setattr(batches, "MOST_NUMBERS", 64 * 30)
    index = make(url=server.url)
    texts = [f"the quick brown fox {n}" for n in range(20)]
    ids = await index.aadd(texts) if awaited else index.add(texts)
    sent = server.sent("PUT", f"{COLLECTION}/points")
    assert len(sent) > 3
    points = [point for body in sent for point in body["points"]]
    assert [point["payload"][ID_KEY] for point in points] == ids
    for body in sent:
        assert sum(len(point["vector"]["multi_vector"]) for point in body["points"]) <= 30
    await index.adelete(ids[:1])
    (gone,) = server.sent("POST", f"{COLLECTION}/points/delete")
    assert gone == {"points": [points[0]["id"]]}
    await index.aclose()


def test_a_collection_of_other_settings_is_refused(server: Server, make: MakeIndex) -> None:
    make(url=server.url, dimensions=32).add(["a"])
    with pytest.raises(ConfigError, match="dimensions=32"):
        make(url=server.url).add(["a"])


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_slow_server_is_waited_for(
    server: Server, make: MakeIndex, monkeypatch: pytest.MonkeyPatch, awaited: bool
) -> None:
    """Items are not read ahead of it: one batch is written, one waits, one is being read."""
    monkeypatch.setattr(batches, "ITEMS", 2)
    server.delay = 0.05
    index = make(url=server.url)
    ahead = []

    def stream() -> Iterator[str]:
        for number in range(24):
            ahead.append(number - 2 * len(server.sent("PUT", f"{COLLECTION}/points")))
            yield f"text {number}"

    assert len(await index.aadd(stream()) if awaited else index.add(stream())) == 24
    assert max(ahead) <= 6
    await index.aclose()


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_write_that_fails_is_an_error(
    server: Server, make: MakeIndex, monkeypatch: pytest.MonkeyPatch, awaited: bool
) -> None:
    """Though the next batch is being embedded meanwhile."""
    monkeypatch.setattr(batches, "ITEMS", 2)
    server.refuse = 2
    index = make(url=server.url)
    texts = [f"text {number}" for number in range(24)]
    with pytest.raises(EngineError, match=r"127\.0\.0\.1.*upsert failed.*500") as caught:
        await index.aadd(texts) if awaited else index.add(texts)
    assert isinstance(caught.value.__cause__, UnexpectedResponse)
    assert len(server.sent("PUT", f"{COLLECTION}/points")) <= 4
    await index.aclose()
