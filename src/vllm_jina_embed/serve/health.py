"""The port ``--health-port``: whether a server starts, answers, or is broken, told while vLLM's own port is still shut.

``/health`` is for whoever would start it again (200 unless it is broken), ``/ready`` for whoever sends requests (200
only if it answers). Both give JSON with ``status``: ``starting``, ``ready``, ``broken`` or ``stopping``.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 5.0
"""Seconds that the server may take to tell how it is; one that is busy answers this path at once."""

Status = tuple[str, str]
"""One word, and why."""


class Health:
    """Answers on a port of its own, in a thread, from the start of the server's process to its end."""

    def __init__(self, host: str, port: int, status: Callable[[], Status]) -> None:
        """Listen.

        Args:
            host: Address to listen on.
            port: Port to listen on.
            status: Returns how the server is.

        Raises:
            OSError: Nothing can listen there.
        """
        begin = time.monotonic()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(*answer(self.path, status, time.monotonic() - begin))

            do_HEAD = do_GET  # noqa: N815

            def _answer(self, code: int, told: dict[str, Any]) -> None:
                body = json.dumps(told).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Log nothing: a probe comes every few seconds."""

        self._server = _Server((host, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="vllm-jina-embed-health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


def answer(path: str, status: Callable[[], Status], seconds: float) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the JSON of an answer.

    Args:
        path: What is asked for.
        status: Returns how the server is.
        seconds: Since its process was started.
    """
    path = path.partition("?")[0]
    if path not in ("/health", "/ready"):
        return 404, {"error": "paths are /health and /ready"}
    word, reason = status()
    is_well = word == "ready" if path == "/ready" else word != "broken"
    told = {"status": word, "seconds": round(seconds, 1)} | ({"reason": reason} if reason else {})
    return 200 if is_well else 503, told


def asked(host: str, port: int, *, is_https: bool) -> Status:
    """Return how a server is that has been ready, as it tells itself."""
    if is_https:
        context = ssl.create_default_context()  # the certificate is for its name, and this is its address
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=PATIENCE, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        if response.status == 200:
            return "ready", ""
        return "broken", str(_reason(response.read(10_000)) or f"its /health answers {response.status}")
    except (OSError, http.client.HTTPException) as error:
        return "broken", f"its /health does not answer ({type(error).__name__})"
    finally:
        connection.close()


def _reason(body: bytes) -> Any:
    try:
        return json.loads(body)["reason"]
    except (ValueError, KeyError, TypeError):
        return None
