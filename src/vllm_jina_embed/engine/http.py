"""What an HTTP answer means: an item's fault, a setting's, or a server that is lost for a while.

Enters: an answer. Leaves: nothing, or the error to raise. Knows neither sockets nor prompts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol

from ..errors import ConfigError, EngineError, InputError
from .fleet import LostError

LATER = {429, 502, 503, 504}
"""The server is busy, or a proxy finds none behind it: another one, or the same one later, may answer."""
ITEM = {400, 413, 422}
"""What was sent is at fault."""
DEAD = "EngineCore"
"""What vLLM's error of status 500 names when its engine process ended, shortly before the server does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer, names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(Protocol):
    """How requests reach one server."""

    async def send(self, method: str, path: str, body: bytes | None) -> Reply:
        """Return the answer; ``LostError`` where there is none."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


def check(reply: Reply, url: str) -> None:
    """Return if ``reply`` is what was asked for.

    Args:
        reply: What came.
        url: What was asked, for the message.

    Raises:
        LostError: It can be asked again.
        InputError: It refuses what was sent.
        ConfigError: It refuses the API key, or knows no such path.
        EngineError: It failed.
    """
    status = reply.status
    if status < 300:
        return
    said = message(reply.body)
    if status in LATER or (status == 500 and DEAD in said):
        raise LostError(f"status {status} ({said})", wait=retry_after(reply.headers.get("retry-after")))
    if status in ITEM:
        raise InputError(f"the server refuses this item: {said}")
    if status in {401, 403}:
        raise ConfigError(f"{url}: the server refuses the API key (status {status}). Pass the right one as api_key=.")
    if status in {404, 405, 501}:
        raise ConfigError(
            f"{url}: the server does not serve this (status {status}). Start it by: vllm-jina-embed serve CHECKPOINT"
        )
    raise EngineError(f"{url}: the server failed with status {status}: {said}")


def message(body: bytes) -> str:
    """Return what the server says, as one short line."""
    text = body[:4000].decode(errors="replace")
    try:
        told = json.loads(body)
        error = told.get("error", told)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        pass  # a proxy's page
    return " ".join(text.split())[:500] or "no reason given"


def retry_after(value: str | None) -> float:
    """Return the seconds that a Retry-After header asks for; 0 where it asks for none."""
    if value is None:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
