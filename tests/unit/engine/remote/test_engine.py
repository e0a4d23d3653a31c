"""A served engine on a wire in memory: what it sends, what it makes of the answers, and whom it asks next."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.fake_engine import vector_of
from tests.support.fake_servers import PATHS, RAW, WIDTH, FakeServers, config_of, facts_of, image_prompt, state_of
from tests.support.images import SIZES, noise
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.registry import DEFAULT_ROW
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.decoders import GTE_QWEN2
from vllm_jina_embed.checkpoints.table.qwen_vl import DSE, QWEN3_VL_EMBEDDING
from vllm_jina_embed.checkpoints.table.rotary import JINA_V3
from vllm_jina_embed.checkpoints.table.text import QWEN3_EMBEDDING
from vllm_jina_embed.checkpoints.token_layer import TokenLayer
from vllm_jina_embed.engine.remote import balancer
from vllm_jina_embed.engine.remote.engine import RemoteEngine
from vllm_jina_embed.engine.remote.server_checks import PROBES, check_plain
from vllm_jina_embed.errors import ConfigError, EngineDeadError, EngineError, InputError
from vllm_jina_embed.pooling.single_vector import finish, normalize
from vllm_jina_embed.prompts.base import Prompt

Start = Callable[..., RemoteEngine]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, so that the tests of what happens after them are short."""
    monkeypatch.setattr(balancer, "REST", 0.01)
    monkeypatch.setattr(balancer, "PATIENCE", 0.3)
    monkeypatch.setattr(balancer, "HURRY", 0.05)


def text(*ids: int) -> Prompt:
    return Prompt(token_ids=ids)


def embed(engine: RemoteEngine, *prompts: Prompt, dimensions: int = WIDTH, **keywords: Any) -> list[Any]:
    """Ask for all prompts in one moment; errors are given as values."""

    async def ask() -> list[Any]:
        calls = [engine.embed(one, dimensions=dimensions, task="retrieval", **keywords) for one in prompts]
        return await asyncio.gather(*calls, return_exceptions=True)

    return engine.run(ask()).result(timeout=20)


def result(engine: RemoteEngine, job: Coroutine[Any, Any, Any]) -> Any:
    return engine.run(job).result(timeout=20)


