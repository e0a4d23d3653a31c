"""What OpenTelemetry is told of a fixed run: every span, every metric, exact numbers, and never a text."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.fake_servers import FakeServers
from tests.support.images import noise
from tests.support.in_memory import in_memory, write_folder
from tests.support.in_memory_rerankers import in_memory_reranker, write_qwen3
from vllm_jina_embed import EngineDeadError, InputError, JinaEmbedder, _instruments
from vllm_jina_embed._instruments import Places
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote.batching import Batches
from vllm_jina_embed.engine.remote.messages import image_prompt_tokens
from vllm_jina_embed.prompts.base import Prompt

if TYPE_CHECKING:
    from tests.support.sdk import Sdk

SECRET = "xylophone of the minister"
DURATION, USAGE = "gen_ai.client.embeddings.duration", "gen_ai.client.embeddings.operation.input_tokens"


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sdk]:
    """What is told from here on, by engines that start from here on."""
    pytest.importorskip("opentelemetry.sdk", reason="the SDK comes with vLLM")
    monkeypatch.setattr(_instruments, "_PLACES", [])
    from tests.support import sdk as support

    support.sdk().clear()
    yield support.sdk()
    support.sdk().stop()


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


@pytest.fixture
def embedder(engines: list[FakeEngine], tmp_path: Path, sdk: Sdk) -> Iterator[JinaEmbedder]:
    """An embedder whose engine runs, so that its start is told already."""
    with in_memory(engines)(write_folder(tmp_path / "model"), fusion="mean") as embedder:
        embedder.embed_queries(["begin"])
        engines[0].prompts.clear()
        sdk.clear()
        yield embedder


def keys(embedder: Any, operation: str, call: str, **more: Any) -> frozenset[tuple[str, Any]]:
    """Return the attributes of a call of a model."""
    told = {"gen_ai.operation.name": operation, "gen_ai.provider.name": "vllm", "gen_ai.request.model": embedder.model}
    told["vllm_jina_embed.call"] = call
    return frozenset({**told, **{name.replace("__", "."): value for name, value in more.items()}}.items())


def without_times(numbers: dict[Any, Any]) -> dict[Any, Any]:
    """Return numbers in which each duration is its count; every duration is over 0."""
    told = {}
    for (name, attributes), value in numbers.items():
        if name.endswith("duration"):
            assert value[1] > 0
            value = value[0]
        told[name, attributes] = value
    return told


def tokens(engines: list[FakeEngine]) -> int:
    """Return how many tokens the engine was given, as the engine itself noted them."""
    return sum(len(prompt.token_ids) for engine in engines for prompt in engine.prompts)


def test_a_call_of_every_modality(embedder: JinaEmbedder, engines: list[FakeEngine], sdk: Sdk) -> None:
    """One span, one duration, items by modality, images and tokens; nothing else."""
    both = {"text": SECRET, "image": noise(40, 40)}
    embedder.embed([SECRET, "a tree", noise(60, 60), [noise(30, 30), noise(90, 30)], both], dimensions=32)
    (span,) = sdk.spans
    common = keys(embedder, "embeddings", "embed")
    assert span.name == f"embeddings {embedder.model}"
    assert (span.kind.name, span.status.status_code.name, span.events) == ("CLIENT", "UNSET", ())
    assert dict(span.attributes or {}) == {
        **dict(common),
        "vllm_jina_embed.modality": "mixed",
        "gen_ai.embeddings.dimension.count": 32,
        "gen_ai.usage.input_tokens": tokens(engines),
        "vllm_jina_embed.items": 5,
        "vllm_jina_embed.items.failed": 0,
        "vllm_jina_embed.images": 4,
    }
    modality = "vllm_jina_embed.modality"
    assert tokens(engines) > 20
    assert without_times(sdk.numbers()) == {
        (DURATION, common | {(modality, "mixed")}): 1,
        (USAGE, common): (1, tokens(engines)),
        ("vllm_jina_embed.items", common | {(modality, "text")}): 2,
        ("vllm_jina_embed.items", common | {(modality, "image")}): 2,
        ("vllm_jina_embed.items", common | {(modality, "both")}): 1,
        ("vllm_jina_embed.images", common): 4,
    }


@pytest.mark.parametrize("awaited", [False, True])
async def test_each_call_has_its_kind(embedder: JinaEmbedder, sdk: Sdk, awaited: bool) -> None:
    """Late chunks, multi-vectors, both kinds, a stream of two windows, and a score, which is made of two calls."""
    image = noise(40, 40)
    if awaited:
        await embedder.aembed_late_chunks([["a tree", " and a house"]])
        await embedder.aembed_multi_vector([image])
        await embedder.aembed_both_kinds(["a tree", image, image])
        assert len([row async for row in embedder.aembed_stream(["a tree"] * 300)]) == 300
        await embedder.ascore(["a tree"], ["a house", image])
    else:
        embedder.embed_late_chunks([["a tree", " and a house"]])
        embedder.embed_multi_vector([image])
        embedder.embed_both_kinds(["a tree", image, image])
        assert len(list(embedder.embed_stream(["a tree"] * 300))) == 300
        embedder.score(["a tree"], ["a house", image])
    told = sorted(
        (str(attributes["vllm_jina_embed.call"]), attributes.get("vllm_jina_embed.items"))
        for span in sdk.spans
        if (attributes := dict(span.attributes or {}))
    )
    assert told == [
        ("both_kinds", 3),
        ("embed", 1), ("embed", 2), ("embed", 44), ("embed", 256), ("late_chunks", 1), ("multi_vector", 1),
        ("score", None),
    ]  # fmt: skip
    score = next(span for span in sdk.spans if span.name == f"score {embedder.model}")
    parts = [span for span in sdk.spans if span.parent is not None and span.parent.span_id == score.context.span_id]
    assert sorted((span.attributes or {})["vllm_jina_embed.items"] for span in parts) == [1, 2]


def test_a_reranker(engines: list[FakeEngine], sdk: Sdk, tmp_path: Path) -> None:
    """Its items are the documents, its tokens those of the pairs; the engine's start is told once."""
    with in_memory_reranker(engines)(write_qwen3(tmp_path)) as reranker:
        reranker.rerank(SECRET, ["a tree", "a house", "a sunset"])
        common = keys(reranker, "rerank", "rerank")
        row = reranker.checkpoint.row.name
        start = {"vllm_jina_embed.engine": "local", "vllm_jina_embed.row": row, "vllm_jina_embed.engine.restart": False}
        assert without_times(sdk.numbers()) == {
            ("vllm_jina_embed.engine.start.duration", frozenset(start.items())): 1,
            ("gen_ai.client.operation.duration", common | {("vllm_jina_embed.modality", "text")}): 1,
            ("vllm_jina_embed.operation.input_tokens", common): (1, tokens(engines)),
            ("vllm_jina_embed.items", common | {("vllm_jina_embed.modality", "text")}): 3,
        }
        rerank = next(span for span in sdk.spans if span.name == f"rerank {reranker.model}")
        (begin,) = [span for span in sdk.spans if span.name == "engine start"]
        assert begin.parent is not None
        assert begin.parent.span_id == rerank.context.span_id
        with pytest.warns(UserWarning, match="scores are NaN"):
            reranker.score("a tree", ["a house", 3], on_error="skip")
        numbers = sdk.numbers()
        assert numbers["vllm_jina_embed.items", common | {("error.type", "InputError")}] == 1
        assert numbers["vllm_jina_embed.items", common | {("vllm_jina_embed.modality", "text")}] == 1


