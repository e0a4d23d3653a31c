"""Engines over fake servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.fake_servers import FakeServers, config_of
from vllm_jina_embed.engine.remote.engine import RemoteEngine

Start = Callable[..., RemoteEngine]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start engines that are closed at the end."""
    engines: list[RemoteEngine] = []

    def begin(servers: FakeServers, *urls: str, **changes: Any) -> RemoteEngine:
        engines.append(RemoteEngine(config_of(*urls, **changes), transport=servers.transport))
        return engines[-1]

    yield begin
    for engine in engines:
        engine.close()
