"""The SQLite file of a cache: threads, processes, forks, other people's files and broken ones."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vllm_jina_embed.cache.stores import SQLiteStore, Store, open_store
from vllm_jina_embed.errors import ClosedError, ConfigError

WRITE = """
import sys
from vllm_jina_embed.cache.stores import SQLiteStore
path, number = sys.argv[1], int(sys.argv[2])
store = SQLiteStore(path)
for turn in range(40):
    store.put_many({f"{number}-{turn}": b"%d %d" % (number, turn), "shared": b"x" * 1000})
    assert store.get_many([f"{number}-{turn}", "shared"]) == [b"%d %d" % (number, turn), b"x" * 1000]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


def test_values_come_back_in_order_and_after_reopening(path: Path) -> None:
    """Missing ones are None, later ones replace earlier ones."""
    store = open_store(str(path))
    assert isinstance(store, Store)
    assert isinstance(store, SQLiteStore)
    store.put_many({"a": b"1", "b": b"", "c": b"3"})
    store.put_many({"a": b"2"})
    store.put_many({})
    assert store.get_many(["c", "x", "a", "c", "b"]) == [b"3", None, b"2", b"3", b""]
    assert store.get_many([]) == []
    store.close()
    with pytest.raises(ClosedError):
        store.get_many(["a"])
    store.close()
    again = SQLiteStore(path)
    assert len(again) == 3
    assert again.get_many(["a"]) == [b"2"]


def test_more_keys_than_a_statement_takes(path: Path) -> None:
    """SQLite's limits are per statement."""
    store = SQLiteStore(path)
    values = {f"key {number}": b"%d" % number for number in range(40_000)}
    store.put_many(values)
    assert store.get_many(list(values)) == list(values.values())


def test_threads_write_and_read_one_store(path: Path) -> None:
    store = SQLiteStore(path)

    def work(number: int) -> list[bytes | None]:
        for turn in range(20):
            store.put_many({f"{number}-{turn}": b"%d" % number})
        return store.get_many([f"{number}-{turn}" for turn in range(20)])

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(work, range(16)))
    assert found == [[b"%d" % number] * 20 for number in range(16)]


def test_processes_share_a_file_that_none_of_them_has_made_yet(path: Path) -> None:
    """All start at once, on a path where nothing is."""
    workers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(path), str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(6)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    assert len(SQLiteStore(path)) == 6 * 40 + 1


def test_another_process_may_make_the_file_while_it_is_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two looks at the empty file: it is a cache, not a database of something else."""

    class Slow(sqlite3.Connection):
        def execute(self, *statement: Any) -> sqlite3.Cursor:
            looks.append(statement)
            if len(looks) == 2:
                with monkeypatch.context() as others:
                    others.setattr(sqlite3, "connect", connect)
                    SQLiteStore(path).put_many({"a": b"1"})
            return super().execute(*statement)

    looks: list[Any] = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", partial(connect, factory=Slow))
    assert SQLiteStore(path).get_many(["a"]) == [b"1"]
    assert len(looks) > 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_opens_the_file_anew(path: Path) -> None:
    """SQLite's connections must not be carried over a fork."""
    store = SQLiteStore(path)
    store.put_many({"a": b"1"})
    child = os.fork()
    if child == 0:
        ok = store.get_many(["a"]) == [b"1"]
        store.put_many({"b": b"2"})
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert store.get_many(["a", "b"]) == [b"1", b"2"]


def test_it_travels_as_its_path(path: Path) -> None:
    """To another process, for example."""
    store = SQLiteStore(path)
    store.put_many({"a": b"1"})
    assert pickle.loads(pickle.dumps(store)).get_many(["a"]) == [b"1"]


def test_a_failed_write_leaves_nothing_behind(path: Path) -> None:
    """One transaction: the good value beside the bad one is not half there, and the store goes on."""
    store = SQLiteStore(path)
    with pytest.raises(ConfigError, match="cannot be used"):
        store.put_many({"a": b"1", "b": None})  # type: ignore[dict-item]
    assert store.get_many(["a", "b"]) == [None, None]
    store.put_many({"a": b"1"})
    assert store.get_many(["a"]) == [b"1"]


def test_a_database_of_something_else_is_left_alone(path: Path) -> None:
    """A user's own file is neither read nor written."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE embeddings (key TEXT, value BLOB)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program's database"):
        SQLiteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be one" * 50, b"SQLite format 3\0"])
def test_a_broken_file_is_named_with_the_way_out(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cache\.sqlite.*delete it"):
        SQLiteStore(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such"):
        SQLiteStore(tmp_path / "no-such" / "cache.sqlite")
