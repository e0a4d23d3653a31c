"""Who may ask the page, and how much may be sent, before NiceGUI sees anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from vllm_jina_embed._addresses import names_of
from vllm_jina_embed.ui.guard import BODY_BYTES, UPLOADS_AT_ONCE, Guard

NAMES = names_of("127.0.0.1")
UPLOAD = "/_nicegui/client/4b/upload/7"


class Behind:
    """The app behind the guard: notes what reached it, and reads bodies whole."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope["path"])
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        while (await receive()).get("more_body"):
            pass
        await self.may_end.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"page"})


async def asked(
    guard: Any,
    path: str = "/",
    *,
    kind: str = "http",
    method: str = "GET",
    host: str | None = "127.0.0.1:8080",
    body: tuple[bytes, ...] = (b"",),
    **headers: str,
) -> list[dict[str, Any]]:
    """Return what a connection is answered."""
    pairs = [] if host is None else [(b"host", host.encode())]
    pairs += [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": kind, "path": path, "method": method, "headers": pairs, "scheme": "http"}
    chunks = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in body]
    chunks[-1]["more_body"] = False
    waiting: Iterator[dict[str, Any]] = iter(chunks)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(waiting)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await guard(scope, receive, send)
    return sent


def status(sent: list[dict[str, Any]]) -> int:
    return int(sent[0].get("status", 0))


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "[::1]", "127.0.0.1"])
async def test_this_machine_is_answered_under_its_names(host: str) -> None:
    assert status(await asked(Guard(Behind(), names=NAMES), host=host)) == 200


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "127.0.0.2", "localhost.", "[::2]:8080",
     "user@127.0.0.1", "evil.example/127.0.0.1", "127.0.0.1 evil.example"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_name_that_leads_here_is_refused(host: str | None, kind: str) -> None:
    """DNS rebinding: the browser believes that it asks another site."""
    behind = Behind()
    sent = await asked(Guard(behind, names=NAMES), kind=kind, host=host, origin=f"http://{host}")
    assert behind.seen == []
    assert (status(sent) == 421) if kind == "http" else (sent == [{"type": "websocket.close", "code": 1008}])


async def test_two_hosts_are_refused() -> None:
    behind = Behind()
    assert status(await asked(Guard(behind, names=NAMES), Host="127.0.0.1:8080")) == 421
    assert behind.seen == []


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1", "file://127.0.0.1:8080",
     "http://localhost:8080", "http://[", "https://127.0.0.1:8080.evil.example", "chrome-extension://127.0.0.1:8080"],
)  # fmt: skip
@pytest.mark.parametrize(("kind", "path", "method"), [
    ("websocket", "/_nicegui_ws/socket.io/", "GET"), ("http", UPLOAD, "POST"), ("http", "/", "GET"),
])  # fmt: skip
async def test_another_page_in_the_browser_cannot_ask(origin: str, kind: str, path: str, method: str) -> None:
    """No cross-site websocket, form or upload, also from another port of this machine."""
    behind = Behind()
    sent = await asked(Guard(behind, names=NAMES), path, kind=kind, method=method, origin=origin)
    assert behind.seen == []
    assert (status(sent) == 403) if kind == "http" else (sent == [{"type": "websocket.close", "code": 1008}])


async def test_the_page_itself_may_open_a_websocket() -> None:
    guard = Guard(Behind(), names=NAMES)
    for host, origin in (("127.0.0.1:8080", "http://127.0.0.1:8080"), ("localhost", "https://localhost")):
        sent = await asked(guard, "/_nicegui_ws/socket.io/", kind="websocket", host=host, origin=origin)
        assert sent == [{"type": "websocket.accept"}]


async def test_a_websocket_from_nowhere_is_closed() -> None:
    behind = Behind()
    sent = await asked(Guard(behind, names=NAMES), "/_nicegui_ws/socket.io/", kind="websocket")
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert behind.seen == []


