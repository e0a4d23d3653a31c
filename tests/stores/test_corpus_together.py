"""Two processes that begin on one place at the same moment share its files or its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.chroma_server import chroma_server
from tests.support.corpus_stores import lancedb, postgres
from tests.support.in_memory import write_folder
from vllm_jina_embed.corpus import open_corpus
from vllm_jina_embed.corpus.parquet_parts import Shape
from vllm_jina_embed.corpus.qdrant import QdrantPoints
from vllm_jina_embed.errors import WriteError

pytestmark = pytest.mark.wide  # processes of their own

ROWS, SHARD = 120, 8


@contextmanager
def files(folder: Path) -> Iterator[str]:
    yield str(folder / "out")


@contextmanager
def of(make: Callable[[Path], Any], folder: Path) -> Iterator[str]:
    yield make(folder / "db").out


@contextmanager
def chroma(folder: Path) -> Iterator[str]:
    with chroma_server(folder / "db") as address:
        yield f"chroma://{address}/pages"


PLACES: dict[str, Callable[[Path], Any]] = {
    "parquet": files,
    "lancedb": lambda folder: of(lancedb, folder),
    "chroma": chroma,
    "postgres": lambda folder: of(postgres, folder),
}


def start(folder: Path, out: str, options: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.corpus_run", "embed", str(folder / "rows.jsonl"), "--out", out]
    command += ["--model", str(folder / "model"), "--dimensions", "32", "--rows-per-file", str(SHARD), *options]
    command += ["--journal", str(folder / "journal")] if "://" in out else []
    pipe = subprocess.PIPE
    environment = {**os.environ, "CORPUS_MEET": str(folder / "meet")}
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def finished(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int | None, str]]:
    """Wait for processes; return their exit codes and what they told."""
    try:
        told = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"id": str(number), "text": f"text {number}" if number % 10 else ""} for number in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_folder(tmp_path / "model")
    (tmp_path / "meet").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", PLACES)
def test_two_processes_that_begin_at_once_fill_one_place(name: str, folder: Path) -> None:
    """Neither takes what the other makes for somebody else's, and every row is there once."""
    with PLACES[name](folder) as out:
        told = finished([start(folder, out, ["--shard", f"{number}/2"]) for number in (1, 2)])
        assert [code for code, _ in told] == [0, 0], told
        with open_corpus(out, journal=folder / "journal" if "://" in out else None) as corpus:
            found = sorted(int(row.id) for row in corpus)
            assert found == [number for number in range(ROWS) if number % 10]
            assert corpus.store.count() == len(found)


def test_two_processes_that_begin_anew_at_once_do_not_delete_each_others_rows(folder: Path) -> None:
    """One of them says so; what the other wrote is there."""
    (folder / "meet" / "start").mkdir()
    (folder / "meet" / "rows").mkdir()
    for place in ("start", "rows"):  # nobody to wait for
        (folder / "meet" / place / "other").touch()
    assert finished([start(folder, str(folder / "out"), ["--shard", "1/2"])])[0][0] == 0
    for name in ("start", "rows"):
        for path in (folder / "meet" / name).iterdir():
            path.unlink()
    (folder / "meet" / "start" / "other").touch()
    first = start(folder, str(folder / "out"), ["--shard", "1/2", "--overwrite"])  # waits before its first rows
    while not list((folder / "meet" / "rows").iterdir()):
        assert first.poll() is None, first.communicate()
    ((code, told),) = finished([start(folder, str(folder / "out"), ["--shard", "2/2", "--overwrite"])])
    assert (code, "and --overwrite deletes what it writes" in told) == (2, True), told
    second = start(folder, str(folder / "out"), ["--shard", "2/2"])
    assert [code for code, _ in finished([first, second])] == [0, 0]
    assert len(list(open_corpus(folder / "out"))) == ROWS * 9 // 10


def test_a_collection_that_another_process_makes_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Qdrant's server answers the second of two: 409 Conflict."""
    answers = {"collection_exists": [False, True], "delete": [None]}

    def call(self: QdrantPoints, method: str, **arguments: Any) -> Any:
        if method == "create_collection":
            raise WriteError("Qdrant: 409 Conflict. Collection `pages` already exists!")
        return answers[method].pop(0)

    monkeypatch.setattr(QdrantPoints, "_call", call)
    table = QdrantPoints("pages", Shape(dimensions=4, token_dimensions=None, kept={}), path=str(tmp_path))
    table.begin(0)
    assert not any(answers.values())
    answers["collection_exists"] = [False, False]
    with pytest.raises(WriteError, match="409"):
        table.begin(1)
