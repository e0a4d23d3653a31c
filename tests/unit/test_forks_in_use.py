"""Every lock of the package, forked while another thread holds it."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.forks import in_child
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.cache.stores import SQLiteStore
from vllm_jina_embed.engine.local.processes import check_process, engine_processes
from vllm_jina_embed.engine.pool import EnginePool
from vllm_jina_embed.errors import ForkedError

pytestmark = [
    pytest.mark.fire,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
SOURCE = Path(sys.modules["vllm_jina_embed"].__file__ or "").parent
SAFE = {
    "_forks.py", "late_interaction/qdrant_client.py", "engine/loop.py", "inputs/budget.py",
    "mcp/server.py", "serve/renderer.py", "serve/command.py", "ui/searching.py",
}  # fmt: skip
"""The helper itself, files whose tests of this are their own, and what only a server's process runs."""


@contextmanager
def running(work: Any, threads: int = 1) -> Iterator[None]:
    """Call ``work`` again and again in threads."""
    done = threading.Event()
    workers = [
        threading.Thread(target=lambda: [work() for _ in iter(lambda: done.is_set(), True)]) for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        done.set()
        for worker in workers:
            worker.join()


def raises(kind: type[Exception], call: Any) -> bool:
    try:
        call()
    except kind:
        return True
    return False


def test_no_lock_is_made_without_a_fork_in_mind() -> None:
    """A lock that a child would find held for ever; asyncio's belong to a loop, which no child has."""
    found = [
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).as_posix() not in SAFE and "demo" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"(threading\.|= |\()(Lock|RLock|Condition|Event|Semaphore|Barrier)\(", line)
        and "asyncio." not in line
    ]
    assert found == ["engine/local/processes.py: _lock = threading.Lock()"] * 2, (
        "engine/local/processes.py renews its own"
    )


@pytest.mark.wide
def test_a_cache_is_read_and_written_in_children_of_a_busy_process(tmp_path: Path) -> None:
    """30 of 30 hung before."""
    store = SQLiteStore(tmp_path / "cache.sqlite")
    store.put_many({"known": b"1"})
    values = {f"key {number}": bytes(2000) for number in range(50)}

    def child() -> bool:
        store.put_many({f"child {os.getpid()}": b"2"})
        return store.get_many(["known"]) == [b"1"]

    with running(lambda: store.put_many(values), threads=2):
        assert [in_child(child) for _ in range(30)] == [0] * 30
    assert len(store) == 1 + 50 + 30
    store.close()


@pytest.mark.wide
def test_children_that_end_as_a_program_does_not_hang(tmp_path: Path) -> None:
    """The parent's connection is never closed in them."""
    store = SQLiteStore(tmp_path / "cache.sqlite")

    def child() -> bool:
        store.put_many({"a": b"1"})
        store.close()
        store.__init__(tmp_path / "cache.sqlite")  # type: ignore[misc]
        return store.get_many(["a"]) == [b"1"]

    with running(lambda: store.put_many({"b": b"2"})):
        assert [in_child(child) for _ in range(10)] == [0] * 10
    assert store.get_many(["a", "b"]) == [b"1", b"2"]
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "checkpoint")


def test_an_engine_that_starts_during_a_fork_is_refused_in_the_child(folder: Path) -> None:
    """Half of what it loads is there; a child of a process whose engine is ready may still make no use of it."""
    starts, may_go = threading.Event(), threading.Event()

    def start(config: Any) -> FakeEngine:  # as the local engine does
        check_process({})
        with engine_processes():
            starts.set()
            may_go.wait(60)
        return FakeEngine(config)

    class Slow(JinaEmbedder):
        _pool = EnginePool(start)

    embedder, other = Slow(folder), Slow(folder, task="code")
    thread = threading.Thread(target=lambda: embedder.embed(["a"]))
    thread.start()
    starts.wait(60)
    try:
        for of in (embedder, other):
            assert in_child(lambda of=of: raises(ForkedError, lambda: of.embed(["a"]))) == 0
            assert in_child(lambda of=of: of.close() is None and of.closed) == 0
    finally:
        may_go.set()
        thread.join()
    assert in_child(lambda: raises(ForkedError, lambda: embedder.embed(["a"]))) == 0
    assert np.isfinite(embedder.embed(["a"])).all()
    embedder.close()
    other.close()


@pytest.mark.wide
def test_hits_answer_in_children_of_a_busy_process(folder: Path, tmp_path: Path) -> None:
    """They need no engine; what is new does."""
    embedder = in_memory([])(folder).cached(tmp_path / "cache.sqlite")
    known = embedder.embed(["known"])
    numbers = iter(range(10**9))

    def child() -> bool:
        return (embedder.embed(["known"]) == known).all() and raises(ForkedError, lambda: embedder.embed(["unknown"]))

    with running(lambda: embedder.embed([f"text {next(numbers)}"])):
        assert [in_child(child) for _ in range(15)] == [0] * 15
    embedder.close()


def test_a_stream_that_the_parent_began_is_refused(folder: Path) -> None:
    """Its windows are computed by threads that the child has not."""
    with in_memory([])(folder) as embedder:
        rows = embedder.embed_stream(f"text {number}" for number in range(3000))
        next(rows)
        assert in_child(lambda: raises(ForkedError, lambda: list(rows))) == 0
        assert in_child(lambda: rows.close() is None) == 0  # type: ignore[attr-defined]
        assert len(list(rows)) == 2999