@pytest.mark.parametrize(
    ("site", "mode", "kind", "expected"),
    [
        ("none", "navigate", "document", 200),
        ("same-origin", "cors", "empty", 200),
        ("cross-site", "navigate", "document", 200),
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "no-cors", "image", 403),
        ("same-site", "no-cors", "script", 403),
        ("cross-site", "cors", "document", 403),
    ],
)
async def test_another_site_may_link_here_and_embed_nothing(site: str, mode: str, kind: str, expected: int) -> None:
    """Each page that is loaded costs something, and a site could load many unseen."""
    headers = {"sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": kind}
    assert status(await asked(Guard(Behind(), names=NAMES), **headers)) == expected


async def test_any_name_is_good_where_a_key_is_all_that_counts() -> None:
    """The origin must still be the same page."""
    guard = Guard(Behind(), names=None)
    assert status(await asked(guard, host="search.example.org", origin="https://search.example.org")) == 200
    assert status(await asked(guard, host="search.example.org", origin="https://evil.example")) == 403
    assert status(await asked(guard, host=None)) == 421


@pytest.mark.parametrize(
    "path",
    ["/docs", "/openapi.json", "/key", "/etc/passwd", "/../etc/passwd", "//etc/passwd", "/_niceguix", "/static/a.js",
     "/favicon.icon", "", "/%2e%2e/corpus", "/corpus/part-00000.parquet"],
)  # fmt: skip
async def test_no_other_path_is_passed_on(path: str) -> None:
    behind = Behind()
    assert status(await asked(Guard(behind, names=NAMES), path)) == 404
    assert behind.seen == []


async def test_every_answer_says_what_a_browser_may_load() -> None:
    """Nothing from elsewhere, and no frame of another page."""
    guard = Guard(Behind(), names=NAMES)
    for sent in (await asked(guard), await asked(guard, "/docs"), await asked(guard, host="evil.example")):
        headers = dict(sent[0]["headers"])
        assert b"default-src 'self'" in headers[b"content-security-policy"]
        assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]
        assert b"http" not in headers[b"content-security-policy"]
        assert headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize("length", ["1001", "999999999999999999999999", "-1", "1e9", "0x10", "", "1001, 5"])
async def test_an_upload_that_says_that_it_is_too_long_is_not_read(length: str) -> None:
    behind = Behind()
    guard = Guard(behind, names=NAMES, upload_bytes=1000)
    assert status(await asked(guard, UPLOAD, method="POST", content_length=length)) == 413
    assert behind.seen == []


async def test_an_upload_that_says_nothing_is_cut_off() -> None:
    guard = Guard(Behind(), names=NAMES, upload_bytes=1000)
    assert status(await asked(guard, UPLOAD, method="POST", body=(bytes(600), bytes(400)))) == 200
    assert status(await asked(guard, UPLOAD, method="POST", body=(bytes(600), bytes(401)))) == 413
    assert status(await asked(guard, UPLOAD, method="POST", content_length="10", body=(bytes(2000),))) == 413


async def test_other_bodies_are_short() -> None:
    guard = Guard(Behind(), names=NAMES)
    assert status(await asked(guard, "/", method="POST", body=(bytes(BODY_BYTES),))) == 200
    assert status(await asked(guard, "/", method="POST", body=(bytes(BODY_BYTES + 1),))) == 413


async def test_few_uploads_run_at_once() -> None:
    """One more is told to wait, and is taken once others are done, also if they failed."""
    behind = Behind()
    behind.may_end.clear()
    guard = Guard(behind, names=NAMES, upload_bytes=1000)
    running = [asyncio.create_task(asked(guard, UPLOAD, method="POST")) for _ in range(UPLOADS_AT_ONCE)]
    while len(behind.seen) < UPLOADS_AT_ONCE:
        await asyncio.sleep(0)
    assert status(await asked(guard, UPLOAD, method="POST")) == 503
    running.pop().cancel()
    behind.may_end.set()
    await asyncio.gather(*running)
    for _ in range(2 * UPLOADS_AT_ONCE):
        assert status(await asked(guard, UPLOAD, method="POST", body=(bytes(2000),))) == 413
    assert status(await asked(guard, UPLOAD, method="POST")) == 200
