"""What is pickled comes back with the same settings and servers, or says why it cannot be used; never with others."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.fake_servers import FakeServers, RawServer, facts_of
from tests.support.in_memory import write_folder
from vllm_jina_embed import CachedEmbedder, ConfigError, JinaEmbedder, MaxSimReranker, MediaPolicy
from vllm_jina_embed.checkpoints.prompt_pieces import Slot
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.engine.config import RemoteConfig
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.engine.remote.engine import RemoteEngine
from vllm_jina_embed.errors import EngineError

KEY, PASSWORD = "sk-very-secret", "pass-word"
OWN = replace(JINA_V4, name="own", templates=JINA_V4.templates | {("query", "text"): ("q: ", Slot.TEXT)})


class Local(JinaEmbedder):
    """Its engines live in memory."""

    engines: ClassVar[list[FakeEngine]]


class Remote(JinaEmbedder):
    """Reaches the servers of this test."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def start(config: Any) -> FakeEngine:
        Local.engines.append(FakeEngine(config))
        return Local.engines[-1]

    monkeypatch.setattr(Local, "engines", [], raising=False)
    monkeypatch.setattr(Local, "_pool", EnginePool(start))
    return write_folder(tmp_path / "checkpoint")


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServers]:
    servers = FakeServers(plain="plain", tokens="token_embed")
    pool = EnginePool(lambda config: RemoteEngine(config, transport=servers.transport))
    monkeypatch.setattr(Remote, "_pool", pool)
    yield servers
    pool.close()


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def cloudpickled(value: Any) -> Any:
    """As Ray, Dask and Spark send objects."""
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(value))


WAYS: list[Callable[[Any], Any]] = [pickled, cloudpickled, copy.copy, copy.deepcopy]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


class TestAnEngineOfItsOwn:
    """The settings travel; the engine stays where it is."""

    @every_way
    @pytest.mark.parametrize(
        "keywords",
        [
            {},
            {
                "task": "retrieval", "dimensions": 16, "truncate": "start", "max_length": 77, "min_pixels": 4000,
                "max_pixels": 50_000, "media": MediaPolicy(max_bytes=1000, allowed_root=Path("images")),
                "show_progress": True, "on_error": "skip", "engine_kwargs": {"dtype": "float32"}, "fusion": "mean",
                "long_text": "chunks",
            },
            {"row": OWN, "normalize": False},
        ],
        ids=["defaults", "every setting", "own row"],
    )  # fmt: skip
    def test_it_comes_back_equal(self, folder: Path, way: Callable[[Any], Any], keywords: dict[str, Any]) -> None:
        """Pickled while its engine runs; the twin joins that engine."""
        with Local(folder, **keywords) as made:
            expected = made.embed(["a"])
            with way(made) as twin:
                assert type(twin) is Local
                assert twin.settings == made.settings
                assert twin.fingerprint == made.fingerprint
                assert twin.backend.engine is None
                np.testing.assert_array_equal(twin.embed(["a"]), expected)
                assert len(Local.engines) == Local._pool.running() == 1
            np.testing.assert_array_equal(made.embed(["a"]), expected)
        assert Local._pool.running() == 0

    def test_what_comes_back_of_a_closed_one_is_open(self, folder: Path) -> None:
        with Local(folder) as made:
            pass
        with pickled(made) as twin:
            assert not twin.closed
            twin.embed(["a"])

    def test_nothing_is_looked_at_before_the_first_call(self, folder: Path) -> None:
        """An error while a task is unpickled lets multiprocessing.Pool wait for ever."""
        data = pickle.dumps(Local(folder))
        folder.rename(folder.with_name("moved"))
        twin = pickle.loads(data)
        assert twin.dimensions == 64
        with pytest.raises(ConfigError, match="checkpoint"):
            twin.embed(["a"])
        assert Local.engines == []

    def test_other_files_are_refused_by_name(self, folder: Path) -> None:
        """Their vectors may be others than the fingerprint says."""
        data = pickle.dumps(Local(folder))
        (folder / "config.json").write_bytes((folder / "config.json").read_bytes() + b"\n")
        with pytest.raises(ConfigError, match=r"files in .*checkpoint.* are not those that this embedder was pickled"):
            pickle.loads(data).embed(["a"])
        assert Local.engines == []
        with Local(folder) as anew:
            assert anew.embed(["a"]).shape == (1, 64)

    def test_what_cannot_be_pickled_is_named_by_pickle(self, folder: Path) -> None:
        """Nothing of the settings is dropped in silence."""
        own = type("Own", (), {})
        with pytest.raises((pickle.PicklingError, AttributeError), match="Own"):
            pickle.dumps(Local(folder, engine_kwargs={"scheduler_cls": own}))


