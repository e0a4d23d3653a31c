"""5,000 items and 200 bad ones into every store: interrupted in every way, equal to a whole run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import interrupted
from tests.support.corpus_stores import one_server
from tests.support.counted_run import FAULTS
from tests.support.in_memory import write_folder
from tests.support.interrupted import Rows, Runs, check_equal, check_errors, rows_of_files, unique
from tests.support.large_corpus import Reasons, write_large
from tests.support.postgres import table

pytestmark = [pytest.mark.fire, pytest.mark.wide]

SHARD, WINDOW, PART = 256, 32, 700


@dataclass(frozen=True)
class Store:
    """A store.

    Attributes:
        out: Its place, ``{folder}`` being a folder for it; or what makes one on a server.
        journal: Folder of the journal in that folder.
        rows: Returns what it holds.
        atol: How far the numbers of an embedding may be from those of the files: a store may make unit vectors anew.
    """

    out: str | Callable[[], str]
    journal: str
    rows: Callable[[Path], Rows]
    atol: float = 0.0


def lancedb_rows(folder: Path) -> Rows:
    lancedb = pytest.importorskip("lancedb")
    names = ("source", "page", "kind", "year")
    rows = lancedb.connect(str(folder / "db")).open_table("pages").to_arrow().to_pylist()
    return unique(
        [
            (
                row["id"],
                row["text"] or "",
                {name: row[name] for name in names if row[name] is not None},
                np.array(row["embedding"], np.float32),
            )
            for row in rows
        ]
    )


def qdrant_rows(folder: Path) -> Rows:
    qdrant_client = pytest.importorskip("qdrant_client")
    client = qdrant_client.QdrantClient(path=str(folder / "db"))
    try:
        points, _ = client.scroll("pages", limit=100_000, with_vectors=True)
    finally:
        client.close()
    return unique([(*_payload(point.payload), np.array(point.vector["embedding"], np.float32)) for point in points])


def _payload(payload: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return payload["id"], payload["page_content"], payload["metadata"]


def chroma_rows(folder: Path) -> Rows:
    chromadb = pytest.importorskip("chromadb")
    collection = chromadb.PersistentClient(str(folder / "db")).get_collection("pages", embedding_function=None)
    found = collection.get(include=["documents", "metadatas", "embeddings"])
    columns = zip(found["ids"], found["documents"], found["metadatas"], found["embeddings"], strict=True)
    return unique(
        [
            (name, text, {key: value for key, value in metadata.items() if key != "shard"}, np.array(rows, np.float32))
            for name, text, metadata, rows in columns
        ]
    )


def postgres_rows(folder: Path) -> Rows:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(one_server().get_uri()) as connection:
        rows = connection.execute("SELECT id, content, metadata, embedding::text FROM interrupted").fetchall()
    return unique([(*row[:3], np.array(json.loads(row[3]), np.float32)) for row in rows])


def postgres_table() -> str:
    """Return a table of the tests' server that is not there yet."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(one_server().get_uri(), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS interrupted CASCADE")
    return table(one_server(), "interrupted")


STORES = {
    "parquet": Store("{folder}/out", "out", lambda folder: rows_of_files(folder / "out")),
    "lancedb": Store("lancedb://{folder}/db/pages", "db/pages.journal", lancedb_rows),
    "qdrant": Store("qdrant://{folder}/db/pages", "db/pages.journal", qdrant_rows, atol=1e-6),
    "chroma": Store("chroma://{folder}/db/pages", "db/pages.journal", chroma_rows, atol=1e-6),
    "postgres": Store(postgres_table, "journal", postgres_rows),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_folder(folder / "model")
    return folder


@pytest.fixture(scope="module")
def reasons(folder: Path) -> Reasons:
    return write_large(folder / "corpus")


def runs_into(folder: Path, work: Path, store: Store) -> Runs:
    return Runs(
        source=folder / "corpus",
        out=store.out.format(folder=work) if isinstance(store.out, str) else store.out(),
        journal=work / store.journal,
        model=str(folder / "model"),
        work=work,
        shard=SHARD,
        window=WINDOW,
        fake=True,
        more=("--dimensions", "32", *(() if isinstance(store.out, str) else ("--journal", str(work / store.journal)))),
    )


@pytest.fixture(scope="module")
def whole(folder: Path, reasons: Reasons, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The rows of a run into files that nothing interrupted."""
    work = tmp_path_factory.mktemp("whole")
    runs = runs_into(folder, work, STORES["parquet"])
    check_errors(runs, interrupted.finish(runs), reasons)
    rows = rows_of_files(work / "out")
    assert set(rows) == reasons.expected.good
    return rows


@pytest.mark.parametrize("name", STORES)
def test_what_interrupts_a_run_changes_nothing(
    name: str, folder: Path, reasons: Reasons, whole: Rows, tmp_path: Path
) -> None:
    """SIGINT three times, SIGKILL, a lost engine and a full disk; each costs a shard at most, SIGINT nothing."""
    runs = runs_into(folder, tmp_path, STORES[name])
    interrupted.stop(runs, PART)
    interrupted.kill(runs, PART)
    interrupted.stop(runs, PART)
    interrupted.lose(runs, PART)
    interrupted.fill_disk(runs, PART)
    interrupted.stop(runs, PART)
    summary = interrupted.finish(runs)
    assert summary["known"] > PART
    check_errors(runs, summary, reasons)
    check_equal(STORES[name].rows(tmp_path), whole, atol=STORES[name].atol)
    assert not list(tmp_path.rglob("*.tmp"))


SEEN = {
    "a journal that forgets": "items are computed again; at most 352",
    "a row that is doubled": "rows are there twice",
    "an error that is not noted": "errors are missing: .*long-9",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows(fault: str, folder: Path, reasons: Reasons, whole: Rows, tmp_path: Path) -> None:
    """What the test above compares is enough to see one."""
    runs = runs_into(folder, tmp_path, STORES["parquet"])

    def interrupt_and_compare() -> None:
        interrupted.kill(runs, PART, fault=fault)
        check_errors(runs, interrupted.finish(runs, fault=fault), reasons)
        check_equal(rows_of_files(tmp_path / "out"), whole)

    with pytest.raises(AssertionError, match=SEEN[fault]):
        interrupt_and_compare()
