"""The key of the page."""

from __future__ import annotations

from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest

from tests.unit.ui.test_guard import Behind, asked, status
from vllm_jina_embed.ui.guard import Guard
from vllm_jina_embed.ui.login import MOST, Login

KEY = "a-long-key-0123456789"


def guarded() -> tuple[Guard, Behind]:
    behind = Behind()
    return Guard(behind, names=None, login=Login(KEY, seconds=0)), behind


def cookie(sent: list[dict[str, object]]) -> str:
    headers = dict(sent[0]["headers"])  # type: ignore[call-overload]
    return str(headers[b"set-cookie"].decode())


async def typed_in(guard: Guard, key: str) -> list[dict[str, object]]:
    return await asked(guard, "/key", method="POST", body=(urlencode({"key": key}).encode(),))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "ui_0=x"},
        {"cookie": f"key={KEY}"},
        {"cookie": "ui=;;;=\xff"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": f"Bearer {KEY[:-1]}"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": KEY},
        {"authorization": "Bearer "},
        {"authorization": "Bearer \xff"},
        {"x_api_key": KEY},
        {"authorization": f"Bearer {KEY}", "Authorization": f"Bearer {KEY}"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/_nicegui/3.18.0/static/a.js", "/_nicegui_ws/socket.io/"])
async def test_nothing_is_passed_on_without_the_key(headers: dict[str, str], path: str) -> None:
    guard, behind = guarded()
    sent = await asked(guard, path, **headers)
    assert status(sent) == 401
    assert KEY.encode() not in sent[1]["body"]
    closed = await asked(guard, path, kind="websocket", origin="http://127.0.0.1:8080", **headers)
    assert closed == [{"type": "websocket.close", "code": 1008}]
    assert behind.seen == []


async def test_who_types_the_key_in_is_let_in() -> None:
    """By a cookie that holds another word than the key, and that no script reads."""
    guard, behind = guarded()
    sent = await typed_in(guard, f" {KEY} ")
    assert status(sent) == 303
    given = cookie(sent)
    assert KEY not in given
    assert "HttpOnly" in given
    assert "SameSite=Strict" in given
    (morsel,) = SimpleCookie(given).values()
    assert status(await asked(guard, cookie=f"other=1; {morsel.key}={morsel.value}")) == 200
    ways = {"kind": "websocket", "origin": "http://127.0.0.1:8080"}
    assert await asked(guard, "/_nicegui_ws/", cookie=f"{morsel.key}={morsel.value}", **ways) == [
        {"type": "websocket.accept"}
    ]
    assert status(await asked(guard, cookie=f"{morsel.key}={morsel.value[:-1]}")) == 401
    assert len(behind.seen) == 2


async def test_a_program_sends_the_key_itself() -> None:
    guard, behind = guarded()
    assert status(await asked(guard, authorization=f"Bearer {KEY}")) == 200
    assert behind.seen == ["/"]


@pytest.mark.parametrize(
    "body",
    [b"", b"key=", b"key=wrong", b"key=" + KEY.encode() + b"&key=" + KEY.encode(), b"\xff\xfe", b"a=1&b=2&c=3&d=4&e=5",
     b"key=" + KEY.encode() + b" " * 5000, b'{"key": "' + KEY.encode() + b'"}', b"Key=" + KEY.encode()],
)  # fmt: skip
async def test_another_form_lets_nobody_in(body: bytes) -> None:
    guard, behind = guarded()
    sent = await asked(guard, "/key", method="POST", body=(body,))
    assert status(sent) == 401
    assert b"not the key" in sent[1]["body"]
    assert behind.seen == []


async def test_a_browser_says_where_the_form_comes_from() -> None:
    """Under the policy no-referrer it says "null", which the guard takes for another page."""
    guard, _ = guarded()
    headers = dict((await asked(guard))[0]["headers"])
    assert headers[b"referrer-policy"] == b"same-origin"
    body, own = urlencode({"key": KEY}).encode(), "http://127.0.0.1:8080"
    assert status(await asked(guard, "/key", method="POST", body=(body,), origin=own)) == 303
    assert status(await asked(guard, "/key", method="POST", body=(body,), origin="null")) == 403


async def test_another_page_cannot_send_the_form() -> None:
    guard, _ = guarded()
    body = urlencode({"key": KEY}).encode()
    assert status(await asked(guard, "/key", method="POST", body=(body,), origin="http://evil.example")) == 403


async def test_who_came_first_types_the_key_again_at_last() -> None:
    guard, _ = guarded()
    (first,) = SimpleCookie(cookie(await typed_in(guard, KEY))).values()
    for _ in range(MOST):
        last = await typed_in(guard, KEY)
    assert status(await asked(guard, cookie=f"{first.key}={first.value}")) == 401
    (morsel,) = SimpleCookie(cookie(last)).values()
    assert status(await asked(guard, cookie=f"{morsel.key}={morsel.value}")) == 200


async def test_the_cookie_of_another_page_of_this_machine_has_another_name() -> None:
    """Cookies do not tell ports apart, so one page would throw the other's people out."""
    names = set()
    for _ in range(2):
        guard, _ = guarded()
        (morsel,) = SimpleCookie(cookie(await typed_in(guard, KEY))).values()
        names.add(morsel.key)
    assert len(names) == 2
