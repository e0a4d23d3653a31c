"""Caches that cannot be written or read: vectors are returned, known keys answer, and the cause is told once."""

from __future__ import annotations

import os
import pickle
import re
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed.cache import files
from vllm_jina_embed.cache import keys as cache_keys
from vllm_jina_embed.cache.embedder import CachedEmbedder
from vllm_jina_embed.cache.stores import SQLiteStore
from vllm_jina_embed.errors import ClosedError, ConfigError

pytestmark = pytest.mark.fire
TEXTS = [f"text {number}" for number in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def engines() -> list[FakeEngine]:
    return []


Make = Callable[[Any], CachedEmbedder]


@pytest.fixture
def make(folder: Path, engines: list[FakeEngine]) -> Iterator[Make]:
    """Cached embedders over a store; closes them all."""
    made: list[CachedEmbedder] = []

    def build(store: Any, **keywords: Any) -> CachedEmbedder:
        made.append(in_memory(engines)(folder, **keywords).cached(store))
        return made[-1]

    yield build
    for embedder in made:
        embedder.close()


def computed(engines: list[FakeEngine]) -> int:
    return sum(len(engine.prompts) for engine in engines)


def fill(store: SQLiteStore) -> None:
    """Let the file grow no further, as on a full disk."""
    with store._use() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")


class TestFullDisk:
    """SQLITE_FULL ends the transaction by itself, so that a rollback fails and hid the cause."""

    def test_the_cause_is_told(self, tmp_path: Path) -> None:
        store = SQLiteStore(tmp_path / "cache.sqlite")
        store.put_many({"a": b"1"})
        fill(store)
        with pytest.raises(ConfigError, match=r"cache\.sqlite.*database or disk is full.*Free some space") as caught:
            store.put_many({str(number): bytes(5000) for number in range(50)})
        assert "delete" not in str(caught.value)
        assert store.get_many(["a", "0"]) == [b"1", None]
        with store._use() as connection:
            connection.execute("PRAGMA max_page_count=100000")
        store.put_many({"b": b"2"})
        assert store.get_many(["b"]) == [b"2"]
        store.close()

    async def test_vectors_are_returned_and_known_ones_answer(
        self, make: Make, engines: list[FakeEngine], tmp_path: Path
    ) -> None:
        """One warning, whichever call it is; with room again, all is kept."""
        embedder = make(tmp_path / "cache.sqlite")
        known = embedder.embed(["known"])
        bare = embedder.embedder.embed(TEXTS)
        assert isinstance(embedder.store, SQLiteStore)
        fill(embedder.store)
        with pytest.warns(UserWarning, match="the cache cannot be written.*database or disk is full"):
            np.testing.assert_array_equal(embedder.embed(TEXTS), bare)
        before = computed(engines)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(await embedder.aembed(TEXTS), bare)
            assert computed(engines) == before + len(TEXTS)
            np.testing.assert_array_equal(embedder.embed(["known"]), known)
            assert computed(engines) == before + len(TEXTS)
            with embedder.store._use() as connection:
                connection.execute("PRAGMA max_page_count=100000")
            embedder.embed(TEXTS)
            before = computed(engines)
            np.testing.assert_array_equal(embedder.embed(TEXTS), bare)
        assert computed(engines) == before

    @pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="needs a disk of its own")
    def test_a_real_one(self, make: Make, tmp_path: Path) -> None:
        """A file system of 1 MB; the cache is opened there again when it is full."""
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], check=False)
        if mounted.returncode:
            pytest.skip("this machine mounts nothing")
        try:
            embedder = make(disk / "cache.sqlite")
            known = embedder.embed(["known"])
            (disk / "rest").write_bytes(bytes(2**20 - sum(f.stat().st_size for f in disk.iterdir()) - 16_384))
            with pytest.warns(UserWarning, match="cannot be written.*(full|I/O)"):
                rows = embedder.embed([f"long list {number}" for number in range(800)])
            assert np.isfinite(rows).all()
            np.testing.assert_array_equal(embedder.embed(["known"]), known)
            embedder.close()
            again = make(disk / "cache.sqlite")
            np.testing.assert_array_equal(again.embed(["known"]), known)
            again.close()
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


