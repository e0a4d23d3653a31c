"""Chooses between several servers: the least loaded first; a lost one rests, and the others take its requests.

A job is an awaitable call on one server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ..._telemetry import server_lost
from ...errors import ConfigError, EngineDeadError, VllmJinaError

Result = TypeVar("Result")

REST, LONGEST_REST = 0.25, 5.0
"""Seconds that a server is left alone after its first failure, doubled by each further one, and at most."""
PATIENCE = 30.0
"""Seconds that a job goes on without a server that answers, and the most that a ``Retry-After`` is obeyed for."""
HURRY = 2.0
"""The same while no server has ever answered: then the address is wrong, more likely than not."""


class LostError(Exception):
    """A server did not answer; another one, or the same one later, may.

    Attributes:
        wait: Seconds for which the server asks to be left alone.
        took: Seconds that passed without a connection; a next try may take as long.
    """

    def __init__(self, reason: str, *, wait: float = 0.0, took: float = 0.0) -> None:
        super().__init__(reason)
        self.wait, self.took = wait, took


class Member:
    """One server, and how it fares.

    Attributes:
        url: Where it is.
        load: What is in it at the moment.
        failures: How often it failed since it last answered.
        reason: Why it failed last.
        took: Seconds that the last try spent without a connection.
        rests_until: Time (``time.monotonic``) before which it gets nothing.
        answered: Whether it ever did.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.load = self.failures = 0
        self.reason = ""
        self.rests_until = self.took = 0.0
        self.answered = False

    def failed(self, error: LostError) -> None:
        """Leave it alone for a while; requests that it lost together count once."""
        now = time.monotonic()
        if self.rests_until <= now:
            self.failures += 1
            server_lost(self.url)
            self.reason, self.took = str(error), error.took
            rest = min(LONGEST_REST, REST * 2.0 ** min(self.failures - 1, 16))
            self.rests_until = now + max(rest, min(error.wait, PATIENCE))

    def succeeded(self) -> None:
        """Count it as well."""
        self.failures, self.took, self.answered = 0, 0.0, True


M = TypeVar("M", bound=Member)


class Balancer(Generic[M]):
    """Gives each job to the least loaded server that is well."""

    def __init__(self, members: Sequence[M]) -> None:
        self.members = tuple(members)

    async def call(
        self, job: Callable[[M], Awaitable[Result]], *, weight: int = 1, can: Callable[[M], bool] = lambda member: True
    ) -> Result:
        """Return what ``job`` gives on a server that answers.

        Args:
            job: Asks one server; ``LostError`` sends it to another one.
            weight: What it counts in the server's load.
            can: Tells whether a server can do it; at least one must.

        Raises:
            ConfigError: No server can do it.
            EngineDeadError: No server answered for ``PATIENCE`` seconds, or none will be tried before they are over;
                names each one with its reason.
        """
        since: float | None = None
        while True:
            member, since = await self._pick(can, since)
            member.load += weight
            try:
                result = await job(member)
            except LostError as error:
                member.failed(error)
                since = time.monotonic() - error.took if since is None else since
                if self._is_over(since, able := self._able(can)):
                    raise EngineDeadError(_why(able)) from error
            except VllmJinaError:
                member.succeeded()  # a refusal is an answer
                raise
            else:
                member.succeeded()
                return result
            finally:
                member.load -= weight

    async def _pick(self, can: Callable[[M], bool], since: float | None) -> tuple[M, float | None]:
        """Return the least loaded server that is well, and since when no server has answered this job.

        Where all rest, it waits for one to be tried again: one that failed is tried with one job at a time until it
        answers. The wait ends with the patience, or with the try that is under way then.
        """
        begin = time.monotonic() if since is None else since
        while True:
            able = self._able(can)
            now = time.monotonic()
            if well := [m for m in able if m.rests_until <= now and (not m.failures or not m.load)]:
                member = min(well, key=lambda member: (member.load, member.failures))
                return member, begin if member.failures else since
            if not any(member.load for member in able) and self._is_over(begin, able):
                raise EngineDeadError(_why(able))
            waits = [member.rests_until - now for member in able if member.rests_until > now]
            await asyncio.sleep(min([*waits, REST]))

    def _able(self, can: Callable[[M], bool]) -> list[M]:
        if able := [member for member in self.members if can(member)]:
            return able
        urls = ", ".join(member.url for member in self.members)
        raise ConfigError(
            f"{urls}: no server gives what was asked for. 'vllm-jina-embed serve' gives one vector per item, "
            "and one per token with --multi-vector (of one --task, where there are several); servers of both "
            "kinds may be passed."
        )

    def _is_over(self, since: float, able: Sequence[M]) -> bool:
        """Tell whether the next try would come, or could end without a connection, after the patience."""
        now = time.monotonic()
        patience = PATIENCE if any(member.answered for member in able) else HURRY
        return min(max(member.rests_until, now) + member.took for member in able) > since + patience


def _why(members: Sequence[Member]) -> str:
    listed = "; ".join(f"{member.url}: {member.reason}" for member in members if member.reason)
    return f"no server answered ({listed}). Are they running there? Start one: vllm-jina-embed serve CHECKPOINT"
