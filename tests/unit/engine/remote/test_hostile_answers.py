"""Answers and facts that are wrong: each is refused by name, with the server's URL, and nothing of another library."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.fake_servers import PATHS, WIDTH, FakeServers, facts_of, image_prompt
from tests.support.images import noise
from vllm_jina_embed import ConfigError, JinaEmbedder, VllmJinaError
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote.engine import RemoteEngine
from vllm_jina_embed.engine.remote.http import message, retry_after
from vllm_jina_embed.errors import EngineError, InputError
from vllm_jina_embed.prompts.base import Prompt

pytestmark = [pytest.mark.fire, pytest.mark.wide]

Start = Callable[..., RemoteEngine]
UNIT = np.full(WIDTH, WIDTH**-0.5, dtype="<f4")
DEEP = b"[" * 200_000


def encoded(values: Any) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


def entry(index: Any = 0, values: Any = UNIT, **changes: Any) -> dict[str, Any]:
    return {"index": index, "embedding": encoded(values), "data": encoded(values), **changes}


def answering(
    content: bytes | str, *, code: int = 200, paths: tuple[str, ...] = PATHS, kind: str = "embed"
) -> FakeServers:
    """Return servers whose answers on ``paths`` are ``content``."""
    body = content if isinstance(content, bytes) else content.encode()
    reply = lambda request: httpx.Response(code, content=body) if request.url.path in paths else None  # noqa: E731
    return FakeServers(fail=reply, a=kind)


def embed(engine: RemoteEngine, *ids: int) -> np.ndarray:
    job = engine.embed(Prompt(token_ids=ids), dimensions=WIDTH, task="retrieval")
    return engine.run(job).result(timeout=20)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry(values=UNIT * 37)], "L2 norm is 36 off"),
        ([entry(values=UNIT * 0)], "L2 norm is 1 off"),
        ([entry(values=UNIT * 1e30)], "L2 norm"),
        ([entry(values=UNIT * np.float32(1.02))], "L2 norm"),
        ([entry(values=UNIT[:-1])], "127 numbers; expected 128"),
        ([entry(values=[*UNIT, 0])], "129 numbers; expected 128"),
        ([entry(values=[])], "0 numbers"),
        ([entry(0.9)], "index 0.9"),
        ([entry(1.9)], "index 1.9"),
        ([entry(0.0)], "index 0.0"),
        ([entry(True)], "index True"),
        ([entry("0")], "index '0'"),
        ([entry(-1)], "index -1"),
        ([entry(1)], "index 1; expected each of 0 to 0 once"),
        ([entry(float("inf"))], "index inf"),
        ([entry(float("nan"))], "index nan"),
        ([entry(10**30)], "index 1000"),
        ([entry(None)], "index None"),
        ([entry(), entry()], "2 entries"),
        ([], "0 entries"),
        ([[0, 1]], "index None"),
        ([entry(embedding=[0.1] * WIDTH)], "in base64"),
        ([entry(embedding=None)], "got None"),
        ([entry(embedding="AAA")], "in base64"),
        ([entry(embedding="AAAA")], "in base64"),
        ([entry(embedding="\u00e9" * 4)], "in base64"),
        ([entry(embedding="\ud800")], "in base64"),
        ([entry(embedding=encoded(UNIT)[:-4] + "\n===")], "in base64"),
    ],
)
def test_a_vector_that_cannot_be_right_is_refused(start: Start, entries: list[Any], words: str) -> None:
    """By what is wrong with it, and the server's URL."""
    servers = answering(json.dumps({"data": entries}))
    with pytest.raises(EngineError) as caught:
        embed(start(servers), 1)
    assert type(caught.value) is EngineError
    assert words in str(caught.value)
    assert "http://a/v1/embeddings" in str(caught.value)


def test_an_index_that_comes_twice_is_refused(start: Start) -> None:
    engine = start(answering(json.dumps({"data": [entry(1), entry(1)]})))

    async def both() -> Any:
        return await engine._send(request, [Prompt(token_ids=(1,)), Prompt(token_ids=(2,))])

    from vllm_jina_embed.engine.remote.messages import VectorRequest

    request = VectorRequest(kind="embed", task="retrieval", dimensions=WIDTH)
    with pytest.raises(EngineError, match="index 1 twice"):
        engine.run(both()).result(timeout=20)