def status(code: int, *, paths: tuple[str, ...] = PATHS, **headers: str) -> Callable[[httpx.Request], Any]:
    """Fail every question with a status."""
    body = {"error": {"message": "because", "type": "t", "code": code}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(code, json=body, headers=named) if request.url.path in paths else None


def test_texts_of_one_moment_share_a_request_and_keep_their_order(start: Start) -> None:
    """The answers are taken by their index, whatever order they come in; 32 texts go together at most."""
    servers = FakeServers()
    prompts = [text(number, number + 1) for number in range(70)]
    got = embed(start(servers), *prompts, dimensions=32)
    assert servers.posts("a") == 3
    wanted = [finish(vector_of(prompt, WIDTH), 32) for prompt in prompts]
    np.testing.assert_array_equal(np.stack(got), np.stack(wanted))


def test_long_texts_share_no_request(start: Start) -> None:
    servers = FakeServers()
    embed(start(servers), *[Prompt(token_ids=(1,) * 1500)] * 3, text(1))
    assert servers.posts("a") == 3


def test_texts_travel_as_token_ids_and_questions_overtake(start: Start) -> None:
    """A text that spells a special token stays text; no key, no model name is made up."""
    servers = FakeServers()
    engine = start(servers)
    embed(engine, text(7, 8), dimensions=64)
    embed(engine, text(7, 8), urgent=True)
    (_, patient), (_, urgent) = servers.bodies
    assert patient == {
        "input": [[7, 8]], "dimensions": 64, "priority": 0,
        "encoding_format": "base64", "embed_dtype": "float32", "endianness": "little",
    }  # fmt: skip
    assert urgent["priority"] == -1


def test_vectors_that_are_not_normalised_are_requested_so(start: Start) -> None:
    """By vLLM's own word; they share no request with others, and are not taken for wrong ones."""
    servers = FakeServers()
    engine = start(servers)
    (raw,), (unit,) = (
        embed(engine, text(7, 8), dimensions=64, normalize=False),
        embed(engine, text(7, 8), dimensions=64),
    )
    np.testing.assert_allclose(raw, RAW * unit, atol=1e-6)
    (_, asked), (_, default) = servers.bodies
    assert asked == {**default, "use_activation": False}
    assert "use_activation" not in default


@pytest.mark.parametrize("kind", ["plain", "token_embed"])
def test_token_states_are_pooled_and_not_normalised(start: Start, kind: str) -> None:
    """Of a server that gives them: layer norm, then the cut, and nothing else."""
    states = np.stack([state_of(token, place) for place, token in enumerate((5, 6, 7))]).astype(np.float64)
    (got,) = embed(start(FakeServers(a=kind)), text(5, 6, 7), dimensions=64, normalize=False)
    np.testing.assert_allclose(got, states.mean(0)[:64], atol=1e-6)
    if kind == "plain":
        row = replace(XLM_ROBERTA, name="normed", layer_norm=True)
        (got,) = embed(start(FakeServers(a=kind), row=row), text(5, 6, 7), dimensions=64, normalize=False)
        normed = (states[0] - states[0].mean()) / np.sqrt(states[0].var() + 1e-5)
        np.testing.assert_allclose(got, normed[:64], atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_mean_of_an_image_is_that_of_its_span(start: Start, size: tuple[int, int]) -> None:
    """From a plain server: markers and image tokens, without the template around them."""
    engine = start(FakeServers(a="plain"))
    (got,) = embed(engine, image_prompt(noise(*size)), dimensions=64)
    states = result(engine, engine.token_states(image_prompt(noise(*size)), task="retrieval"))
    ids = np.array(states.token_ids)
    inside = states.states[np.flatnonzero(ids == 92)[0] : np.flatnonzero(ids == 94)[0] + 1]
    wanted = inside.astype(np.float64).mean(0)[:64]
    np.testing.assert_allclose(got, wanted / np.linalg.norm(wanted), atol=1e-6)


def test_a_plain_server_of_a_row_whose_prompts_it_does_not_make_is_refused(start: Start) -> None:
    """A prompt of images for each role, at the start; a text with an image, of that item alone."""
    for row in (QWEN3_VL_EMBEDDING, DSE):
        checkpoint = replace(resolve("demo"), row=row)
        with pytest.raises(ConfigError, match=r"plain vLLM server .*'vllm-jina-embed serve'"):
            start(FakeServers(a="plain"), row=row, checkpoint=checkpoint)
    engine = start(FakeServers(a="plain"))
    both = replace(image_prompt(noise(56, 56)), is_both=True)
    (refusal,) = embed(engine, both, dimensions=64)
    assert isinstance(refusal, InputError)
    assert "a text and an image together, of which a plain vLLM server" in str(refusal)
    assert len(embed(engine, image_prompt(noise(56, 56)), text(5), dimensions=64)) == 2


def test_a_prompt_with_images_travels_with_its_ids(start: Start) -> None:
    """Whole, and in one request; that of a text beside images too."""
    servers = FakeServers()
    prompt = replace(image_prompt(noise(56, 56), noise(30, 60)), is_both=True)
    embed(start(servers), prompt, dimensions=64)
    ((_, body),) = servers.bodies
    assert body["chat_template_kwargs"] == {"jina_prompt": {"token_ids": list(prompt.token_ids)}}
    assert len(body["messages"][0]["content"]) == 2


def test_only_a_server_counts_the_tokens_of_an_image(start: Start) -> None:
    """Its processor has other patches than Qwen2.5-VL's; but no answer is shorter than what was sent."""
    prompt = image_prompt(noise(300, 200))
    servers = FakeServers(a="token_embed")
    count = len(result(start(servers), start(servers).multi_vector(prompt, task="retrieval")))
    for rows, is_right in ((count + 1, True), (len(prompt.token_ids), True), (len(prompt.token_ids) - 1, False)):
        states = np.eye(1, WIDTH, dtype="<f4").repeat(rows, 0)
        answer = {"data": [{"index": 0, "data": base64.b64encode(states.tobytes()).decode()}]}
        wrong = FakeServers(
            lambda request, answer=answer: httpx.Response(200, json=answer) if request.url.path == "/pooling" else None,
            a="token_embed",
        )
        engine = start(wrong)
        job = engine.multi_vector(prompt, task="retrieval")
        if is_right:
            assert len(result(engine, job)) == rows
        else:
            with pytest.raises(EngineError, match="for a prompt of images of at least"):
                result(engine, job)


def test_texts_of_a_plain_server_are_averaged_here(start: Start) -> None:
    engine = start(FakeServers(a="plain"))
    got = embed(engine, text(5, 6, 7), text(8), dimensions=WIDTH)
    wanted = np.mean([state_of(token, place) for place, token in enumerate((5, 6, 7))], axis=0)
    np.testing.assert_allclose(got[0], wanted / np.linalg.norm(wanted), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_a_plain_server_of_another_row_is_pooled_as_the_row_says(start: Start) -> None:
    """Last and first token, mean, and a layer norm over the full length before the cut."""
    states = np.stack([state_of(token, place) for place, token in enumerate((5, 6, 7))]).astype(np.float64)
    normed = (states[0] - states[0].mean()) / np.sqrt(states[0].var() + 1e-5)
    rows = {
        replace(QWEN3_EMBEDDING, name="last"): states[-1],
        replace(QWEN3_EMBEDDING, name="mean", pooling="mean"): states.mean(0),
        XLM_ROBERTA: states[0],
        replace(XLM_ROBERTA, name="normed", layer_norm=True): normed,
    }
    for row, pooled in rows.items():
        (got,) = embed(start(FakeServers(a="plain"), row=row), text(5, 6, 7), dimensions=64)
        np.testing.assert_allclose(got, pooled[:64] / np.linalg.norm(pooled[:64]), atol=1e-6)


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("row", [GTE_QWEN2, QWEN3_EMBEDDING])
def test_a_plain_server_of_the_other_attention_is_refused(start: Start, row: Model, both_ways: bool) -> None:
    """vLLM takes older copies of gte-Qwen2 for causal, without a sign; their token states tell it."""
    servers = FakeServers(a="plain")
    servers.both_ways = both_ways
    checkpoint = replace(resolve("demo"), row=row)
    if both_ways == (row.attention == "both"):
        assert len(embed(start(servers, row=row, checkpoint=checkpoint), text(5), dimensions=64)) == 1
        return
    told = "do not see what follows .* attention to both sides.*" if row is GTE_QWEN2 else "see what .* causal .*"
    option = json.dumps({"is_causal": row is not GTE_QWEN2})
    with pytest.raises(ConfigError, match=f"http://a: in this plain vLLM server .* {told}--hf-overrides '{option}'"):
        start(servers, row=row, checkpoint=checkpoint)


def test_a_row_whose_attention_is_not_told_is_not_checked(start: Start) -> None:
    row = replace(QWEN3_EMBEDDING, name="any", attention=None)
    for both_ways in (False, True):
        servers = FakeServers(a="plain")
        servers.both_ways = both_ways
        assert start(servers, row=row, checkpoint=replace(resolve("demo"), row=row)).max_tokens == 4096


def test_states_that_are_not_numbers_tell_no_attention() -> None:
    """A comparison with NaN is neither: it is refused for both kinds."""
    flats = [np.full(len(ids) * WIDTH, np.nan, dtype=np.float32) for ids in PROBES]
    for row in (GTE_QWEN2, QWEN3_EMBEDDING):
        with pytest.raises(ConfigError, match="their states are nan apart"):
            check_plain(replace(resolve("demo"), row=row), flats, "http://a")


def test_a_plain_server_of_stacked_adapters_is_refused(start: Start) -> None:
    """It would merge the last one into the weights, whatever the task."""
    checkpoint = replace(resolve("demo"), row=JINA_V3)
    with pytest.raises(ConfigError, match="http://a: a plain vLLM server computes every task of demo by the same"):
        start(FakeServers(a="plain"), row=JINA_V3, checkpoint=checkpoint)


@pytest.mark.parametrize("counts", [(6, 14), (5, 15), (0, 15), (6, 15.5), (12, 30)])
def test_a_plain_server_of_other_sizes_is_refused(counts: tuple[float, float]) -> None:
    flats = [np.ones(int(count * WIDTH), dtype=np.float32) for count in counts]
    with pytest.raises(ConfigError, match=rf"http://a: this plain .* expected those of demo \({WIDTH}\)"):
        check_plain(resolve("demo"), flats, "http://a")
    with pytest.raises(ConfigError, match="expected those of a merged checkpoint"):
        check_plain(None, flats, "http://a")


def test_multi_vectors_have_a_row_per_token(start: Start) -> None:
    servers = FakeServers(a="token_embed")
    engine = start(servers)
    rows = result(engine, engine.multi_vector(image_prompt(noise(56, 84), noise(28, 28)), task="retrieval"))
    assert rows.shape == (2 + (1 + 6 + 1) + (1 + 4 + 1) + 1, WIDTH)
    assert servers.bodies[-1][1]["use_activation"] is True


def test_both_kinds_are_two_requests(start: Start) -> None:
    """Each to a server that can; where none can answer one of them, no half is given."""
    prompt = text(5, 6, 7)
    servers = FakeServers(a="token_embed", b="embed")
    engine = start(servers)
    servers.bodies.clear()
    vector, rows = result(engine, engine.both(prompt, dimensions=64, task="retrieval"))
    assert len(servers.bodies) == 2
    (expected,) = embed(engine, prompt, dimensions=64)
    np.testing.assert_array_equal(vector, expected)
    np.testing.assert_array_equal(rows, result(engine, engine.multi_vector(prompt, task="retrieval")))
    alone = start(FakeServers(a="embed"))
    with pytest.raises(ConfigError):
        result(alone, alone.both(prompt, dimensions=64, task="retrieval"))


def test_a_row_whose_first_token_has_no_row_is_told_by_its_row(start: Start) -> None:
    """One row fewer than tokens is right there, and wrong elsewhere; a plain server cannot project."""
    layer = TokenLayer(names=("proj",), skips_first=True)
    row = replace(DEFAULT_ROW, name="skips", projector=layer, adapter_architecture=None, vectors_before={})
    checkpoint = replace(resolve("demo"), row=row)

    def without_first(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/pooling":
            return None
        ids = json.loads(request.content)["input"]
        rows = [np.stack([vector_of(text(one), WIDTH) for one in each[1:]]) for each in ids]
        data = [
            {"index": index, "data": base64.b64encode(one.astype("<f4").tobytes()).decode()}
            for index, one in enumerate(rows)
        ]
        return httpx.Response(200, json={"data": data})

    told = {"checkpoint": {**facts_of("token_embed")["checkpoint"], "family": "skips", "row_digest": row.digest}}
    facts = {**told, "projected": True}
    servers = FakeServers(fail=without_first, facts=facts, a="token_embed")
    engine = start(servers, row=row, checkpoint=checkpoint)
    rows = result(engine, engine.multi_vector(text(5, 6, 7), task="retrieval"))
    np.testing.assert_allclose(rows, np.stack([vector_of(text(6), WIDTH), vector_of(text(7), WIDTH)]))
    with pytest.raises(ConfigError, match="a plain vLLM server makes other multi-vectors than demo"):
        start(FakeServers(a="plain"), row=row, checkpoint=checkpoint)
    other = start(FakeServers(fail=without_first, a="token_embed"))
    with pytest.raises(EngineError, match="numbers for 3 tokens"):
        result(other, other.multi_vector(text(5, 6, 7), task="retrieval"))


def test_another_template_of_a_plain_server_is_told(start: Start) -> None:
    """More tokens than the trained prompt has, or others."""
    for tokens in ((90, 91, 1), (90, 1)):
        servers = FakeServers(a="plain")
        servers.template_tokens = tokens
        (error,) = embed(start(servers), image_prompt(noise(56, 56)))
        assert isinstance(error, ConfigError)
        assert "--chat-template" in str(error)


def test_an_item_that_is_refused_costs_the_others_nothing(start: Start) -> None:
    """A refused request is asked again, prompt by prompt."""

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if b"[666]" in request.content:
            return httpx.Response(400, json={"error": {"message": "the devil's token"}})
        return None

    got = embed(start(FakeServers(fail=refuse)), text(1), text(666), text(2))
    assert isinstance(got[1], InputError)
    assert "the devil's token" in str(got[1])
    np.testing.assert_array_equal(got[2], vector_of(text(2), WIDTH))


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (401, ConfigError, "api_key="),
        (403, ConfigError, "api_key="),
        (404, ConfigError, "vllm-jina-embed serve"),
        (422, InputError, "because"),
        (500, EngineError, "because"),
    ],
)
def test_what_cannot_be_retried_is_told_at_once(start: Start, code: int, kind: type[Exception], words: str) -> None:
    servers = FakeServers(fail=status(code))
    (error,) = embed(start(servers), text(1))
    assert type(error) is kind
    assert words in str(error)
    assert servers.posts("a") == 1


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(start: Start, code: int) -> None:
    failures = iter([status(code)] * 3)
    servers = FakeServers()
    engine = start(servers)
    servers.fail = lambda request: next(failures, lambda _: None)(request) if request.url.path in PATHS else None
    (got,) = embed(engine, text(1))
    np.testing.assert_array_equal(got, vector_of(text(1), WIDTH))
    assert servers.posts("a") == 4


@pytest.mark.usefixtures("hasty")
def test_a_server_is_left_alone_as_long_as_it_asks(start: Start) -> None:
    """Retry-After in seconds."""
    failures = iter([status(503, retry_after="0.2")])
    servers = FakeServers()
    engine = start(servers)
    servers.fail = lambda request: next(failures, lambda _: None)(request)
    begin = time.monotonic()
    embed(engine, text(1))
    assert 0.2 <= time.monotonic() - begin < 2


@pytest.mark.usefixtures("hasty")
def test_a_server_that_stays_away_is_named_with_its_reason(start: Start) -> None:
    def refuse(request: httpx.Request) -> httpx.Response | None:
        if request.url.path in PATHS:
            raise httpx.ConnectError("all is dark", request=request)
        return None

    (error,) = embed(start(FakeServers(fail=refuse), "http://a"), text(1))
    assert type(error) is EngineDeadError
    assert "http://a: ConnectError: all is dark" in str(error)
    assert "vllm-jina-embed serve" in str(error)


@pytest.mark.usefixtures("hasty")
def test_a_server_that_was_never_there_is_told_at_the_start(start: Start) -> None:
    def refuse(request: httpx.Request) -> httpx.Response | None:
        raise httpx.ConnectError("no such host", request=request)

    with pytest.raises(EngineDeadError, match="http://a: ConnectError: no such host"):
        start(FakeServers(fail=refuse))


@pytest.mark.usefixtures("hasty")
def test_the_requests_of_a_lost_server_go_to_the_others(start: Start) -> None:
    """It gets nothing while it is left alone, is tried with one request, and back in the round."""
    lost = False

    def fall(request: httpx.Request) -> httpx.Response | None:
        if lost and request.url.host == "a":
            raise httpx.ReadError("gone", request=request)
        return None

    servers = FakeServers(fail=fall, delay=0.002)
    engine = start(servers, "http://a", "http://b")
    lost = True
    prompts = [text(number) for number in range(640)]
    got = embed(engine, *prompts)
    np.testing.assert_array_equal(np.stack(got), np.stack([vector_of(one, WIDTH) for one in prompts]))
    assert servers.posts("a") < 20 <= servers.posts("b")
    lost = False
    time.sleep(0.35)
    tried = servers.posts("a")
    embed(engine, *prompts)
    assert servers.posts("a") == tried + 1
    embed(engine, *prompts)
    assert servers.posts("a") == tried + 11


def test_the_least_loaded_server_is_asked(start: Start) -> None:
    servers = FakeServers(delay=0.01)
    embed(start(servers, "http://a", "http://b"), *[text(number) for number in range(640)])
    assert (servers.posts("a"), servers.posts("b")) == (10, 10)


def test_requests_in_a_server_are_bounded_and_questions_are_not(start: Start) -> None:
    servers = FakeServers(delay=0.02)
    engine = start(servers)
    images = [image_prompt(Image.new("RGB", (28, 28), (number, 0, 0))) for number in range(80)]
    embed(engine, *images)
    assert servers.most_at_once["a"] == 32


@pytest.mark.parametrize("kinds", [{"a": "embed"}, {"a": "embed", "b": "embed"}])
def test_multi_vectors_of_a_server_that_has_none(start: Start, kinds: dict[str, str]) -> None:
    engine = start(FakeServers(**kinds), *(f"http://{host}" for host in kinds))
    with pytest.raises(ConfigError, match="--multi-vector"):
        result(engine, engine.multi_vector(text(1), task="retrieval"))


def test_each_kind_goes_where_it_is_served(start: Start) -> None:
    servers = FakeServers(a="embed", b="token_embed")
    engine = start(servers, "http://a", "http://b")
    rows = result(engine, engine.multi_vector(text(1, 2), task="retrieval"))
    np.testing.assert_array_equal(rows, normalize(np.stack([state_of(1, 0), state_of(2, 1)])))
    assert servers.requests["b", "/pooling"] == 1


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"checkpoint": {}}, "cannot be read"),
        ({"pooler_task": 7}, "cannot be read"),
        ({"models": None}, "cannot be read"),
    ],
)
def test_facts_that_are_none_are_told(start: Start, told: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        start(FakeServers(facts=told))


def test_another_checkpoint_than_expected_is_told(start: Start) -> None:
    with pytest.raises(ConfigError, match=r"max_pixels=602112.*expected 5000"):
        start(FakeServers(), max_pixels=5000)


OLD, NEW = "a" * 40, "b" * 40


@pytest.mark.fire
@pytest.mark.parametrize(("name", "values"), [("dtype", ("float32", "bfloat16")), ("revision", (OLD, NEW))])
def test_servers_whose_vectors_differ_are_not_mixed(start: Start, name: str, values: tuple[str, str]) -> None:
    """Both values and both servers are named; also where one of them comes later."""
    servers = FakeServers()
    servers.facts_at = {host: {name: value} for host, value in zip("ab", values, strict=True)}
    with pytest.raises(
        ConfigError, match=rf"http://[ab].*{name}='\w+' .*http://[ab] has '\w+'.*Start them alike"
    ) as told:
        start(servers, "http://a", "http://b")
    assert all(part in str(told.value) for part in ("http://a", "http://b", *values))


@pytest.mark.fire
def test_servers_of_other_tasks_or_copies_are_taken(start: Start) -> None:
    """Weights that are merged for other tasks are other weights; copies of files have other times."""
    servers = FakeServers()
    demo = facts_of("embed")["checkpoint"]
    one, other = ({"checkpoint": demo | {"tasks": [task], "name": task}} for task in ("retrieval", "code"))
    servers.facts_at = {"a": one | {"revision": OLD}, "b": other | {"revision": NEW}, "c": one | {"files": "else"}}
    servers.facts_at["c"]["revision"] = OLD
    embed(start(servers, "http://a", "http://b", "http://c"), text(1))


def lose_once(servers: FakeServers) -> None:
    """Break the connection of the next question."""
    left = [1]

    def fail(request: httpx.Request) -> httpx.Response | None:
        if request.url.path in PATHS and left:
            left.pop()
            raise httpx.ReadError("gone", request=request)
        return None

    servers.fail = fail


@pytest.mark.fire
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"revision": NEW}, f"revision=None, now '{NEW}'"),
        ({"files": "9999"}, "files='0123', now '9999'"),
        ({"dtype": "float16"}, "dtype='float32', now 'float16'"),
        ({"checkpoint": facts_of("embed")["checkpoint"] | {"name": "other"}}, "name='.*', now 'other'"),
    ],
)
def test_a_server_that_comes_back_as_another_is_told(start: Start, changes: dict[str, Any], words: str) -> None:
    """Until it is itself again."""
    servers = FakeServers()
    engine = start(servers)
    lose_once(servers)
    servers.facts_at["a"] = changes
    for _ in range(2):
        (error,) = embed(engine, text(1))
        assert type(error) is ConfigError
        assert re.search(f"http://a: .*started anew and serves another checkpoint.*{words}", str(error))
    assert servers.posts("a") == 1
    servers.facts_at.clear()
    np.testing.assert_array_equal(embed(engine, text(1))[0], vector_of(text(1), WIDTH))


