"""A reranker that is pickled comes back with the same settings and servers, or says why it cannot be used."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.in_memory_rerankers import write_qwen3, write_qwen3_vl
from tests.support.ranking_servers import RankingServers
from vllm_jina_embed import ConfigError, JinaReranker, MediaPolicy
from vllm_jina_embed.checkpoints.table.rerank import QWEN3_RERANKER
from vllm_jina_embed.engine.config import RemoteConfig
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote.engine import RemoteEngine

KEY = "sk-very-secret"
QUERY, DOCUMENTS = "where does the fox live", ["the fox", "a dog", "brown"]
OWN = replace(QWEN3_RERANKER, name="own", instruction="Find it")


class Local(JinaReranker):
    """Its engines live in memory."""

    engines: ClassVar[list[FakeEngine]]


class Remote(JinaReranker):
    """Reaches the servers of this test."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def start(config: Any) -> FakeEngine:
        Local.engines.append(FakeEngine(config))
        return Local.engines[-1]

    monkeypatch.setattr(Local, "engines", [], raising=False)
    monkeypatch.setattr(Local, "_pool", EnginePool(start))
    return write_qwen3(tmp_path)


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RankingServers]:
    servers = RankingServers(write_qwen3_vl(tmp_path))
    pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))  # type: ignore[arg-type]
    monkeypatch.setattr(Remote, "_pool", pool)
    yield servers
    pool.close()


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("way", [pickled, copy.copy, copy.deepcopy], ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {
            "instruction": "Find it", "truncate": "start", "max_length": 777, "media": MediaPolicy(max_bytes=1000),
            "show_progress": True, "on_error": "skip", "engine_kwargs": {"dtype": "float32"},
        },
        {"row": OWN},
    ],
    ids=["defaults", "every setting", "own row"],
)  # fmt: skip
def test_it_comes_back_equal(folder: Path, way: Callable[[Any], Any], keywords: dict[str, Any]) -> None:
    """Pickled while its engine runs; the twin joins that engine."""
    with Local(folder, **keywords) as made:
        expected = made.score(QUERY, DOCUMENTS)
        with way(made) as twin:
            assert type(twin) is Local
            assert (twin.settings, twin.fingerprint) == (made.settings, made.fingerprint)
            assert twin.backend.engine is None
            np.testing.assert_array_equal(twin.score(QUERY, DOCUMENTS), expected)
            assert len(Local.engines) == Local._pool.running() == 1
        np.testing.assert_array_equal(made.score(QUERY, DOCUMENTS), expected)
    assert Local._pool.running() == 0


def test_other_files_are_refused_at_the_first_call(folder: Path) -> None:
    """Not before: an error while a task is unpickled lets multiprocessing.Pool wait for ever."""
    data = pickle.dumps(Local(folder))
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes() + b"\n")
    twin = pickle.loads(data)
    with pytest.raises(ConfigError, match=r"files in .* are not those that this reranker was pickled with"):
        twin.score(QUERY, DOCUMENTS)
    folder.rename(folder.with_name("moved"))
    with pytest.raises(ConfigError, match="Qwen3-Reranker-tiny"):
        pickle.loads(data).score(QUERY, DOCUMENTS)
    assert Local.engines == []


def test_the_same_servers_are_asked(servers: RankingServers) -> None:
    """At the first call, not before."""
    with Remote.from_server(["http://a/v1", "http://b"], timeout=7) as made:
        expected = made.score(QUERY, DOCUMENTS)
    asked = sum(servers.requests.values())
    with pickled(pickled(made)) as twin:
        assert (twin.settings, twin.fingerprint) == (made.settings, made.fingerprint)
        assert isinstance(twin.settings.engine, RemoteConfig)
        assert (twin.settings.engine.servers, twin.settings.engine.timeout) == (("http://a", "http://b"), 7)
        assert sum(servers.requests.values()) == asked
        np.testing.assert_array_equal(twin.score(QUERY, DOCUMENTS), expected)


@pytest.mark.parametrize("changed", [{"files": "4567"}, {"dtype": "float16"}, {"revision": "b" * 40}])
def test_servers_that_serve_something_else_now_are_refused(servers: RankingServers, changed: dict[str, Any]) -> None:
    data = pickle.dumps(Remote.from_server("http://a"))
    servers.facts["a"] = changed
    (value,) = changed.values()
    with pytest.raises(ConfigError, match=rf"a: this reranker was made for .*'0123'.* now serve .*{value}.*scores"):
        pickle.loads(data).score(QUERY, DOCUMENTS)
    assert servers.bodies == []


def test_a_key_is_pickled_only_if_that_was_said(servers: RankingServers) -> None:
    without, with_key = (
        pickle.dumps(Remote.from_server("http://a", api_key=KEY, pickle_api_key=sends)) for sends in (False, True)
    )
    assert (KEY.encode() in without, KEY.encode() in with_key) == (False, True)
    with pytest.raises(ConfigError, match="an API key or password is not pickled"):
        pickle.loads(without).score(QUERY, DOCUMENTS)
    with pickle.loads(with_key) as twin:
        assert twin.score(QUERY, DOCUMENTS).shape == (3,)
