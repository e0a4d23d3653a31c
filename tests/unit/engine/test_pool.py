"""One engine per configuration, counted users, closed by the last."""

from __future__ import annotations

import concurrent.futures
import os
import select
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.in_memory import write_folder
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.engine.config import LocalConfig
from vllm_jina_embed.engine.pool import EnginePool, running_engines
from vllm_jina_embed.errors import EngineError


def config(name: str = "a") -> LocalConfig:
    """Return a configuration that differs by its location."""
    return LocalConfig(location=name, revision=None, min_pixels=1, max_pixels=2)


def test_equal_configs_share_one_engine() -> None:
    """Another configuration starts another."""
    pool = EnginePool(FakeEngine)
    a, again, b = pool.acquire(config()), pool.acquire(config()), pool.acquire(config("b"))
    assert a is again is not b
    assert pool.running() == 2


def test_the_last_user_closes_the_engine() -> None:
    """Not the first one who leaves; the next user gets a new engine."""
    pool = EnginePool(FakeEngine)
    engine = pool.acquire(config())
    assert pool.acquire(config()) is engine
    assert isinstance(engine, FakeEngine)
    pool.release(config())
    assert (engine.closed, pool.running()) == (0, 1)
    pool.release(config())
    assert (engine.closed, pool.running()) == (1, 0)
    assert pool.acquire(config()) is not engine


def test_releasing_what_does_not_run_does_nothing() -> None:
    """After close() of the pool every embedder still gives its engine back."""
    pool = EnginePool(FakeEngine)
    pool.release(config())
    engine = pool.acquire(config())
    pool.close()
    pool.release(config())
    assert isinstance(engine, FakeEngine)
    assert (engine.closed, pool.running()) == (1, 0)


def test_a_failed_start_leaves_nothing() -> None:
    """The error reaches the caller and the next one tries again."""
    tries: list[LocalConfig] = []

    def start(wanted: LocalConfig) -> FakeEngine:
        tries.append(wanted)
        if len(tries) == 1:
            raise EngineError("no memory")
        return FakeEngine()

    pool = EnginePool(start)
    with pytest.raises(EngineError, match="no memory"):
        pool.acquire(config())
    assert pool.running() == 0
    engine = pool.acquire(config())
    pool.release(config())
    assert isinstance(engine, FakeEngine)
    assert engine.closed == 1


def test_threads_that_arrive_together_start_one_engine() -> None:
    """The slow start of the first is waited for."""
    started: list[FakeEngine] = []

    def start(wanted: LocalConfig) -> FakeEngine:
        time.sleep(0.05)
        started.append(FakeEngine())
        return started[-1]

    pool = EnginePool(start)
    gate = threading.Barrier(8)

    def acquire(_: int) -> object:
        gate.wait(5)
        return pool.acquire(config())

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        engines = list(threads.map(acquire, range(8)))
    assert len(started) == 1
    assert set(engines) == set(started)
    for _ in range(8):
        assert started[0].closed == 0
        pool.release(config())
    assert started[0].closed == 1


def test_threads_that_come_and_go_never_get_a_closed_engine() -> None:
    """Counting holds under contention."""
    pool = EnginePool(FakeEngine)

    def visit(_: int) -> bool:
        engine = pool.acquire(config())
        assert isinstance(engine, FakeEngine)
        was_open = engine.closed == 0
        pool.release(config())
        return was_open

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert all(threads.map(visit, range(2000)))
    assert pool.running() == 0


def test_closing_the_pool_closes_every_engine_once() -> None:
    """Whoever uses it, as at the interpreter's exit."""
    pool = EnginePool(FakeEngine)
    engines = [pool.acquire(config(name)) for name in "abc"]
    pool.acquire(config("a"))
    pool.close()
    pool.close()
    assert [engine.closed for engine in engines if isinstance(engine, FakeEngine)] == [1, 1, 1]
    assert pool.running() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_may_start_its_own_engine() -> None:
    """It forgets the parent's without closing it, even when another thread held the lock at the fork."""
    pool = EnginePool(FakeEngine)
    parents = pool.acquire(config())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"failed"
        try:
            pool.forget()
            mine = pool.acquire(config())
            if mine is not parents and isinstance(parents, FakeEngine) and parents.closed == 0 and pool.running() == 1:
                answer = b"own"
        finally:
            os.write(writer, answer)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        assert answers.read() == b"own"
    os.waitpid(child, 0)
    assert pool.running() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_shared_pool_is_forgotten_by_a_fork_on_its_own() -> None:
    """No call is needed: the hook is registered on import."""
    child = os.fork()
    if child == 0:
        os._exit(running_engines())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_one_engine_that_fails_to_close_keeps_no_other_open() -> None:
    """At exit every engine is closed, and the failure is told."""
    engines: list[FakeEngine] = []

    class Failing(FakeEngine):
        """Fails the first time."""

        def close(self) -> None:
            """Fail."""
            super().close()
            if self is engines[1]:
                raise EngineError("broken")

    def start(config: LocalConfig) -> FakeEngine:
        engines.append(Failing(config))
        return engines[-1]

    pool = EnginePool(start)
    for number in range(3):
        pool.acquire(LocalConfig(location=str(number), revision=None, min_pixels=1, max_pixels=2))
    with pytest.raises(EngineError, match="broken"):
        pool.close()
    assert [engine.closed for engine in engines] == [1, 1, 1]


@pytest.mark.fire
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_while_an_engine_starts_starts_its_own(tmp_path: Path) -> None:
    """Whoever starts holds the pool's lock and the embedder's; nobody in the child would ever give them back."""
    starting, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def start(wanted: LocalConfig) -> FakeEngine:
        if os.getpid() == parent:
            starting.set()
            go_on.wait(60)
        return FakeEngine(wanted)

    class Embedder(JinaEmbedder):
        _pool = EnginePool(start)

    embedder = Embedder(write_folder(tmp_path))
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        first = threads.submit(embedder.embed_queries, ["x"])
        assert starting.wait(30)
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            os.close(reader)
            try:
                os.write(writer, repr(embedder.embed_queries(["x"]).shape).encode())
                embedder.close()
            finally:
                os._exit(0)
        os.close(writer)
        try:
            assert select.select([reader], [], [], 30)[0], "the child hangs"
            assert os.read(reader, 100) == b"(1, 64)"
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            go_on.set()
        assert first.result(30).shape == (1, 64)
    embedder.close()