@pytest.mark.fire
@pytest.mark.usefixtures("hasty")
def test_a_server_that_comes_back_as_itself_is_taken(start: Start) -> None:
    """With other bounds, which decide no vector; of another version, which tells its fingerprint."""
    servers = FakeServers()
    engine = start(servers)
    lose_once(servers)
    servers.facts_at["a"], servers.fingerprints["a"] = {"max_tokens": 77, "version": "1"}, "new"
    np.testing.assert_array_equal(embed(engine, text(1))[0], vector_of(text(1), WIDTH))
    assert engine._servers[0].max_tokens == 77


@pytest.mark.fire
@pytest.mark.usefixtures("hasty")
def test_answers_of_another_checkpoint_are_never_taken(start: Start) -> None:
    """Though no connection was seen to break: every answer says whose it is, also those under way."""
    servers = FakeServers(delay=0.005)
    servers.fingerprints.update(a="one", b="one")
    engine = start(servers, "http://a", "http://b")

    def swap(request: httpx.Request) -> httpx.Response | None:
        if request.url.host != "a":
            return None
        servers.fingerprints["a"], servers.facts_at["a"] = "other", {"files": "other"}
        wrong = base64.b64encode(np.full(WIDTH, WIDTH**-0.5, dtype="<f4").tobytes()).decode()
        answer = httpx.Response(200, json={"data": [{"index": 0, "embedding": wrong}]})
        return answer if request.url.path in PATHS else None

    servers.fail = swap
    prompts = [Prompt(token_ids=(number,) * 1500) for number in range(64)]  # each in a request of its own
    for prompt, got in zip(prompts, embed(engine, *prompts), strict=True):
        if isinstance(got, ConfigError):
            assert "http://a" in str(got)
            assert "files='0123', now 'other'" in str(got)
        else:
            np.testing.assert_array_equal(got, vector_of(prompt, WIDTH))


