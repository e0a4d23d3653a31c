"""What decides an engine, and the loop in a thread that every engine runs on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from vllm_jina_embed.engine.config import LocalConfig
from vllm_jina_embed.engine.loop import LoopThread
from vllm_jina_embed.errors import ClosedError, ForkedError

SAME: dict[str, Any] = {"location": "a", "revision": None, "min_pixels": 1, "max_pixels": 2, "options": {"x": [1]}}


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    """A running loop."""
    thread = LoopThread("test-loop")
    yield thread
    thread.close()


async def value(number: int) -> int:
    await asyncio.sleep(0)
    return number


class TestLocalConfig:
    """Equal configurations share an engine."""

    def test_equal_configs_are_one_key(self) -> None:
        """Options count by content, in any order, nested ones too."""
        a = LocalConfig(**SAME | {"options": {"x": [1], "y": {"b": 1, "a": 2}}})
        b = LocalConfig(**SAME | {"options": {"y": {"a": 2, "b": 1}, "x": [1]}})
        assert a == b
        assert len({a, b}) == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"location": "b"},
            {"revision": "r"},
            {"min_pixels": 2},
            {"max_pixels": 3},
            {"options": {}},
            {"options": {"x": [2]}},
        ],
    )
    def test_each_difference_is_another_engine(self, change: dict[str, Any]) -> None:
        """One at a time."""
        assert LocalConfig(**SAME | change) != LocalConfig(**SAME)

    def test_options_may_hold_objects(self) -> None:
        """What JSON does not know goes by its repr."""
        assert LocalConfig(**SAME | {"options": {"x": {1, 2}}}) == LocalConfig(**SAME | {"options": {"x": {2, 1}}})


class TestLoopThread:
    """Jobs from any thread, results as futures, clear errors instead of hanging."""

    def test_runs_jobs_from_many_threads(self, loop: LoopThread) -> None:
        """Each caller gets its own result."""
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            futures = list(threads.map(lambda number: loop.run(value(number)), range(200)))
        assert [future.result(5) for future in futures] == list(range(200))

    def test_loses_no_job_of_callers_that_wait_in_turn(self, loop: LoopThread) -> None:
        """Each is handed over while the loop falls asleep or wakes up for another."""

        def calls(_: int) -> list[int]:
            return [loop.run(value(number)).result(20) for number in range(1000)]

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            assert list(threads.map(calls, range(8))) == [list(range(1000))] * 8

    async def test_runs_jobs_for_another_loop(self, loop: LoopThread) -> None:
        """Awaited from the caller's own loop."""
        assert await asyncio.wrap_future(loop.run(value(3))) == 3

    def test_is_one_daemon_thread(self, loop: LoopThread) -> None:
        """It never keeps the interpreter alive."""

        async def where() -> threading.Thread:
            return threading.current_thread()

        first, second = loop.run(where()).result(5), loop.run(where()).result(5)
        assert first is second is not threading.current_thread()
        assert (first.daemon, first.name) == (True, "test-loop")

    def test_an_error_comes_out_of_the_future(self, loop: LoopThread) -> None:
        """The loop lives on."""

        async def fail() -> None:
            raise KeyError("x")

        with pytest.raises(KeyError):
            loop.run(fail()).result(5)
        assert loop.run(value(1)).result(5) == 1

    def test_cancelling_the_future_cancels_the_job(self, loop: LoopThread) -> None:
        """Ctrl-C in a caller frees the engine."""
        begun, ended = threading.Event(), threading.Event()

        async def wait() -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        future = loop.run(wait())
        assert begun.wait(5)
        future.cancel()
        assert ended.wait(5)

    def test_close_cancels_what_runs(self) -> None:
        """Nobody waits for ever; closing twice does nothing."""
        loop = LoopThread("test-close")
        futures = [loop.run(asyncio.sleep(60)) for _ in range(10)]
        loop.close()
        loop.close()
        for future in futures:
            with pytest.raises(concurrent.futures.CancelledError):
                future.result(5)

    @pytest.mark.filterwarnings("error")
    def test_use_after_close_is_an_error(self) -> None:
        """And the job that never ran does not warn that it was never awaited."""
        loop = LoopThread("test-closed")
        loop.close()
        with pytest.raises(ClosedError):
            loop.run(value(1))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_use_in_a_forked_child_is_an_error_at_once(self, loop: LoopThread) -> None:
        """The child has no such thread: a future there would never be done. Closing there does nothing."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                loop.run(value(1))
            except ForkedError:
                loop.close()
                os.write(writer, b"forked")
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            assert answer.read() == b"forked"
        os.waitpid(child, 0)
        assert loop.run(value(1)).result(5) == 1


def test_a_job_that_meets_a_closing_loop_is_refused_and_never_left_hanging() -> None:
    """Callers race with close(): each gets its answer, ClosedError or a cancelled future."""

    async def job() -> int:
        await asyncio.sleep(0)
        return 1

    for _ in range(50):
        loop = LoopThread("race")
        outcomes: list[object] = []

        def call(loop: LoopThread = loop, outcomes: list[object] = outcomes) -> None:
            for _ in range(20):
                try:
                    outcomes.append(loop.run(job()).result(timeout=10))
                except (ClosedError, concurrent.futures.CancelledError) as error:
                    outcomes.append(error)

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        loop.close()
        for caller in callers:
            caller.join()
        assert len(outcomes) == 4 * 20
