"""Serve the tools over streamable HTTP, by the app of the ``mcp`` library behind a check of the key.

Without a key only this machine is served, and a page in a browser of this machine cannot ask either: the ``Host`` and
``Origin`` of a request must be of this machine (DNS rebinding). A request is answered by JSON, since the library's
client reads at most 1 MiB of an event, and images may be more. No session is kept.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias

from .._addresses import check_address, is_local, listening, names_of, url_of
from .arguments import KEY_VARIABLE

PATH = "/mcp"
BODY_BYTES = 96 * 1024 * 1024
"""Longest body of a request: an image of 64 MiB as a data URI, and words."""
SECONDS_TO_END = 5
"""How long requests that are being answered may take when the server is stopped."""
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Scope]]
Send: TypeAlias = Callable[[Scope], Awaitable[None]]


class KeyCheck:
    """ASGI middleware: passes on what has the key, on any path."""

    def __init__(self, app: Any, api_key: str) -> None:
        self._app = app
        self._digest = hashlib.sha256(api_key.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and self._has_key(scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b'Bearer realm="mcp"')]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "Unauthorized"}'})
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _has_key(self, scope: Scope) -> bool:
        """Tell whether the request has one key and it is ours; the time does not depend on which."""
        shown = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        scheme, _, key = (shown[0] if len(shown) == 1 else b"").partition(b" ")
        is_own = secrets.compare_digest(hashlib.sha256(key.strip()).digest(), self._digest)
        return is_own and scheme.lower() == b"bearer"


def app_of(server: Any, *, host: str = "127.0.0.1", api_key: str | None = None, allow_hosts: Sequence[str] = ()) -> Any:
    """Return the ASGI app of a server, which answers at ``/mcp``.

    Args:
        server: As ``server_of`` returns it.
        host: The address that it will listen on.
        api_key: What clients must send as ``Authorization: Bearer KEY``; None lets everybody of this machine ask.
        allow_hosts: Names by which it is asked, as in URLs, beside those of this machine; other values of ``Host`` and
            ``Origin`` are refused. With a key and none of them, any name is good.

    Raises:
        ConfigError: Other machines would be served without a key, or the key cannot stand in a header.
    """
    from mcp.server.transport_security import TransportSecuritySettings

    check_address(host, api_key, KEY_VARIABLE)
    hosts = [pattern for name in names_of(host, tuple(allow_hosts)) for pattern in (name, f"{name}:*")]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=is_local(host) or bool(allow_hosts),
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{name}" for scheme in ("http", "https") for name in hosts],
    )
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=BODY_BYTES,
        transport_security=security,
        host=host,
    )
    return app if api_key is None else KeyCheck(app, api_key)


def serve_http(
    server: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    allow_hosts: Sequence[str] = (),
) -> None:
    """Serve until Ctrl-C; says on stderr where.

    Args:
        server: As ``server_of`` returns it.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        api_key: As in ``app_of``; so is ``allow_hosts``.
        allow_hosts: See ``app_of``.

    Raises:
        ConfigError: As ``app_of``, or the port cannot be used.
    """
    import uvicorn

    app = app_of(server, host=host, api_key=api_key, allow_hosts=allow_hosts)
    with listening(host, port) as opened:
        told = "with a key" if api_key is not None else "this machine alone"
        sys.stderr.write(f"Serving at {url_of(host, opened.getsockname()[1])}{PATH} ({told})\n")
        sys.stderr.flush()
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=SECONDS_TO_END, ws="none", server_header=False
        )
        uvicorn.Server(config).run(sockets=[opened])