@pytest.mark.parametrize("dtype", [np.float16, "bfloat16"])
@pytest.mark.parametrize("width", [2, 128, 2048])
def test_a_vector_that_was_rounded_is_taken(dtype: Any, width: int) -> None:
    """To 11 bits or 8, up or down, in every number: the norm is right within 0.4 %."""
    from vllm_jina_embed.engine.remote.messages import unit

    rng = np.random.default_rng(width)
    for _ in range(50):
        row = rng.normal(size=width)
        row = (row / np.linalg.norm(row)).astype(np.float32)
        if dtype == "bfloat16":  # cut, which is worse than rounded
            row = (row.view(np.uint32) & 0xFFFF0000).view(np.float32)
        unit(row.astype(dtype if dtype == np.float16 else np.float32), "here")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(start: Start, value: float) -> None:
    """Of one token state too, and of multi-vectors."""
    for kind, call in (("embed", "embed"), ("token_embed", "embed"), ("token_embed", "multi_vector")):
        row = UNIT.copy()
        row[5] = value
        engine = start(answering(json.dumps({"data": [entry(values=row)]}), kind=kind))
        more = {"dimensions": WIDTH} if call == "embed" else {}
        with pytest.raises(InputError, match=r"http://a/.*overflowed"):
            engine.run(getattr(engine, call)(Prompt(token_ids=(1,)), task="retrieval", **more)).result(timeout=20)


@pytest.mark.parametrize("factor", [0, 37, 1e30])
def test_rows_of_multi_vectors_have_a_norm_of_one(start: Start, factor: float) -> None:
    """One wrong row among right ones is enough."""
    rows = np.stack([UNIT, UNIT * np.float32(factor), UNIT])
    engine = start(answering(json.dumps({"data": [entry(values=rows)]}), kind="token_embed"))
    with pytest.raises(EngineError, match=r"http://a/pooling: got a vector whose L2 norm"):
        engine.run(engine.multi_vector(Prompt(token_ids=(1, 2, 3)), task="retrieval")).result(timeout=20)


@pytest.mark.parametrize("factor", [0, 1e-30, 1e38])
@pytest.mark.filterwarnings("error")
def test_token_states_that_have_no_mean_are_refused(start: Start, factor: float) -> None:
    """What is pooled here has a norm of 1, or is an error and no warning of numpy."""
    states = np.stack([UNIT, UNIT]) * np.float32(factor)
    engine = start(answering(json.dumps({"data": [entry(values=states)]}), kind="token_embed"))
    with pytest.raises(EngineError, match="L2 norm"):
        embed(engine, 1, 2)


@pytest.mark.parametrize("path", ["/jina/checkpoint", "/v1/models", "/pooling", "/v1/embeddings", "/tokenize"])
@pytest.mark.parametrize("code", [200, 301, 400, 500, 503])
@pytest.mark.parametrize(
    "body",
    [DEEP, b'{"error":' * 100_000, b"", b"null", b"7", b"NaN", b"[]", b'"a"', b"{}", b"\xff\xfe\x00", b"\x00" * 50,
     b"1" * 50_000, b'{"data": [{"index": Infinity}]}', b'{"data": [null]}', b'{"data": 7}', b'{"tokens": 7}',
     b'{"data": [{"id": "m", "max_model_len": 1e999}]}', b'{"error": {"message": "\\ud800\\u001b[2J"}}'],
)  # fmt: skip
def test_every_body_of_every_status_ends_in_our_error(
    start: Start, monkeypatch: pytest.MonkeyPatch, path: str, code: int, body: bytes
) -> None:
    """Named by the URL, printable, and never a RecursionError, OverflowError or AttributeError."""
    from vllm_jina_embed.engine.remote import balancer

    monkeypatch.setattr(balancer, "PATIENCE", 0.02)
    monkeypatch.setattr(balancer, "HURRY", 0.02)
    kind = "plain" if path in {"/v1/models", "/pooling", "/tokenize"} else "embed"
    servers = answering(body, code=code, paths=(path,), kind=kind)

    def call() -> None:
        with closing(start(servers)) as engine:
            job = engine.embed(image_prompt(noise(56, 56)), dimensions=WIDTH, task="retrieval")
            engine.run(job).result(timeout=20)

    with pytest.raises(VllmJinaError) as caught:
        call()
    assert "http://a" in str(caught.value)
    assert str(caught.value).replace("\n", "").isprintable()
    assert len(str(caught.value)) < 2000


CHECKPOINT = ("hidden_size", "dimensions", "token_dimensions", "min_pixels", "max_pixels", "max_length", "tasks",
              "name", "location", "has_adapters", "family")  # fmt: skip
