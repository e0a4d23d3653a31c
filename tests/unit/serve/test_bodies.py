"""Bodies of requests within bounds, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from vllm_jina_embed.serve.bodies import App, Bodies

pytestmark = pytest.mark.fire


async def reads(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads the body and answers with its size."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(size).encode()})


async def covers_up(scope: Any, receive: Any, send: Any) -> None:
    """As FastAPI: whatever fails while a body is read becomes a 400."""
    try:
        await reads(scope, receive, send)
    except Exception:
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"null"})


async def ask(
    bodies: Bodies, parts: Sequence[bytes], app: App = covers_up, *, announced: int | None = None, stops: bool = False
) -> tuple[int, Any]:
    """Send a body in parts and return the status and the answer; the last part may never come."""
    sent: list[Any] = []
    rest = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if not stops:
        rest[-1]["more_body"] = False

    async def receive() -> Any:
        if not rest:
            await asyncio.sleep(3600)
        return rest.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if announced is None else [(b"content-length", str(announced).encode())]
    await bodies.pass_on(app, {"type": "http", "headers": headers}, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.mark.parametrize("app", [reads, covers_up])
async def test_a_body_over_the_bound_is_413(app: App) -> None:
    """Announced or not, whatever the application makes of the error."""
    bodies = Bodies(one=10)
    assert await ask(bodies, [b"12345", b"67890"], app) == (200, 10)
    for parts, announced in (([b"12345", b"678901"], None), ([b"1"], 11)):
        status, answer = await ask(bodies, parts, app, announced=announced)
        assert status == 413
        assert answer["error"]["code"] == 413
        assert "larger than 10 bytes" in answer["error"]["message"]


async def test_all_bodies_together_are_bounded() -> None:
    """What was held is given back when a request is over."""
    bodies = Bodies(one=100, together=100)
    first = asyncio.create_task(ask(bodies, [b"x" * 80], stops=True))
    await asyncio.sleep(0)
    status, answer = await ask(bodies, [b"y" * 30])
    assert (status, answer["error"]["type"]) == (503, "ServiceUnavailableError")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert await ask(bodies, [b"y" * 100]) == (200, 100)


async def test_a_body_that_does_not_arrive_is_408() -> None:
    status, answer = await ask(Bodies(seconds=0.05), [b"x"], stops=True)
    assert (status, answer["error"]["type"]) == (408, "RequestTimeoutError")


async def test_a_whole_body_is_not_bound_in_time() -> None:
    """The wait for a client that goes away may take longer than a body."""

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.wait({asyncio.create_task(receive())}, timeout=0.2)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1"})

    assert await ask(Bodies(seconds=0.05), [b"x"], waits) == (200, 1)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RecursionError(), 400),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), 400),
        (AssertionError("inner secret"), 500),
    ],
)
async def test_every_failure_is_named(error: Exception, status: int) -> None:
    """In the form of the OpenAI API, without what the exception says."""

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise error

    got, answer = await ask(Bodies(), [b"x"], fails)
    assert (got, answer["error"]["code"]) == (status, status)
    assert answer["error"]["message"]
    assert "secret" not in answer["error"]["message"]


@pytest.mark.fire
async def test_a_length_of_any_number_of_digits_is_read() -> None:
    """Python refuses to make a number of 5000 digits, which was a 500."""
    for announced, expected in (("9" * 5000, 413), ("0" * 5000 + "1", 200)):
        status, _ = await ask(Bodies(one=10), [b"1"], reads, announced=announced)  # type: ignore[arg-type]
        assert status == expected
