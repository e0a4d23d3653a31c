"""Serve the page: the app of NiceGUI behind the guard."""

from __future__ import annotations

import asyncio
import sys
import webbrowser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from .._addresses import check_address, is_local, listening, names_of, url_of
from .._extras import require
from .arguments import KEY_VARIABLE
from .guard import Guard
from .login import Login
from .searching import Searcher
from .shelf import Shelves

SECONDS_TO_END = 5
SECONDS_TO_COME_BACK = 20.0
"""How long a page may be without a connection until its items go."""
MESSAGE_BYTES = 1024 * 1024


def app_of(
    searcher: Searcher,
    *,
    host: str = "127.0.0.1",
    api_key: str | None = None,
    allow_hosts: Sequence[str] = (),
    shelves: Shelves | None = None,
) -> Guard:
    """Return the ASGI app of the page; NiceGUI has one per process.

    Args:
        searcher: What answers; it is started and closed with the app.
        host: The address that it will listen on.
        api_key: Key that people type in first; None lets everybody of this machine in.
        allow_hosts: Names by which it is opened, as in URLs, beside those of this machine; other values of ``Host``
            and ``Origin`` are refused. With a key and none of them, any name is good.
        shelves: Where the items of all pages are.

    Raises:
        ConfigError: Other machines would be served without a key, or the key cannot stand in a header.
        MissingExtraError: NiceGUI is not installed.
    """
    check_address(host, api_key, KEY_VARIABLE)
    require("ui", "nicegui")
    from fastapi import FastAPI
    from nicegui import ui

    ready: list[asyncio.Task[None]] = []
    opened = Shelves() if shelves is None else shelves

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        ready.append(asyncio.create_task(searcher.start()))
        try:
            yield
        finally:
            ready[0].cancel()
            with suppress(asyncio.CancelledError, Exception):
                await ready[0]
            await searcher.aclose()

    @ui.page("/")  # a root page would answer every unknown path
    async def page() -> None:
        await build(searcher, opened, ready[0])

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    ui.run_with(
        app,
        title="vllm-jina-embed",
        dark=None,
        tailwind=False,
        reconnect_timeout=SECONDS_TO_COME_BACK,
        show_welcome_message=False,
        message_history_length=100,
    )
    names = names_of(host, tuple(allow_hosts)) if is_local(host) or allow_hosts else None
    return Guard(app, names=names, login=None if api_key is None else Login(api_key))


async def build(searcher: Searcher, shelves: Shelves, ready: asyncio.Task[None]) -> None:
    """Build the page of one person, who has items of their own."""
    from nicegui import context

    from .page import Page

    shelf = shelves.new()
    page = Page(searcher, shelf, ready)

    async def connected() -> None:
        if shelves.enter(shelf):
            await page.wait()
        else:
            page.problem(f"{shelves.most} pages are open, which is the most. Close one and load this page again.")

    def left() -> None:
        searcher.forget(shelf)
        shelves.leave(shelf)

    context.client.on_connect(connected)
    context.client.on_delete(left)


def serve(
    searcher: Searcher,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    api_key: str | None = None,
    allow_hosts: Sequence[str] = (),
    is_opened: bool = True,
) -> None:
    """Serve the page until Ctrl-C; says on stderr where.

    Args:
        searcher: What answers.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        api_key: As in ``app_of``; so is ``allow_hosts``.
        allow_hosts: See ``app_of``.
        is_opened: Whether to open the page in a browser.

    Raises:
        ConfigError: As ``app_of``, or the port cannot be used.
        MissingExtraError: NiceGUI is not installed.
    """
    require("ui", "nicegui")
    import uvicorn

    app = app_of(searcher, host=host, api_key=api_key, allow_hosts=allow_hosts)
    with listening(host, port) as opened:
        url = url_of(host, opened.getsockname()[1])
        told = "with a key" if api_key is not None else "this machine alone"
        sys.stderr.write(f"Open {url} in a browser ({told}). Ctrl-C ends it.\n")
        sys.stderr.flush()
        if is_opened:
            webbrowser.open(url)
        config = uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=SECONDS_TO_END,
            ws_max_size=MESSAGE_BYTES,
            server_header=False,
            proxy_headers=False,
        )
        uvicorn.Server(config).run(sockets=[opened])