def test_items_without_a_vector(embedder: JinaEmbedder, sdk: Sdk) -> None:
    """They are counted by the type of their error; the call is one of an error only if it raises."""
    items: list[Any] = ["a tree", b"no image", 3, noise(40, 40)]
    with pytest.warns(UserWarning, match="rows are NaN"):
        embedder.embed(items, on_error="skip")
    (skipped,) = sdk.spans
    assert skipped.status.status_code.name == "UNSET"
    assert (skipped.attributes or {})["vllm_jina_embed.items.failed"] == 2
    sdk.clear()
    with pytest.raises(InputError):
        embedder.embed(items)
    (raised,) = sdk.spans
    assert raised.status.status_code.name == "ERROR"
    assert (raised.attributes or {})["error.type"] == "InputError"
    common, modality = keys(embedder, "embeddings", "embed"), "vllm_jina_embed.modality"
    error = ("error.type", "InputError")
    numbers = without_times(sdk.numbers())
    counted = {attributes: value for (name, attributes), value in numbers.items() if name == "vllm_jina_embed.items"}
    assert counted == {
        common | {(modality, "text")}: 1,
        common | {(modality, "image")}: 1,
        common | {(modality, "image"), error}: 1,
        common | {error}: 1,
    }
    assert numbers[DURATION, common | {(modality, "mixed"), error}] == 1


