"""What the real engine and a real server tell: the table of docs/production.md, one trace, vLLM's metrics, health."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import REGISTRY

from benchmarks import telemetry
from tests.support.images import noise
from tests.support.sdk import sdk
from tests.support.servers import RealServer, free_port, served
from vllm_jina_embed import JinaEmbedder

pytestmark = [pytest.mark.real, pytest.mark.wide]


def test_the_table_of_the_page_and_vllms_own_metrics() -> None:
    """One run of the demo, each number as the page has it; and with log stats vLLM counts the same prompts.

    It runs in a process of its own: engines of other tests would be counted with it.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        table, tokens, of_vllm = alone.submit(one_run).result()
    assert table == telemetry.measured()
    assert of_vllm >= tokens > 100


def one_run() -> tuple[str, int, float]:
    """Return the table, the tokens that were told, and the tokens of prompts that vLLM told Prometheus of."""
    numbers = telemetry.run()
    tokens = sum(value[1] for (name, _), value in numbers.items() if name.endswith("input_tokens"))
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    of_vllm = sum(sample.value for sample in samples if sample.name == "vllm:prompt_tokens_total")
    return telemetry.table(numbers), tokens, of_vllm


# --- a server ---------------------------------------------------------------------------------------------------------


class Collector:
    """A collector of OTLP over HTTP: keeps the spans, and the last value of each metric."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                service = {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"]
                for scope in resource.scope_metrics:
                    self.metrics |= {metric.name: (service, metric) for metric in scope.metrics}

    def requests(self) -> int:
        """Return how many requests the server has told of."""
        if (told := self.metrics.get("gen_ai.server.request.duration")) is None:
            return 0
        return sum(point.count for point in told[1].histogram.data_points)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A server of the demo with metrics, a health port and a collector, and what its health said while it started."""
    health = free_port()
    collector = Collector()
    variables = {"OTEL_METRIC_EXPORT_INTERVAL": "1000", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    options = ("--metrics", "--health-port", str(health))
    log = tmp_path_factory.mktemp("server") / "log"
    server = served("demo", log, *options, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **variables)
    said: set[tuple[str, int, str]] = set()
    server.begin()
    try:
        while (status := asked(health, "ready")) != (200, "ready"):
            assert server.runs, server.log.read_text()[-4000:]
            for path in ("health", "ready"):
                if (one := asked(health, path)) is not None:
                    said.add((path, *one))
            time.sleep(0.2)
        assert status == (200, "ready")
        yield SimpleNamespace(server=server, health=health, collector=collector, said=said)
    finally:
        server.kill_group()
        collector.close()
        sdk().stop()


def asked(port: int, path: str) -> tuple[int, str] | None:
    """Return the HTTP status and the word of a server's health; None where nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as response:
            return response.status, json.load(response)["status"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["status"]
    except OSError:
        return None


def until(condition: Any, *, seconds: float = 120.0) -> Any:
    """Return what a condition gives once it holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.1)
    return found


def test_health_while_it_starts_and_serves(started: SimpleNamespace) -> None:
    """Starting is well, and not ready; vLLM's own port says the same once it is there, without a key."""
    assert ("health", 200, "starting") in started.said
    assert ("ready", 503, "starting") in started.said
    assert asked(started.health, "health") == (200, "ready")
    port = int(started.server.url.rpartition(":")[2])
    assert (asked(port, "health"), asked(port, "ready")) == ((200, "ready"), (200, "ready"))


def test_one_trace_from_the_client_into_the_server(started: SimpleNamespace) -> None:
    """The server's span is a child of the client's, and both count the same items, images and tokens."""
    sdk().clear()
    collector: Collector = started.collector
    with (
        JinaEmbedder.from_server(started.server.url) as embedder,
        trace.get_tracer("application").start_as_current_span("request") as request,
    ):
        embedder.embed(["a tree", "a house"])
        embedder.embed([noise(60, 60)])
        trace_id = request.get_span_context().trace_id.to_bytes(16, "big")

    def arrived() -> list[Any]:
        return [span for span in collector.spans if span.trace_id == trace_id]

    until(lambda: len(arrived()) == 2)
    calls = [span for span in sdk().spans if span.name == "embeddings demo"]
    mine = {span.context.span_id.to_bytes(8, "big"): dict(span.attributes or {}) for span in calls}
    for span in arrived():
        own = mine[span.parent_span_id]
        told = {one.key: one.value for one in span.attributes}
        assert span.name == "embeddings demo"
        for key in ("vllm_jina_embed.items", "vllm_jina_embed.images", "gen_ai.usage.input_tokens"):
            assert told[key].int_value == own[key], key
        assert told["http.response.status_code"].int_value == 200
    assert sorted(own["gen_ai.usage.input_tokens"] > 3 for own in mine.values()) == [True, True]
    until(lambda: collector.requests() == 2)  # it sends metrics every second
    assert collector.metrics["gen_ai.server.request.duration"][0] == "vllm-jina-embed"


def test_vllms_metrics_of_the_server(started: SimpleNamespace) -> None:
    """They are those of the engine, which --metrics switches on."""
    with urllib.request.urlopen(f"{started.server.url}/metrics", timeout=60) as response:
        text = response.read().decode()
    (line,) = [line for line in text.splitlines() if line.startswith("vllm:prompt_tokens_total{")]
    assert float(line.rpartition(" ")[2]) > 0


def test_a_dead_engine_is_told(started: SimpleNamespace) -> None:
    """Broken until the server has ended, which it then does by itself. The last test: it ends the server."""
    server: RealServer = started.server
    engines = [one for one in server.processes() if "EngineCore" in " ".join([one.name(), *one.cmdline()])]
    assert engines
    said = set()
    for one in engines:
        os.kill(one.pid, signal.SIGKILL)
    end = time.monotonic() + 120
    while server.runs and time.monotonic() < end:
        said.add(asked(started.health, "health"))
        time.sleep(0.02)
    assert server.exit_code(60) == 1
    assert (503, "broken") in said
    assert asked(started.health, "health") is None
