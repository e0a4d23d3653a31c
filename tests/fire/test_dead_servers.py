"""The patience as users have it: 30 seconds, for the first call on a server that is gone and for each that follows."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest

from tests.support.fake_servers import PATHS, WIDTH, FakeServers, config_of
from vllm_jina_embed.engine.remote.engine import RemoteEngine
from vllm_jina_embed.errors import EngineDeadError
from vllm_jina_embed.prompts.base import Prompt

pytestmark = [pytest.mark.fire, pytest.mark.siege]

Fail = Callable[[httpx.Request], httpx.Response | None]


def refusing(request: httpx.Request) -> httpx.Response | None:
    raise httpx.ConnectError("refused", request=request)


def asking_for(wait: str) -> Fail:
    """Return what a server does that wants to be left alone."""
    reply = httpx.Response(503, headers={"retry-after": wait})
    return lambda request: reply if request.url.path in PATHS else None


def seconds_of_two_calls(fail: Fail) -> list[float]:
    """Return how long each of two calls takes, one after the other, to say that the server is gone."""
    servers, taken = FakeServers(), []
    with closing(RemoteEngine(config_of(), transport=servers.transport)) as engine:
        servers.fail = fail
        for _ in range(2):
            begin = time.monotonic()
            job = engine.embed(Prompt(token_ids=(1,)), dimensions=WIDTH, task="retrieval")
            with pytest.raises(EngineDeadError, match="http://a: "):
                engine.run(job).result(timeout=90)
            taken.append(time.monotonic() - begin)
    return taken


def test_no_call_takes_longer_than_the_patience() -> None:
    """Refused connections, and pauses of an hour, of for ever, and until the year 9999."""
    ways = [refusing, *map(asking_for, ("3600", "inf", "Fri, 31 Dec 9999 23:59:59 GMT"))]
    with ThreadPoolExecutor(len(ways)) as pool:
        taken = list(pool.map(seconds_of_two_calls, ways))
    print([[round(one, 1) for one in each] for each in taken])
    assert max(max(each) for each in taken) < 31