def test_a_call_that_fails_as_a_whole(engines: list[FakeEngine], tmp_path: Path, sdk: Sdk) -> None:
    """All its items have no vector; an interrupted one is told too."""
    dead = in_memory(engines, fail=lambda prompt: EngineDeadError(f"it ended on {SECRET}"))
    with dead(write_folder(tmp_path / "model")) as embedder:
        sdk.clear()
        with pytest.raises(EngineDeadError):
            embedder.embed([SECRET, "a tree"])
        common = keys(embedder, "embeddings", "embed", vllm_jina_embed__modality="text")
        error = ("error.type", "EngineDeadError")
        numbers = without_times(sdk.numbers())
        assert numbers[DURATION, common | {error}] == 1
        assert numbers["vllm_jina_embed.items", common | {error}] == 2
        assert not any(name == USAGE for name, _ in numbers)


def test_no_text_is_told(embedder: JinaEmbedder, sdk: Sdk) -> None:
    """Not of items, of queries, of errors that quote them, nor of paths."""
    with contextlib.suppress(InputError):
        embedder.embed([SECRET, Path("/nowhere/xylophone.png"), f"data:image/png;base64,{SECRET}"])
    embedder.score([SECRET], [SECRET])
    with embedder.cached(Memory()) as cached:
        cached.embed([SECRET])
    everything = "".join(span.to_json() for span in sdk.spans) + repr(sdk.numbers())
    assert len(sdk.spans) == 5
    assert "xylophone" not in everything


class Memory:
    """A store."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def get_many(self, keys: Any) -> list[bytes | None]:
        return [self.values.get(key) for key in keys]

    def put_many(self, values: Any) -> None:
        self.values.update(values)


def test_hits_and_misses_of_a_cache(embedder: JinaEmbedder, engines: list[FakeEngine], sdk: Sdk) -> None:
    """By item, also where equal items are looked up once; a call of hits alone has no tokens."""
    cached = embedder.cached(Memory())
    cached.embed(["a tree", "a house", "a tree"])
    common = keys(embedder, "embeddings", "embed")
    lookups, result = "vllm_jina_embed.cache.lookups", "vllm_jina_embed.cache.result"
    numbers = sdk.numbers()
    assert numbers[lookups, common | {(result, "miss")}] == 3
    assert (lookups, common | {(result, "hit")}) not in numbers
    cached.embed(["a tree", "a sunset", "a house"])
    numbers = sdk.numbers()
    assert (numbers[lookups, common | {(result, "hit")}], numbers[lookups, common | {(result, "miss")}]) == (2, 1)
    cached.embed(["a tree"])
    assert not any(name == USAGE for name, _ in sdk.numbers())
    assert (sdk.spans[-1].attributes or {})["vllm_jina_embed.cache.hits"] == 1


def test_spans_belong_to_the_trace_of_the_caller(embedder: JinaEmbedder, sdk: Sdk) -> None:
    """Also those of a stream's windows, which run in threads of their own."""
    from opentelemetry import trace

    with trace.get_tracer("application").start_as_current_span("request") as request:
        embedder.embed(["a tree"])
        assert len(list(embedder.embed_stream(["a tree"] * 300))) == 300
        trace_id = request.get_span_context().trace_id
    assert [span.context.trace_id for span in sdk.spans] == [trace_id] * 3


def test_a_start_that_fails(sdk: Sdk) -> None:
    """It is told with its error, and the next one is another start."""
    from vllm_jina_embed.engine.config import LocalConfig

    config = LocalConfig(location="a", revision=None, min_pixels=1, max_pixels=2)
    tries: list[object] = []

    def start(wanted: object) -> FakeEngine:
        tries.append(wanted)
        if len(tries) == 1:
            raise EngineDeadError("no memory")
        return FakeEngine()

    pool = EnginePool(start)
    with pytest.raises(EngineDeadError):
        pool.acquire(config)
    pool.acquire(config)
    pool.close()
    numbers = without_times(sdk.numbers())
    started = {**config.told, "vllm_jina_embed.engine.restart": False}
    name = "vllm_jina_embed.engine.start.duration"
    assert numbers[name, frozenset({**started, "error.type": "EngineDeadError"}.items())] == 1
    assert numbers[name, frozenset(started.items())] == 1


