"""Bounds for the bodies of requests, and an answer to every request.

vLLM's server reads a body of any size, and some of its errors (for example half of a surrogate pair that it repeats)
end in a closed connection or a bare 500.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .arguments import MAX_BODIES_BYTES, MAX_BODY_BYTES

KINDS = {
    400: "BadRequestError",
    404: "NotFoundError",
    408: "RequestTimeoutError",
    413: "RequestEntityTooLargeError",
    503: "ServiceUnavailableError",
}
"""Error types of the OpenAI API by status code."""
BODY_SECONDS = 120.0
"""Most seconds for a body to arrive."""

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class RefusedError(Exception):
    """A body is over a bound."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Bodies:
    """Bounds the size of each body, of all open requests together, and the time until a body has arrived."""

    def __init__(
        self, *, one: int = MAX_BODY_BYTES, together: int = MAX_BODIES_BYTES, seconds: float = BODY_SECONDS
    ) -> None:
        self._one, self._together, self._seconds = one, together, seconds
        self._held = 0

    async def pass_on(self, app: App, scope: Message, receive: Receive, send: Send) -> None:
        """Let ``app`` answer a request; send an error if it exceeds a bound, or ``app`` fails before it answers."""
        body = _Body(receive, self)
        started = False

        async def send_unless_refused(message: Message) -> None:
            nonlocal started
            if body.refusal is None:  # else FastAPI would report a body that cannot be parsed
                started = True
                await send(message)

        failure: Exception | None = None
        try:
            self.check(_announced(scope))
            await app(scope, body.receive, send_unless_refused)
        except Exception as error:
            if started:
                raise
            failure = error
        finally:
            self._held -= body.size
        if not started and (failure := body.refusal or failure):
            await _refuse(failure, send)

    def count(self, body: _Body, length: int) -> None:
        """Add ``length`` received bytes to a body, and check the bounds."""
        body.size += length
        self._held += length
        self.check(body.size)
        if self._held > self._together:
            raise RefusedError(
                503, f"the open requests of this server hold {self._together} bytes already; try again later."
            )

    def check(self, size: int) -> None:
        """Raise if a body is too large."""
        if size > self._one:
            raise RefusedError(413, f"the body is larger than {self._one} bytes; send fewer or smaller items.")

    @property
    def seconds(self) -> float:
        """Most seconds for a body to arrive."""
        return self._seconds


class _Body:
    """The body of one request, counted while it is received."""

    def __init__(self, receive: Receive, bounds: Bodies) -> None:
        self._receive, self._bounds = receive, bounds
        self._end = time.monotonic() + bounds.seconds
        self._whole = False
        self.size = 0
        self.refusal: RefusedError | None = None

    async def receive(self) -> Message:
        try:
            return await self._within_bounds()
        except RefusedError as error:
            self.refusal = error
            raise

    async def _within_bounds(self) -> Message:
        if self._whole:
            return await self._receive()  # waits until the client goes away
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._end - time.monotonic()))
        except TimeoutError:
            raise RefusedError(408, f"the body did not arrive within {self._bounds.seconds:g} s.") from None
        self._whole = not message.get("more_body", False)
        self._bounds.count(self, len(message.get("body", b"")))
        return message


async def _refuse(error: Exception, send: Send) -> None:
    status, message = 0, ""
    if isinstance(error, RefusedError):
        status, message = error.status, str(error)
    elif isinstance(error, RecursionError):  # vLLM's /invocations reads JSON by itself
        status, message = 400, "the body's JSON is nested too deeply."
    elif isinstance(error, UnicodeEncodeError):
        status, message = 400, "the body holds half of a surrogate pair, which is not text."
    if status:
        await reply(send, status, error_body(status, message))
        return
    logger.error("a request failed", exc_info=error)
    await reply(send, 500, error_body(500, f"the server failed on this request ({type(error).__name__})."))


def error_body(status: int, message: str) -> bytes:
    """Return an error in the form of the OpenAI API, as vLLM answers it."""
    error = {"message": message, "type": KINDS.get(status, "InternalServerError"), "param": None, "code": status}
    return json.dumps({"error": error}).encode()


async def reply(send: Send, status: int, body: bytes) -> None:
    """Send a complete JSON answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _announced(scope: Message) -> int:
    """Return the body size in a request's Content-Length; 0 without one."""
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(value.lstrip(b"0")[:20] or b"0") if value.isdigit() else 0  # Python does not convert 5000 digits