class TestServers:
    """Those that were asked are asked again."""

    @every_way
    def test_the_same_servers_are_asked(self, servers: FakeServers, way: Callable[[Any], Any]) -> None:
        """At the first call, not before; vLLM is not started."""
        with Remote.from_server(["http://a/v1", "http://b"], dimensions=64, timeout=7) as made:
            expected = made.embed(["a"])
        asked = sum(servers.requests.values())
        with way(made) as twin:
            assert twin.settings == made.settings
            assert twin.fingerprint == made.fingerprint
            assert isinstance(twin.settings.engine, RemoteConfig)
            assert twin.settings.engine.servers == ("http://a", "http://b")
            assert twin.settings.engine.timeout == 7
            assert sum(servers.requests.values()) == asked
            np.testing.assert_array_equal(twin.embed(["a"]), expected)
            assert isinstance(twin.backend.engine, RemoteEngine)

    def test_a_row_of_a_users_own_travels_too(self, servers: FakeServers) -> None:
        """It is registered neither here nor there."""
        servers.facts = {"checkpoint": facts_of("embed")["checkpoint"] | {"family": "own", "row_digest": OWN.digest}}
        with Remote.from_server("http://a", row=OWN) as made, pickled(made) as twin:
            assert twin.checkpoint.row == OWN
            np.testing.assert_array_equal(twin.embed_queries(["a"]), made.embed_queries(["a"]))

    def test_a_plain_server_is_one_again(self, servers: FakeServers) -> None:
        with Remote.from_server("http://plain", model="demo") as made, pickled(made) as twin:
            np.testing.assert_array_equal(twin.embed(["a"]), made.embed(["a"]))

    def test_a_twin_of_a_twin_asks_them_too(self, servers: FakeServers) -> None:
        with Remote.from_server("http://a") as made, pickled(pickled(made)) as twin:
            np.testing.assert_array_equal(twin.embed(["a"]), made.embed(["a"]))

    @pytest.mark.parametrize("changed", [{"files": "4567"}, {"dtype": "float16"}, {"revision": "b" * 40}])
    def test_servers_that_serve_something_else_now_are_refused(
        self, servers: FakeServers, changed: dict[str, Any]
    ) -> None:
        """With both values: the vectors would not go with the fingerprint."""
        data = pickle.dumps(Remote.from_server("http://a"))
        servers.facts = changed
        (value,) = changed.values()
        with pytest.raises(ConfigError, match=rf"http://a: this embedder was made for .*'0123'.* now serve .*{value}"):
            pickle.loads(data).embed(["a"])
        assert servers.posts("a") == 0

    def test_copies_with_other_times_do_while_the_first_server_is_lost(
        self, servers: FakeServers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As for an embedder that was not pickled; where both are there, one of them has the files."""
        monkeypatch.setattr("vllm_jina_embed.engine.remote.balancer.PATIENCE", 0.05)
        servers.facts_at = {"b": {"files": "of the copy"}}
        data = pickle.dumps(Remote.from_server(["http://a", "http://b"]))
        with pickle.loads(data) as twin:
            twin.embed(["a"])

        def lost(request: httpx.Request) -> httpx.Response | None:
            if request.url.host == "a":
                raise httpx.ConnectError("gone")
            return None

        servers.fail = lost
        with pickle.loads(data) as twin:
            twin.embed(["a"])
        servers.facts = {"dtype": "float16"}
        with pytest.raises(ConfigError, match="float16"):
            pickle.loads(data).embed(["a"])


class TestKeys:
    """They stay behind unless they are asked to travel."""

    @pytest.mark.parametrize(("url", "key"), [("http://a", KEY), (f"http://user:{PASSWORD}@a", None)])
    def test_a_key_stays_behind_and_the_first_call_says_what_to_do(
        self, servers: FakeServers, url: str, key: str | None
    ) -> None:
        made = Remote.from_server(url, api_key=key)
        data = pickle.dumps(made)
        assert not any(secret.encode() in data for secret in (KEY, PASSWORD))
        twin = pickle.loads(data)
        asked = sum(servers.requests.values())
        with pytest.raises(ConfigError, match=r"from_server\(\.\.\., api_key=.*pickle_api_key=True") as caught:
            twin.embed(["a"])
        assert not any(secret in str(caught.value) for secret in (KEY, PASSWORD))
        assert sum(servers.requests.values()) == asked, "nobody is asked without the key"

    @pytest.mark.parametrize(("url", "key"), [("http://a", KEY), (f"http://user:{PASSWORD}@a", None)])
    def test_asked_to_it_travels_and_is_still_shown_nowhere(
        self, servers: FakeServers, url: str, key: str | None
    ) -> None:
        sent = []
        servers.fail = lambda request: sent.append(request.headers["authorization"])  # type: ignore[func-returns-value]
        with Remote.from_server(url, api_key=key, pickle_api_key=True) as made, pickled(pickled(made)) as twin:
            assert twin.settings == made.settings
            before = len(sent)
            twin.embed(["a"])
            assert len(sent) > before
            assert len({*sent}) == 1
            shown = repr(twin) + repr(twin.settings) + str(vars(twin))
            assert not any(secret in shown for secret in (KEY, PASSWORD))

    @pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
    def test_a_copy_in_the_process_keeps_it(self, servers: FakeServers, way: Callable[[Any], Any]) -> None:
        with Remote.from_server("http://a", api_key=KEY) as made, way(made) as twin:
            assert twin.settings == made.settings
            twin.embed(["a"])

    @pytest.mark.parametrize("value", [KEY, 1, None])
    def test_another_value_than_a_bool_is_refused_and_not_shown(self, servers: FakeServers, value: Any) -> None:
        with pytest.raises(ConfigError, match="as pickle_api_key; expected True or False") as caught:
            Remote.from_server("http://a", api_key=KEY, pickle_api_key=value)
        assert KEY not in str(caught.value)


class TestWhatStandsOverAnEmbedder:
    """A cache and a reranker keep theirs."""

    def test_a_cache_comes_back_with_its_file(self, folder: Path, tmp_path: Path) -> None:
        """The twin's hits are those of the first, and each is closed alone."""
        with Local(folder).cached(tmp_path / "cache.sqlite", multi_vectors=True) as made:
            expected = made.embed(["a"])
            data = pickle.dumps(made)
        asked = len(Local.engines)
        with pickle.loads(data) as twin:
            assert isinstance(twin, CachedEmbedder)
            assert twin.fingerprint == made.fingerprint
            assert twin.multi_vectors
            np.testing.assert_array_equal(twin.embed(["a"]), expected)
            assert len(Local.engines) == asked, "a hit starts no engine"

    def test_a_cache_whose_folder_is_not_there_costs_no_vector(self, folder: Path, tmp_path: Path) -> None:
        """On another machine: nothing fails while it is unpickled, and one warning names the file."""
        (tmp_path / "caches").mkdir()
        with Local(folder).cached(tmp_path / "caches" / "cache.sqlite") as made:
            expected = made.embed(["a"])
            data = pickle.dumps(made)
        for file in (tmp_path / "caches").iterdir():
            file.unlink()
        (tmp_path / "caches").rmdir()
        with pickle.loads(data) as twin:
            with pytest.warns(UserWarning, match=r"cache\.sqlite"):
                rows = twin.embed(["a"])
            np.testing.assert_array_equal(rows, expected)

    def test_a_reranker_scores_alike(self, servers: FakeServers, tmp_path: Path) -> None:
        with Remote.from_server("http://tokens") as embedder:
            made = MaxSimReranker(embedder, cache=tmp_path / "cache.sqlite")
            twin = pickled(made)
            assert twin.settings == made.settings
            assert twin.task == made.task
            np.testing.assert_array_equal(twin.score("q", ["a", "b"]), made.score("q", ["a", "b"]))
            twin.close()
            made.close()
            twin.embedder.close()


def embedded(embedder: JinaEmbedder) -> tuple[int, np.ndarray[Any, Any], bool]:
    """Return where this runs, a vector, and whether vLLM was imported for it."""
    return os.getpid(), embedder.embed(["a"]), "vllm" in sys.modules


def refusal(embedder: JinaEmbedder) -> str:
    try:
        embedder.embed(["a"])
    except EngineError as error:
        return str(error)
    return "embedded"


class TestOtherProcesses:
    """Real ones, and a server on a socket."""

    @pytest.mark.parametrize("start", ["spawn", "forkserver"])
    def test_a_worker_asks_the_server(self, start: str) -> None:
        """With no engine of its own."""
        server = RawServer("/never asked for", lambda: ())
        try:
            with (
                JinaEmbedder.from_server(server.url, api_key=KEY, pickle_api_key=True) as embedder,
                ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(start)) as pool,
            ):
                pid, row, has_vllm = pool.submit(embedded, embedder).result(120)
                np.testing.assert_array_equal(row, embedder.embed(["a"]))
        finally:
            server.close()
        assert pid != os.getpid()
        assert not has_vllm

    def test_a_daemonic_worker_is_told_at_once_to_use_a_server(self, folder: Path) -> None:
        """An embedder with an engine of its own cannot start it there."""
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            told = pool.apply_async(refusal, [JinaEmbedder(folder)]).get(60)
        assert "an engine cannot start in 'SpawnPoolWorker-" in told
        assert "from_server" in told