async def test_places_of_an_engine(sdk: Sdk) -> None:
    """Who has a place, who waits, who gave up; engines that are told alike are added up, closed ones left out."""
    slots, none = asyncio.Semaphore(2), contextlib.nullcontext()
    one, other = Places({"engine": "test"}, 2), Places({"engine": "test"}, 5)
    leave = asyncio.Event()

    async def request() -> None:
        async with one.taken(none, slots):
            await leave.wait()

    tasks = [asyncio.create_task(request()) for _ in range(5)]
    while one.waiting != 3:
        await asyncio.sleep(0)
    assert counted(sdk) == {"limit": 7, "running": 2, "waiting": 3}
    tasks[4].cancel()
    await asyncio.gather(tasks[4], return_exceptions=True)
    assert counted(sdk) == {"limit": 7, "running": 2, "waiting": 2}
    leave.set()
    await asyncio.gather(*tasks[:4])
    other.close()
    assert counted(sdk) == {"limit": 2, "running": 0, "waiting": 0}
    one.close()
    one.close()
    assert counted(sdk) == {}


def counted(sdk: Sdk) -> dict[str, int]:
    """Return what is told of the places of this test."""
    told = {}
    for (name, attributes), value in sdk.numbers().items():
        if ("engine", "test") in attributes:
            told[dict(attributes).get("vllm_jina_embed.engine.state", "limit")] = value
            assert name.startswith("vllm_jina_embed.engine.")
    return told


def test_a_client_of_servers(sdk: Sdk) -> None:
    """It sends the trace also where it asks again, and tells the server, the tokens and the losses."""
    from opentelemetry import trace

    from vllm_jina_embed.engine.remote.engine import RemoteEngine

    headers: list[httpx.Headers] = []
    lost = [True]

    def fail(request: httpx.Request) -> httpx.Response | None:
        if request.method == "POST":
            headers.append(request.headers)
            if lost.pop() if lost else False:
                return httpx.Response(503, json={})
        return None

    servers = FakeServers(fail=fail)

    class Remote(JinaEmbedder):
        _pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))

    with (
        Remote.from_server("http://a:81/v1/") as embedder,
        trace.get_tracer("application").start_as_current_span("request") as request,
    ):
        embedder.embed(["a tree", "a house"])
        context = request.get_span_context()
    span = sdk.spans[-1]
    attributes = dict(span.attributes or {})
    sent = sum(len(ids) for _, body in servers.bodies for ids in body["input"])
    assert len(headers) == 2
    assert (attributes["server.address"], attributes["server.port"]) == ("a", 81)
    assert attributes["gen_ai.usage.input_tokens"] == sent > 2
    sender = f"00-{context.trace_id:032x}-{span.context.span_id:016x}"
    assert {one["traceparent"].rpartition("-")[0] for one in headers} == {sender}
    address = frozenset({("server.address", "a"), ("server.port", 81)})
    assert sdk.numbers()["vllm_jina_embed.server.losses", address] == 1


async def test_requests_of_several_callers_keep_their_contexts() -> None:
    """An image goes alone, in the context of its caller; texts that travel together in that of the first."""
    caller: ContextVar[str] = ContextVar("caller")
    seen: list[tuple[str, int]] = []

    async def send(key: str, prompts: list[Prompt]) -> list[Any]:
        seen.append((caller.get(), len(prompts)))
        return [np.zeros(1, np.float32) for _ in prompts]

    batches = Batches(send)

    async def ask(name: str, *images: Any) -> None:
        caller.set(name)
        await batches.ask("key", Prompt(token_ids=(1, 2), images=images))

    await asyncio.gather(ask("a", noise(9, 9)), ask("b", noise(9, 9)), ask("c"), ask("d"))
    assert seen == [("a", 1), ("b", 1), ("c", 2)]