@pytest.mark.fire
@pytest.mark.usefixtures("hasty")
def test_a_plain_server_that_comes_back_with_another_model_is_told(start: Start) -> None:
    servers = FakeServers(a="plain")
    engine = start(servers)
    other = httpx.Response(200, json={"data": [{"id": "else", "parent": None, "max_model_len": 4096}]})
    lose_once(servers)
    broken = servers.fail
    servers.fail = lambda request: other if request.url.path == "/v1/models" else broken(request)
    (error,) = embed(engine, text(1))
    assert type(error) is ConfigError
    assert "http://a: the server there was started anew" in str(error)
    assert "model 'plain', now 'else'" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {"data": [{"index": 3, "embedding": ""}]},
        {"data": [{"index": 0, "embedding": "AAAA"}]},
        {"data": [{"index": 0, "embedding": "!"}]},
        {"data": [{"index": 0, "embedding": "AACAPw=="}]},
        {},
        [],
        7,
    ],
)
def test_an_answer_that_is_none_is_told(start: Start, answer: object) -> None:
    servers = FakeServers(fail=lambda request: httpx.Response(200, json=answer) if request.url.path in PATHS else None)
    (error,) = embed(start(servers), text(1))
    assert type(error) is EngineError


def test_numbers_that_are_not_finite_are_the_items_error(start: Start) -> None:
    answer = {"data": [{"index": 0, "embedding": "AADAfw=="}]}
    servers = FakeServers(fail=lambda request: httpx.Response(200, json=answer) if request.url.path in PATHS else None)
    (error,) = embed(start(servers), text(1), dimensions=1)
    assert type(error) is InputError
    assert "overflowed" in str(error)


