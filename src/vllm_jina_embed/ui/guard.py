"""ASGI middleware before the page: who may ask for what, and how much may be sent.

A browser runs pages of others too, which may send requests here. So the ``Host`` must be a name of this server (DNS
rebinding), and a request with an ``Origin`` must come from this page itself: a form, a script, a websocket. Another
site may link here, and embed nothing of the page. Only the
paths of the page are passed on, and bodies are cut off at a bound before anything reads them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from .login import Login

UPLOAD_BYTES = 33 * 1024 * 1024
"""Longest body of an upload: a file of 32 MiB and the words of the form around it."""
BODY_BYTES = 64 * 1024
"""Longest body of any other request."""
UPLOADS_AT_ONCE = 8
PATHS = ("/_nicegui/", "/_nicegui_ws/")
"""Where the page's scripts, uploads and websocket are."""
CSP = (
    # Vue compiles templates in the browser, which needs unsafe-eval. Nothing is loaded from elsewhere.
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; "
    b"frame-ancestors 'none'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", CSP),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Scope]]
Send: TypeAlias = Callable[[Scope], Awaitable[None]]


class TooLong(Exception):  # noqa: N818 (it never leaves this file)
    """A body is longer than it may be."""


class Guard:
    """Passes on what the page itself sends.

    Attributes:
        app: The app behind it.
    """

    def __init__(
        self, app: Any, *, names: Sequence[str] | None, login: Login | None = None, upload_bytes: int = UPLOAD_BYTES
    ) -> None:
        """Check nothing.

        Args:
            app: The ASGI app of the page.
            names: Names by which it may be asked, without a port; None allows any name.
            login: Lets in who knows the key; None lets in everybody.
            upload_bytes: Longest body of an upload.
        """
        self.app, self._login, self._upload_bytes = app, login, upload_bytes
        self._names = None if names is None else {name.lower() for name in names}
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refuse(scope, send, *refusal)
        elif self._login is not None and (scope["path"] == "/key" or not self._login.is_in(scope)):
            await self._login(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        else:
            await self._bounded(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and the reason with which a request is refused, or None."""
        hosts, origins = (values(scope, name) for name in (b"host", b"origin"))
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return 421, "This page is not served by that name. See --allow-host."
        if len(origins) > 1 or (origins and not is_same(origins[0], hosts[0])):
            return 403, "Another page may not ask this one."
        if is_embedded(scope):
            return 403, "Another page may not show this one or parts of it."
        if scope["type"] == "websocket" and not origins:
            return 403, "A websocket must say where it comes from."
        path = scope["path"]
        own = ("/", "/favicon.ico") if self._login is None else ("/", "/favicon.ico", "/key")
        if path not in own and not path.startswith(PATHS):
            return 404, "There is no such page."
        return None

    def _is_own(self, host: str) -> bool:
        if self._names is None:
            return bool(host)
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        return (name or port).lower() in self._names

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request whose body is short enough; few uploads at a time."""
        is_upload = scope["method"] == "POST" and "/upload/" in scope["path"]
        limit = self._upload_bytes if is_upload else BODY_BYTES
        lengths = values(scope, b"content-length")
        if any(not length.isdecimal() or int(length[:20]) > limit for length in lengths):
            await refuse(scope, send, 413, f"At most {limit} bytes are taken at once.")
            return
        if is_upload and self._uploads >= UPLOADS_AT_ONCE:
            await refuse(scope, send, 503, "Too much is being uploaded. Try again in a moment.")
            return
        self._uploads += is_upload
        has_begun = False

        async def sent(message: Scope) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        try:
            await self.app(scope, counted(receive, limit), sent)
        except TooLong:
            if not has_begun:
                await refuse(scope, send, 413, f"At most {limit} bytes are taken at once.")
        finally:
            self._uploads -= is_upload


def counted(receive: Receive, limit: int) -> Receive:
    """Return ``receive`` that raises ``TooLong`` once more than ``limit`` bytes came."""
    count = 0

    async def received() -> Scope:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > limit:
            raise TooLong
        return message

    return received


def values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header, as often as it came."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]


def is_same(origin: str, host: str) -> bool:
    """Tell whether an ``Origin`` is the page that a ``Host`` names."""
    try:
        parts = urlsplit(origin)
    except ValueError:  # half an IPv6 address
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def is_embedded(scope: Scope) -> bool:
    """Tell whether a browser says that another site asks, and not because somebody followed a link."""
    site, mode, kind = (values(scope, name) for name in (b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"))
    is_foreign = any(value in ("cross-site", "same-site") for value in site)
    return is_foreign and (mode, kind) != (["navigate"], ["document"])


async def refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    """Answer with a status and one line of text; a websocket is closed."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})
