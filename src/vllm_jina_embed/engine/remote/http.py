"""Reads HTTP answers: an error becomes that of an item, of a setting, or of a server that is lost for a while.

The size of an answer is bounded, and every error is one of this package's.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from ...errors import ConfigError, EngineError, InputError
from .balancer import LostError

LATER = {429, 502, 503, 504}
"""The server is busy, or a proxy finds none behind it: another one, or the same one later, may answer."""
ITEM = {400, 413, 422}
"""What was sent is at fault."""
DEAD = "EngineCore"
"""What vLLM's error of status 500 names when its engine process ended, shortly before the server does."""
SMALL = 1_000_000
"""Bytes of an answer that holds no numbers, at most."""
PER_NUMBER = 8
"""Bytes of an answer per float32, at most: base64 takes 5.3."""
ERROR = 100_000
"""Bytes that are read of an error's answer; vLLM's may repeat the whole request."""


class AnswerTooLargeError(EngineError):
    """An answer is larger than what was asked for can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer, names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(Protocol):
    """How requests reach one server."""

    async def send(self, method: str, path: str, body: bytes | None, *, most: int) -> Reply:
        """Return the answer, of at most ``most`` bytes; ``LostError`` where there is none in time."""
        ...

    hide: Callable[[str], str]
    """Returns a text without what authenticates the client, which an answer may repeat."""

    async def close(self) -> None:
        """Close it."""
        ...


async def read(chunks: AsyncIterator[bytes], *, encoding: str, most: int, where: str) -> bytes:
    """Return an answer's body, decompressed; never more than ``most`` bytes and one chunk are held.

    Args:
        chunks: The bytes as they arrive.
        encoding: The Content-Encoding.
        most: Bytes of the result, at most.
        where: What was asked, for the message.

    Raises:
        AnswerTooLargeError: There are more.
        EngineError: They cannot be decompressed.
    """
    unpack, body = _unpacking(encoding), bytearray()
    if unpack is None:
        raise EngineError(f"{where}: got Content-Encoding {encoding!r:.60}; expected none, gzip or deflate.")
    async for chunk in chunks:
        try:
            body += unpack(chunk, most - len(body) + 1)
        except zlib.error as error:
            raise EngineError(f"{where}: the answer cannot be decompressed as {encoding} ({error}).") from error
        if len(body) > most:
            raise AnswerTooLargeError(f"{where}: the answer is larger than the {most} bytes that it can have.")
    return bytes(body)


async def read_error(chunks: AsyncIterator[bytes], *, encoding: str) -> bytes:
    """Return the first ``ERROR`` bytes of a body that tells an error, or what of them can be decompressed."""
    unpack, body = _unpacking(encoding), bytearray()
    if unpack is None:
        return b""
    async for chunk in chunks:
        try:
            body += unpack(chunk, ERROR)
        except zlib.error:
            break
        if len(body) >= ERROR:
            break
    return bytes(body[:ERROR])


def _unpacking(encoding: str) -> Callable[[bytes, int], bytes] | None:
    """Return a function of a chunk and the most bytes to make of it; None for an encoding that was not asked for."""
    if encoding in {"gzip", "deflate"}:
        return zlib.decompressobj(wbits=47).decompress  # 47: gzip's or zlib's header
    return (lambda chunk, most: chunk) if encoding in {"", "identity"} else None


def check(reply: Reply, url: str, hide: Callable[[str], str] = str) -> None:
    """Return if ``reply`` is what was asked for.

    Args:
        reply: What came.
        url: What was asked, for the message.
        hide: Returns a text without secrets, for the message.

    Raises:
        LostError: It can be asked again.
        InputError: It refuses what was sent.
        ConfigError: It refuses the API key, or knows no such path.
        EngineError: It failed.
    """
    status = reply.status
    if status < 300:
        return
    said = message(reply.body, hide)
    if status in LATER or (status == 500 and DEAD in said):
        wait = retry_after(reply.headers.get("retry-after"))
        raise LostError(f"status {status} ({said})" + f", asks for a pause of {wait:g} s" * (wait > 0), wait=wait)
    if status in ITEM:
        raise InputError(f"{url}: the server refuses this item: {said}")
    if status in {401, 403}:
        raise ConfigError(f"{url}: the server refuses the API key (status {status}). Pass the right one as api_key=.")
    if status in {404, 405, 501}:
        raise ConfigError(
            f"{url}: the server does not serve this (status {status}). Start it by: vllm-jina-embed serve CHECKPOINT"
        )
    raise EngineError(f"{url}: the server failed with status {status}: {said}")


def decoded(body: bytes) -> Any:
    """Return the JSON in ``body``.

    Raises:
        ValueError: It is not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def message(body: bytes, hide: Callable[[str], str] = str) -> str:
    """Return what the server says, as one short line of printable characters and without what ``hide`` hides."""
    text = body[:8000].decode(errors="replace")
    try:
        told = decoded(body)
        error = told.get("error", told)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        pass  # a proxy's page
    line = " ".join(hide(text[:8000])[:4000].split())[:500]
    return "".join(letter if letter.isprintable() else "?" for letter in line) or "no reason given"


def retry_after(value: str | None) -> float:
    """Return the seconds that a Retry-After header asks for; 0 if there is none, or it is not a number."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, IndexError, OverflowError, OSError):
            return 0.0
    return seconds if seconds > 0 and math.isfinite(seconds) else 0.0