@pytest.mark.parametrize(
    ("told", "images", "count"),
    [
        ({"usage": {"prompt_tokens": 20}}, [noise(30, 30)], 20),
        ({"usage": {"prompt_tokens": 20}}, [], 0),
        ({"usage": {"prompt_tokens": True}}, [noise(30, 30)], 0),
        ({"usage": {"prompt_tokens": -1}}, [noise(30, 30)], 0),
        ({"usage": [3]}, [noise(30, 30)], 0),
        ([], [noise(30, 30)], 0),
    ],
)
def test_a_server_counts_the_tokens_of_images(told: Any, images: list[Any], count: int) -> None:
    """Those of a text were sent; of an answer that says something else nothing is counted."""
    assert image_prompt_tokens(told, [Prompt(token_ids=(1, 2, 3), images=tuple(images))]) == count


# --- a server ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "error"), [(200, None), (400, "400"), (503, "503"), (None, "499")])
async def test_a_request_to_a_server(sdk: Sdk, status: int | None, error: str | None) -> None:
    """Its span continues the client's trace; one that left is told as 499, and paths that do not compute are not."""
    from vllm_jina_embed.serve.telemetry import count_answer, count_item, observed

    state = SimpleNamespace(jina_facts=SimpleNamespace(checkpoint=SimpleNamespace(name="demo")))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    scope = {"method": "POST", "headers": [(b"traceparent", parent.encode())]}

    async def send(message: Any) -> None:
        pass

    with observed(state, scope, "/v1/embeddings") as noting:
        count_item({"prompt_token_ids": [1, 2, 3]})
        count_item({"mm_placeholders": {"image": [object(), object()]}})
        count_answer(SimpleNamespace(prompt_token_ids=[1, 2, 3]))
        if status is not None:
            await noting(send)({"type": "http.response.start", "status": status})
    with observed(state, scope, "/v1/models") as noting:
        count_item({})
        assert noting(send) is send
    (span,) = sdk.spans
    assert (span.name, span.kind.name) == ("embeddings demo", "SERVER")
    assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert span.status.status_code.name == ("ERROR" if error == "503" else "UNSET")
    told = dict(span.attributes or {})
    assert (told["vllm_jina_embed.items"], told["vllm_jina_embed.images"]) == (2, 2)
    assert told["gen_ai.usage.input_tokens"] == 3
    assert told.get("error.type") == error
    numbers = without_times(sdk.numbers())
    durations = [dict(key) for name, key in numbers if name == "gen_ai.server.request.duration"]
    assert [one["http.response.status_code"] for one in durations] == [status or 499]
    assert durations[0].get("error.type") == error


def test_a_request_that_fails_without_an_answer(sdk: Sdk) -> None:
    """It is a 500, whose items all have no result; and the error's message is told nowhere."""
    from vllm_jina_embed.serve.telemetry import count_item, observed

    state = SimpleNamespace(jina_facts=SimpleNamespace(checkpoint=SimpleNamespace(name="demo")))
    scope = {"method": "POST", "headers": []}
    failing = observed(state, scope, "/pooling")
    failing.__enter__()
    count_item({"prompt_token_ids": [1, 2, 3]})
    error = RuntimeError(SECRET)
    assert not failing.__exit__(RuntimeError, error, None)
    numbers = sdk.numbers()
    failed = [dict(key) for name, key in numbers if name == "vllm_jina_embed.items"]
    assert [(one["error.type"], one["http.route"]) for one in failed] == [("500", "/pooling")]
    assert sdk.spans[0].status.status_code.name == "ERROR"
    assert SECRET not in sdk.spans[0].to_json() + repr(numbers)


# --- without an SDK ---------------------------------------------------------------------------------------------------

RUN = """
import sys, pathlib, tempfile
{before}
from tests.support.in_memory import in_memory, write_folder
engines = []
with in_memory(engines)(write_folder(pathlib.Path(tempfile.mkdtemp()) / "model")) as embedder:
    assert embedder.embed(["a tree", "a house"]).shape == (2, 64)
    assert embedder.score(["a tree"], ["a house"]).shape == (1, 1)
{after}
print("done")
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"),
        ("sys.modules['opentelemetry'] = None", ""),
        pytest.param(
            "from opentelemetry import metrics, trace",
            "assert 'opentelemetry.sdk' not in sys.modules",
            marks=pytest.mark.skipif(find_spec("opentelemetry") is None, reason="the API comes with vLLM"),
        ),
    ],
    ids=["api not imported", "no api", "no sdk"],
)
def test_it_works_and_imports_nothing_without_an_sdk(before: str, after: str) -> None:
    code = RUN.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == "done", done.stderr