SERVER = ("revision", "files", "dtype", "pooler_task", "projected", "max_tokens", "priority", "models", "version")
NUMBERS = (0, -5, 10**12, 10**30, 1.5, 1e999, float("nan"), True, None, "7", [], {})
LISTS = ([], [0], [-5], [128, 10**12], [64, 64, 128], [128, 64], [64], 128, "128", [True], [None], [1.5], {"128": 1})
TEXTS = ("a" * 2000, "a\x00b", "a\nb", "\ud800", "\x1b[2J", 7, None, ["a"], {}, True)
WRONG: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        ("hidden_size", "token_dimensions", "min_pixels", "max_pixels", "max_length", "max_tokens"), NUMBERS
    ),
    **dict.fromkeys(("name", "location", "files", "dtype", "version"), TEXTS),
    **dict.fromkeys(("family", "pooler_task"), (*TEXTS, "", "another")),
    **dict.fromkeys(("has_adapters", "projected", "priority"), (0, 1, "true", None, [])),
    "revision": tuple(text for text in TEXTS if text is not None),
    "dimensions": LISTS,
    "tasks": ([], "retrieval", ["retrieval"] * 101, ["summarise"], [7], [None], {}, None, 7),
    "models": ([], None, "retrieval", {"retrieval": 7}, {"a": "b" * 2000}, {str(n): "b" for n in range(101)}),
}
FACTS = [(name, value) for name, values in WRONG.items() for value in values]


def test_every_fact_is_tried() -> None:
    """A new one must say what it may be."""
    told = facts_of("embed")
    assert {*WRONG} == ({*told["checkpoint"]} | {*told}) - {"checkpoint", "of a later version"}
    assert {*CHECKPOINT} | {*SERVER} == {*WRONG}


@pytest.mark.parametrize(("name", "value"), FACTS)
def test_a_fact_that_cannot_be_is_refused_by_name(start: Start, name: str, value: Any) -> None:
    """Zero, negative, giant, of another type, in another order, unprintable: before anything is made of it."""
    checkpoint = facts_of("embed")["checkpoint"]
    changes = {"checkpoint": {**checkpoint, name: value}} if name in CHECKPOINT else {name: value}
    told = json.dumps(facts_of("embed", **changes))  # NaN and Infinity as Python writes and reads them
    with pytest.raises(ConfigError, match=r"http://a/jina/checkpoint: the server's facts cannot be read") as caught:
        start(answering(told, paths=("/jina/checkpoint",)), checkpoint=None)
    assert name in str(caught.value) or (name, value) in {("hidden_size", 7)}
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", [*CHECKPOINT, *SERVER, "checkpoint"])
def test_a_fact_that_is_missing_is_refused_by_name(start: Start, name: str) -> None:
    told = facts_of("embed")
    del (told["checkpoint"] if name in CHECKPOINT else told)[name]
    with pytest.raises(ConfigError, match=rf"{name} is missing|expected Checkpoint's fields"):
        start(answering(json.dumps(told), paths=("/jina/checkpoint",)), checkpoint=None)


@pytest.mark.parametrize("tokenizer", [b"", b"{}", b"null", DEEP, b"\xff", b'{"model": {"type": "BPE"}}', b"1" * 9999])
def test_a_tokenizer_that_is_none_names_the_server(monkeypatch: pytest.MonkeyPatch, tokenizer: bytes) -> None:
    servers = answering(tokenizer, paths=("/jina/tokenizer.json",))
    pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))
    monkeypatch.setattr(JinaEmbedder, "_pool", pool)
    with pytest.raises(ConfigError, match=r"http://a.*tokenizer"):
        JinaEmbedder.from_server("http://a")
    pool.close()


def test_what_a_server_calls_its_checkpoint_is_no_path_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name such as ``/etc`` is not looked for on this machine."""
    seen: list[Path] = []
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: seen.append(path) or is_dir(path))
    told = facts_of("embed")
    told["checkpoint"] |= {"name": "/etc", "location": "/etc"}
    servers = FakeServers(facts={"checkpoint": told["checkpoint"]})
    pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))
    monkeypatch.setattr(JinaEmbedder, "_pool", pool)
    with JinaEmbedder.from_server("http://a") as embedder:
        embedder.embed(["a"])
    assert Path("/etc") not in seen


@pytest.mark.parametrize(
    "value", ["inf", "nan", "1e400", "9" * 400, "9" * 100_000, "-inf", "\x00", "", "Mon, 99 Foo 99999 99:99:99 GMT",
              "Mon, 01 Jan 0001 00:00:00 -0000", "Fri, 31 Dec 9999 23:59:59 -9999", ",", "1 2 3 4 5", "\ud800", "é"]
)  # fmt: skip
def test_a_retry_after_that_is_nonsense_asks_for_nothing(value: str) -> None:
    assert retry_after(value) == 0 or "9999" in value
    assert retry_after(value) < 1e12


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (DEEP, "[" * 500),
        (b'{"error": {"message": "a\\u001b[2Jb\\u202ec\\ud800"}}', "a?[2Jb?c?"),
        (b'{"error": {"message": null}}', "None"),
        (b'{"error": []}', "[]"),
    ],
)
def test_what_a_server_says_is_short_and_printable(body: bytes, wanted: str) -> None:
    assert message(body) == wanted
