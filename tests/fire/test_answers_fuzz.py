"""Random answers, facts, headers and bodies against what reads them: errors of ours, whatever comes."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.support.fake_servers import facts_of
from vllm_jina_embed._secrets import split_login
from vllm_jina_embed.engine.remote import http, messages
from vllm_jina_embed.engine.remote.balancer import LostError
from vllm_jina_embed.engine.remote.server_facts import ServerFacts
from vllm_jina_embed.errors import ConfigError, EngineError, InputError

pytestmark = [pytest.mark.fire, pytest.mark.siege]

URL = "http://a"
OURS = (ConfigError, EngineError, InputError)

NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 10**12, 10**400, 1e308, 0.9, 1.9])
TEXTS = st.text(st.characters(), max_size=40) | st.sampled_from(["\ud800", "\x00", "\x1b[2J", "a" * 5000])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)
FLOATS = st.lists(st.floats(width=32), max_size=5).map(
    lambda values: base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()
)


@st.composite
def answers(draw: st.DrawFn) -> Any:
    """An answer of vLLM, some parts of which are something else."""
    count = draw(st.integers(0, 4))
    entries: list[Any] = []
    for index in range(count):
        right = {"index": index, "embedding": draw(FLOATS), "object": "embedding"}
        entries.append(draw(st.just(right) | JSON | st.fixed_dictionaries(
            {"index": st.integers(-1, 4) | LEAVES, "embedding": FLOATS | JSON}
        )))  # fmt: skip
    return draw(st.just({"data": entries}) | st.fixed_dictionaries({"data": JSON}) | JSON)


@st.composite
def facts(draw: st.DrawFn) -> Any:
    """The facts of a server, some of which are something else, or missing."""
    told = facts_of(draw(st.sampled_from(["embed", "token_embed"])))
    for part in (told, told["checkpoint"]):
        for name in draw(st.lists(st.sampled_from(sorted(part)), max_size=2, unique=True)):
            if draw(st.booleans()):
                del part[name]
            else:
                part[name] = draw(JSON | st.lists(st.integers(-1, 200), max_size=3))
    return told


def for_seconds(seconds: float, strategy: st.SearchStrategy[Any], check: Callable[[Any], object]) -> None:
    """Run ``check`` on random values until the time is up; print how many there were."""
    ends, runs, number = time.monotonic() + seconds, 0, int(time.time())
    while time.monotonic() < ends:

        @seed(number := number + 1)
        @settings(
            max_examples=500, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(strategy)
        def run(value: Any) -> None:
            nonlocal runs
            runs += 1
            check(value)

        run()
    print(f"{runs} values, the last seed {number}")
    assert runs >= 100


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--fuzz-seconds"))


def refused(check: Callable[[], object]) -> bool:
    """Tell whether one of our errors came; it is short, printable and names the server."""
    try:
        check()
    except OURS as error:
        told = str(error)
        assert URL in told
        assert told.isprintable()
        assert len(told) < 2000
        return True
    return False


def test_answers(seconds: float) -> None:
    """Arrays of finite numbers in the order of the prompts, or our error."""

    def check(told: Any) -> None:
        told = http.decoded(json.dumps(told).encode())
        for count in (1, 2):

            def ask(count: int = count) -> None:
                arrays = messages.answers(told, "embedding", count, where=URL)
                assert len(arrays) == count
                assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays)
                for array in arrays:
                    assert abs(np.linalg.norm(messages.unit(array, URL).astype(float)) - 1) < 0.011

            refused(ask)
        refused(lambda: messages.model_of(told, URL))

    for_seconds(seconds, answers(), check)


def test_facts(seconds: float) -> None:
    """Facts within their bounds, which are told again as they were read, or our error."""

    def check(told: Any) -> None:
        told = http.decoded(json.dumps(told).encode())

        def ask() -> None:
            found = ServerFacts.from_json(told, URL)
            assert 0 < found.max_tokens <= 10_000_000
            assert 0 < found.checkpoint.hidden_size == max(found.checkpoint.matryoshka_sizes) <= 65_536
            assert ServerFacts.from_json(json.loads(json.dumps(found.to_json())), URL) == found

        refused(ask)

    for_seconds(seconds, facts() | JSON, check)


def test_headers_and_bodies(seconds: float) -> None:
    """A pause that ends, a short printable line, and a status that means one of our errors."""
    bodies = st.binary(max_size=200) | JSON.map(lambda told: json.dumps({"error": told}).encode())
    bodies |= st.integers(0, 3000).map(lambda depth: b"[" * depth) | st.binary(max_size=9).map(lambda b: b * 9999)
    waits = st.text(max_size=60) | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(
        lambda at: at.strftime("%a, %d %b %Y %H:%M:%S ") + "GMT"
    ) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} [A-Z][a-z]{2} -?\d{1,9} \d\d:\d\d:\d\d [+-]\d{1,9}")  # fmt: skip

    def check(value: tuple[int, bytes, str]) -> None:
        status, body, wait = value
        assert 0 <= http.retry_after(wait) < float("inf")
        said = http.message(body)
        assert 0 < len(said) <= 500
        assert said.isprintable()
        reply = http.Reply(status=status, headers={"retry-after": wait}, body=body)
        lost: LostError | None = None
        try:
            assert refused(lambda: http.check(reply, URL)) == (status >= 300)
        except LostError as error:
            lost = error
        assert lost is None or (0 <= lost.wait < float("inf") and str(lost).isprintable())

    for_seconds(seconds, st.tuples(st.integers(100, 999), bodies, waits), check)


def test_compressed_bodies(seconds: float) -> None:
    """No more bytes than there may be, or our error."""
    packed = st.binary(max_size=300) | st.tuples(st.binary(max_size=20), st.integers(0, 9999), st.integers(0, 60)).map(
        lambda given: zlib.compress(given[0] * given[1])[: given[2] or None]
    )
    encodings = st.sampled_from(["", "identity", "gzip", "deflate", "br", "gzip, gzip"]) | st.text(max_size=9)

    def check(value: tuple[bytes, str, int]) -> None:
        body, encoding, size = value

        async def chunks() -> AsyncIterator[bytes]:
            for at in range(0, len(body), size):
                yield body[at : at + size]

        def ask() -> None:
            assert len(asyncio.run(http.read(chunks(), encoding=encoding, most=1000, where=URL))) <= 1000

        refused(ask)
        assert len(asyncio.run(http.read_error(chunks(), encoding=encoding))) <= http.ERROR

    for_seconds(seconds, st.tuples(packed, encodings, st.integers(1, 99)), check)


def test_urls(seconds: float) -> None:
    """A URL without its user name and password, or an error that shows neither."""
    part = st.text(st.characters(exclude_characters="@"), max_size=12)
    urls = st.tuples(st.sampled_from(["http://", "https://", "", "ftp://"]), part, part).map(
        lambda parts: f"{parts[0]}user:pa55word{parts[1]}@host{parts[2]}"
    )

    def check(url: str) -> None:
        try:
            clean, login = split_login(url)
        except ConfigError as error:
            clean, login = str(error), None
        else:
            assert login is not None
            assert login.reveal().startswith("user:pa55word")
        assert "pa55word" not in clean
        assert clean.isprintable()

    for_seconds(seconds, urls, check)
