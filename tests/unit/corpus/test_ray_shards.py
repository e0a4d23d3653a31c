"""A corpus that Ray's actors compute is the one that one process computes, whichever of them is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
pytest.importorskip("pyarrow")

from tests.support.corpus_files import write_corpus, write_small
from tests.support.in_memory import write_folder
from tests.support.ray_runs import DIE, LOST, InMemory, Notes, wait_for
from vllm_jina_embed import ConfigError
from vllm_jina_embed.cli import main
from vllm_jina_embed.corpus import RayActors, embed_corpus, work
from vllm_jina_embed.corpus.entries import Columns
from vllm_jina_embed.corpus.reports import Summary
from vllm_jina_embed.errors import EngineError, WriteError

pytestmark = pytest.mark.wide  # each starts workers of Ray

COLUMNS = Columns(keep=("text", "year"))
ROWS = 64
TWO = RayActors(actors=2, num_gpus=0, num_cpus=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_folder(folder / "model")


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    write_corpus(folder / "made", 500)
    return folder / "made"


@pytest.fixture(scope="module")
def run(made: Path, model: Path) -> Callable[..., Summary]:
    def run(out: Path, **options: Any) -> Summary:
        with InMemory(model, dimensions=32) as embedder:
            return embed_corpus(made, out, embedder=embedder, columns=COLUMNS, rows_per_file=ROWS, **options)

    return run


@pytest.fixture(scope="module")
def whole(run: Callable[..., Summary], folder: Path) -> Path:
    """What one process writes."""
    run(folder / "whole")
    return folder / "whole"


def contents(out: Path) -> dict[str, Any]:
    """Return every file of a corpus; of the done files all but the seconds."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.is_file() and path.parent.name == "done":
            found[name] = {key: value for key, value in json.loads(path.read_text()).items() if key != "seconds"}
        elif path.is_file() and not path.name.startswith(".lock"):
            found[name] = path.read_bytes()
    return found


def test_two_actors_write_the_same_files(
    run: Callable[..., Summary], whole: Path, notes: Notes, tmp_path: Path
) -> None:
    """Texts, images, PDFs and tables, and bad items of every kind: byte for byte, and a second run computes nothing."""
    notes.clear()
    summary = run(tmp_path / "out", ray=TWO)
    assert contents(tmp_path / "out") == contents(whole)
    assert os.getpid() not in notes.counts()
    assert len(notes.counts()) == 2
    assert sum(notes.counts().values()) == summary.rows == 603
    assert summary.complete
    records = [json.loads(path.read_text()) for path in (whole / "done").iterdir()]
    assert sum(summary.errors.values()) == sum(record["errors"] for record in records)
    again = run(tmp_path / "out", ray=TWO)
    assert (again.rows, again.known, again.errors) == (0, summary.rows, summary.errors)
    assert sum(notes.counts().values()) == summary.rows


class Stopping:
    """Stops a run once a shard is done."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def update(self, progress: Any) -> None:
        if progress.shards:
            self.event.set()

    def tell(self, text: str) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("ways", [(TWO, None), (None, TWO)], ids=["ray first", "ray second"])
def test_one_goes_on_where_the_other_was_stopped(
    ways: tuple[Any, Any],
    run: Callable[..., Summary],
    whole: Path,
    notes: Notes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In actors and in one process, in either order; nothing is computed twice."""
    monkeypatch.setattr(work, "WINDOW", 8)
    monkeypatch.setattr(work, "AHEAD", 8)
    report = Stopping()
    first = run(tmp_path / "out", ray=ways[0], report=report, stop=report.event)
    assert not first.complete
    assert 0 < first.rows < 603
    second = run(tmp_path / "out", ray=ways[1])
    assert (second.complete, second.known, second.rows + first.rows) == (True, first.rows, 603)
    assert contents(tmp_path / "out") == contents(whole)


def test_a_killed_actor_is_started_again(
    run: Callable[..., Summary], whole: Path, notes: Notes, tmp_path: Path
) -> None:
    """In the middle of a shard, which is computed again; the other one goes on."""
    notes.clear()
    notes.delay(0.2)
    killed: list[int] = []

    def kill() -> None:
        wait_for(lambda: len(list((tmp_path / "out" / "done").glob("*.json"))) > 1)
        killed.append(max(notes.counts(), key=lambda pid: notes.counts()[pid]))
        os.kill(killed[0], signal.SIGKILL)
        notes.delay(0)

    thread = threading.Thread(target=kill)
    thread.start()
    summary = run(tmp_path / "out", ray=TWO)
    thread.join()
    assert contents(tmp_path / "out") == contents(whole)
    assert summary.rows == 603
    counts = notes.counts()
    assert len(counts) == 3  # two actors, and what took the place of the killed one
    assert 603 <= sum(counts.values()) <= 603 + ROWS


def test_an_error_of_an_actor_is_the_one_of_this_package(
    run: Callable[..., Summary], whole: Path, notes: Notes, tmp_path: Path
) -> None:
    """An engine that is lost and a folder that cannot be written; a later run goes on."""
    notes.clear()
    (notes.folder / LOST).touch()
    with pytest.raises(EngineError, match="the engine is lost"):
        run(tmp_path / "out", ray=TWO)
    (notes.folder / LOST).unlink()
    (tmp_path / "out" / "part-00003.parquet").mkdir(parents=True)
    with pytest.raises(WriteError, match="make room and run the same command again"):
        run(tmp_path / "out", ray=TWO)
    (tmp_path / "out" / "part-00003.parquet").rmdir()
    run(tmp_path / "out", ray=TWO)
    assert contents(tmp_path / "out") == contents(whole)


def test_an_actor_that_dies_again_and_again_ends_the_run(
    run: Callable[..., Summary], notes: Notes, tmp_path: Path
) -> None:
    notes.clear()
    (notes.folder / DIE).touch()
    with pytest.raises(EngineError, match=r"a Ray actor was lost .*run the same command again"):
        run(tmp_path / "out", ray=RayActors(actors=1, num_gpus=0, num_cpus=1))
    (notes.folder / DIE).unlink()
    assert len(notes.counts()) == 4  # at first, and three times more


@pytest.mark.parametrize(
    ("out", "actors", "message"),
    [
        ("qdrant:///{}/points", TWO, "is open in one process alone; with Ray give a folder or a server"),
        ("{}/out", RayActors(actors=5, num_cpus=1, num_gpus=0), "5 actors with 0 GPUs and 1 cores each do not fit"),
        ("{}/out", RayActors(actors=1, num_gpus=1), "1 actors with 1 GPUs and 4 cores each do not fit: Ray has 0 GPUs"),
    ],
)
def test_what_cannot_be_is_refused(
    run: Callable[..., Summary], notes: Notes, out: str, actors: RayActors, message: str, tmp_path: Path
) -> None:
    pytest.importorskip("qdrant_client")
    with pytest.raises(ConfigError, match=message):
        run(out.format(tmp_path), ray=actors)


def test_the_command(
    model: Path, notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where its options say nothing without ``--ray``."""
    monkeypatch.setattr("vllm_jina_embed.corpus.command.JinaEmbedder", InMemory)
    source = write_small(tmp_path / "in")
    line = ["embed", str(source), "--model", str(model), "--dimensions", "32", "--out", str(tmp_path / "out")]
    assert main([*line, "--actors", "2"]) == 2
    assert "are of Ray: pass --ray" in capsys.readouterr().err
    assert main([*line, "--actors", "1", "--ray"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == 6