READ = """
import os, sys
from vllm_jina_embed.cache.stores import SQLiteStore
from vllm_jina_embed.errors import ConfigError
os.setgid(65534)
os.setuid(65534)
store = SQLiteStore(sys.argv[1])
assert store.get_many(["a", "b"]) == [b"1", None], store.get_many(["a", "b"])
assert len(store) == 1
try:
    store.put_many({"b": b"2"})
except ConfigError as error:
    assert "may not write" in str(error), error
else:
    raise AssertionError("it was written")
assert store.get_many(["a", "b"]) == [b"1", None]
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "setuid") or os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("writer_is_open", [True, False])
def test_another_user_reads_what_may_not_be_written(writer_is_open: bool) -> None:
    """Whether or not the log lies beside it; and is told so when writing."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        Path(name).chmod(0o755)
        store = SQLiteStore(Path(name, "cache.sqlite"))
        store.put_many({"a": b"1"})
        if not writer_is_open:
            store.close()
        for file in Path(name).iterdir():
            file.chmod(0o644)
        command = [sys.executable, "-c", READ, str(Path(name, "cache.sqlite"))]
        other = subprocess.run(command, capture_output=True, text=True, timeout=120)
        store.close()
    assert other.returncode == 0, other.stderr


def test_what_is_read_only_is_read_and_the_rest_computed(make: Make, engines: list[FakeEngine], tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    first = make(path)
    known = first.embed(["known"])
    first.close()
    second = make(path)
    assert isinstance(second.store, SQLiteStore)
    with second.store._use() as connection:
        connection.execute("PRAGMA query_only=1")
    with pytest.warns(UserWarning, match="cannot be written.*readonly"):
        rows = second.embed(["known", "unknown"])
    np.testing.assert_array_equal(rows[:1], known)
    assert np.isfinite(rows).all()


class TestPaths:
    """Where the file lies."""

    @pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
    def test_it_is_its_owner_s_alone(self, tmp_path: Path) -> None:
        """With the log and the index of the log, whatever the umask is."""
        before = os.umask(0)
        try:
            store = SQLiteStore(tmp_path / "cache.sqlite")
            store.put_many({"a": b"1"})
        finally:
            os.umask(before)
        assert {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {
            "cache.sqlite": "0o600", "cache.sqlite-wal": "0o600", "cache.sqlite-shm": "0o600",
        }  # fmt: skip
        store.close()

    @pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
    def test_the_mode_of_one_that_is_there_stays(self, tmp_path: Path) -> None:
        """A team may share it."""
        SQLiteStore(tmp_path / "cache.sqlite").close()
        (tmp_path / "cache.sqlite").chmod(0o660)
        SQLiteStore(tmp_path / "cache.sqlite").close()
        assert (tmp_path / "cache.sqlite").stat().st_mode & 0o777 == 0o660

    @pytest.mark.parametrize("path", ["a\0b", "~no-such-user-here/cache.sqlite"])
    def test_one_that_no_file_can_have_is_refused(self, path: str) -> None:
        with pytest.raises(ConfigError, match=r"the cache's path .* cannot be used"):
            SQLiteStore(path)

    def test_a_folder_is_not_to_be_deleted(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="unable to open") as caught:
            SQLiteStore(tmp_path)
        assert "delete" not in str(caught.value)

    def test_memory_makes_no_file(
        self, make: Make, engines: list[FakeEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It answers as a file does, in threads too, and each has its own."""
        monkeypatch.chdir(tmp_path)
        embedder = make(":memory:")
        rows = embedder.embed(TEXTS)
        before = computed(engines)
        np.testing.assert_array_equal(embedder.embed(TEXTS), rows)
        assert computed(engines) == before
        make(":memory:").embed(["text 0"])
        assert computed(engines) == before + 1
        assert len(pickle.loads(pickle.dumps(embedder.store))) == 0
        assert list(tmp_path.iterdir()) == [tmp_path / "checkpoint"] or list(tmp_path.iterdir()) == []


class Faulty:
    """A store by another hand."""

    def __init__(self, get: Any = None, put: Any = None) -> None:
        self.get, self.put = get, put

    def get_many(self, keys: Sequence[str]) -> Any:
        if isinstance(self.get, Exception):
            raise self.get
        return [None] * len(keys) if self.get is None else self.get

    def put_many(self, values: Mapping[str, bytes]) -> None:
        if self.put is not None:
            raise self.put


@pytest.mark.parametrize(
    ("store", "told"),
    [
        (Faulty(get=OSError("connection reset")), "cannot be read.*OSError: connection reset"),
        (Faulty(put=OSError("no space")), "cannot be written.*OSError: no space"),
        (Faulty(get=KeyError("x")), "cannot be read.*KeyError"),
        (Faulty(put=ZeroDivisionError()), "cannot be written.*ZeroDivisionError"),
        (Faulty(get=[None]), "cannot be read.*1 values for 40 keys"),
        (Faulty(get=[None] * 41), "cannot be read.*41 values for 40 keys"),
        (Faulty(get=7), "cannot be read.*TypeError"),
        (Faulty(get=["odd", 3] * 20), None),
    ],
)
async def test_a_store_that_fails_costs_hits_alone(make: Make, store: Faulty, told: str | None) -> None:
    embedder = make(store)
    bare = embedder.embedder.embed(TEXTS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(embedder.embed(TEXTS), bare)
        np.testing.assert_array_equal(await embedder.aembed(TEXTS), bare)
    assert len(caught) == (told is not None)
    assert all(re.search(told or "", str(warning.message)) for warning in caught)


def test_a_closed_store_is_an_error(make: Make, tmp_path: Path) -> None:
    """It is the caller's doing, and would be computed without end."""
    embedder = make(tmp_path / "cache.sqlite")
    assert isinstance(embedder.store, SQLiteStore)
    embedder.store.close()
    with pytest.raises(ClosedError):
        embedder.embed(["a"])


def test_a_row_that_is_not_finite_is_computed_again(make: Make, engines: list[FakeEngine], tmp_path: Path) -> None:
    """Whoever put it there."""
    embedder = make(tmp_path / "cache.sqlite")
    rows = embedder.embed(["a"])
    with embedder.store._use() as connection:  # type: ignore[union-attr]
        ((key,),) = connection.execute("SELECT key FROM embeddings").fetchall()
    bad = rows[0].copy()
    bad[3] = np.nan
    embedder.store.put_many({key: cache_keys.pack(key, bad, truncated=False)})
    before = computed(engines)
    np.testing.assert_array_equal(embedder.embed(["a"]), rows)
    assert computed(engines) == before + 1


def test_advice_fits_the_error() -> None:
    error = sqlite3.OperationalError("x")
    for code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY):
        error.sqlite_errorcode = code | 0x200
        assert "delete" not in files.advice(error)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    assert "delete it" in files.advice(error)


@pytest.mark.parametrize("store", [Faulty(get=OSError("reset")), Faulty(put=OSError("no space")), Faulty(get=[None])])
async def test_a_store_that_fails_costs_no_vector_where_warnings_are_errors(
    make: Make, store: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    """``python -W error``: the log says once what the warning would."""
    embedder = make(store)
    bare = embedder.embedder.embed(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(embedder.embed(TEXTS), bare)
        np.testing.assert_array_equal(await embedder.aembed(TEXTS), bare)
    assert [record.levelname for record in caplog.records if "the cache cannot be" in record.message] == ["WARNING"]
