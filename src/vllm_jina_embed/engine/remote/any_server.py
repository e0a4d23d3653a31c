"""What every server has, whatever it serves: a connection, what it tells, and the requests that are in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from abc import abstractmethod
from typing import Any

from ..._instruments import ENGINE, Places
from ..._telemetry import address
from ...errors import EngineError
from ..config import RemoteConfig
from . import http
from .balancer import LostError, Member
from .http import Connection, Reply
from .server_facts import FACTS_PATH, FINGERPRINT_HEADER, TOKENIZER_PATH

AT_ONCE = 32
"""Requests in one server at the same time; urgent ones come on top."""
TOKENIZER = 100_000_000
"""Bytes of a tokenizer.json, at most; Gemma's has 33 million."""


class AnyServer(Member):
    """One server; a subclass reads what it tells, and asks it."""

    def __init__(self, url: str, config: RemoteConfig, connection: Connection) -> None:
        super().__init__(url)
        self.connection = connection
        self.max_tokens = 0
        self._config = config
        self._fingerprint: str | None = None
        self._sure = False  # whether it was not lost since it told what it serves
        self._meeting, self._slots = asyncio.Lock(), asyncio.Semaphore(AT_ONCE)
        self.places = Places({ENGINE: "remote", **address([url])}, AT_ONCE)

    @abstractmethod
    def _learn(self, told: Any) -> None:
        """Take what it told, if that agrees with all that is known.

        Raises:
            ConfigError: It does not.
        """

    @abstractmethod
    async def _meet_untold(self) -> None:
        """Learn what a server serves that tells nothing of itself.

        Raises:
            ConfigError: It told something before, or cannot be used.
        """

    def failed(self, error: LostError) -> None:
        """See ``Member.failed``; what comes back may be another server."""
        super().failed(error)
        self._sure = False

    async def meet(self) -> None:
        """Learn what it serves: once, and again after it was lost.

        Raises:
            LostError: It does not answer.
            ConfigError: It serves something else than was asked for, than before, or than the other servers.
        """
        async with self._meeting:
            if self._sure:
                return
            reply = await self.connection.send("GET", FACTS_PATH, None, most=http.SMALL)
            if reply.status != 404:
                self._learn(self._read(reply, FACTS_PATH))
                self._fingerprint = reply.headers.get(FINGERPRINT_HEADER)
            else:
                await self._meet_untold()
            self._sure = True

    async def close(self) -> None:
        """Close the connections."""
        self.places.close()
        await self.connection.close()

    async def tokenizer(self) -> bytes:
        """Return the tokenizer.json that it gives.

        Raises:
            LostError: It can be asked again.
        """
        reply = await self.connection.send("GET", TOKENIZER_PATH, None, most=TOKENIZER)
        self._check(reply, TOKENIZER_PATH)
        return reply.body

    async def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        most: int = http.SMALL,
        urgent: bool = False,
    ) -> Any:
        content = None if body is None else json.dumps(body).encode()
        none = contextlib.nullcontext()
        async with self.places.taken(none, none if urgent else self._slots):
            if time.monotonic() < self.rests_until:
                raise LostError("it was lost a moment ago")
            reply = await self.connection.send(method, path, content, most=most)
        if reply.status < 300 and reply.headers.get(FINGERPRINT_HEADER) != self._fingerprint:
            raise LostError("another server answers there than the one that told what it serves")
        return self._read(reply, path)

    def _read(self, reply: Reply, path: str) -> Any:
        self._check(reply, path)
        try:
            return http.decoded(reply.body)
        except ValueError:
            begin = self.connection.hide(reply.body[:10_000].decode(errors="replace"))[:100]
            raise EngineError(f"{self.url}{path}: the answer is no JSON ({begin!r}).") from None

    def _check(self, reply: Reply, path: str) -> None:
        """See ``http.check``; an answer that repeats the request shows no key."""
        http.check(reply, f"{self.url}{path}", self.connection.hide)


def bytes_of(numbers: int) -> int:
    """Return how many bytes an answer of so many numbers may have."""
    return http.SMALL + http.PER_NUMBER * numbers