def test_a_slow_server_is_given_up_after_the_timeout(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancer, "PATIENCE", 0.1)

    def wait(request: httpx.Request) -> httpx.Response | None:
        if request.url.path in PATHS:
            raise httpx.ReadTimeout("slow", request=request)
        return None

    (error,) = embed(start(FakeServers(fail=wait), timeout=1.5), text(1))
    assert type(error) is EngineDeadError
    assert "no answer within timeout=1.5 s" in str(error)


def test_a_cancelled_call_takes_its_request_back(start: Start) -> None:
    servers = FakeServers(delay=30)
    servers.delay = 0
    engine = start(servers)
    servers.delay = 30

    async def ask() -> None:
        task = asyncio.create_task(engine.embed(text(1), dimensions=WIDTH, task="retrieval"))
        await asyncio.sleep(0.05)
        assert servers.inside["a"] == 1
        task.cancel()
        await asyncio.sleep(0.05)
        assert servers.inside["a"] == 0

    result(engine, ask())


def test_closing_ends_what_still_runs() -> None:
    servers = FakeServers()
    engine = RemoteEngine(config_of(), transport=servers.transport)
    servers.delay = 30
    with closing(engine):
        future = engine.run(engine.embed(text(1), dimensions=WIDTH, task="retrieval"))
        time.sleep(0.05)
    assert future.cancelled() or isinstance(future.exception(timeout=5), BaseException)
    engine.close()
