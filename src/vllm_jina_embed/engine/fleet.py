"""Several servers as one: the least loaded first, a lost one left alone for a while, its requests given to the others.

Enters: jobs. Leaves: their results. Knows neither HTTP nor vectors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ..errors import ConfigError, EngineDeadError

Result = TypeVar("Result")

REST, LONGEST_REST = 0.25, 30.0
"""Seconds that a server is left alone after its first failure, doubled by each further one, and at most."""
PATIENCE = 30.0
"""Seconds from its first failure for which a job is tried again; a server may need them to come back."""
HURRY = 2.0
"""The same while no server has ever answered: then the address is wrong, more likely than not."""


class LostError(Exception):
    """A server did not answer; another one, or the same one later, may.

    Attributes:
        wait: Seconds for which the server asks to be left alone.
    """

    def __init__(self, reason: str, *, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Member:
    """One server, and how it fares.

    Attributes:
        url: Where it is.
        load: What is in it at the moment.
        failures: How often it failed since it last answered.
        rests_until: Time (``time.monotonic``) before which it gets nothing.
        answered: Whether it ever did.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.load = self.failures = 0
        self.rests_until = 0.0
        self.answered = False

    def failed(self, error: LostError) -> None:
        """Leave it alone for a while; requests that it lost together count once."""
        now = time.monotonic()
        if self.rests_until <= now:
            self.failures += 1
            rest = min(LONGEST_REST, REST * 2.0 ** min(self.failures - 1, 16))
            self.rests_until = now + max(rest, error.wait)

    def succeeded(self) -> None:
        """Count it as well."""
        self.failures, self.answered = 0, True


M = TypeVar("M", bound=Member)


class Fleet(Generic[M]):
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
            EngineDeadError: No server answered for ``PATIENCE`` seconds; names each one with its reason.
        """
        reasons: dict[str, str] = {}
        first_failure: float | None = None
        while True:
            member = await self._pick(can)
            member.load += weight
            try:
                result = await job(member)
            except LostError as error:
                member.failed(error)
                reasons[member.url] = str(error)
                first_failure = first_failure or time.monotonic()
                if self._is_over(first_failure, can):
                    raise EngineDeadError(_told(reasons)) from error
            else:
                member.succeeded()
                return result
            finally:
                member.load -= weight

    async def _pick(self, can: Callable[[M], bool]) -> M:
        """Return the least loaded server that is well; waits for one to be tried again where all rest."""
        while True:
            now = time.monotonic()
            # One that failed is tried with one job at a time until it answers.
            if not any(can(member) for member in self.members):
                urls = ", ".join(member.url for member in self.members)
                raise ConfigError(
                    f"{urls}: no server gives what was asked for. 'vllm-jina-embed serve' gives one vector per item, "
                    "and one per token with --multi-vector (of one --task, where there are several); servers of both "
                    "kinds may be passed."
                )
            well = [m for m in self.members if can(m) and m.rests_until <= now and (not m.failures or not m.load)]
            if well:
                return min(well, key=lambda member: (member.load, member.failures))
            waits = [m.rests_until - now for m in self.members if can(m) and m.rests_until > now]
            await asyncio.sleep(min([*waits, REST]))

    def _is_over(self, first_failure: float, can: Callable[[M], bool]) -> bool:
        """Tell whether to give up, rather than wait for the next server to be tried."""
        now = time.monotonic()
        able = [member for member in self.members if can(member)]
        patience = PATIENCE if any(member.answered for member in able) else HURRY
        next_try = max(min((member.rests_until for member in able), default=now), now)
        return next_try > first_failure + patience


def _told(reasons: dict[str, str]) -> str:
    listed = "; ".join(f"{url}: {reason}" for url, reason in reasons.items())
    return f"no server answered ({listed}). Are they running there? Start one: vllm-jina-embed serve CHECKPOINT"
