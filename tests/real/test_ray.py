"""Two actors of Ray on the real engine: one is killed, then the driver; the resumed run equals that of one process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

pytest.importorskip("ray")

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.corpus_files import write_corpus
from tests.support.images import encoded, noise
from tests.support.ray_runs import wait_for
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.corpus import embed_corpus

pytestmark = [pytest.mark.real, pytest.mark.siege, pytest.mark.timeout(3600)]

ENGINE = {"kv_cache_memory_bytes": 128 * 1024 * 1024, "max_num_seqs": 64}
DIMENSIONS, ROWS = 128, 16
SLOW = {"RAY_raylet_start_wait_time_s": "300", "RAY_worker_niceness": "0"}
"""For a machine with other work: Ray has 30 s to start, and its workers niceness 15."""
NOISE = 1e-5
"""Largest difference of a number of a vector that was computed in another batch."""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for Ray, whose sockets need short paths."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Run:
    """The command in a process of its own; watches the engines below it."""

    def __init__(self, arguments: list[str], log: Path, temporary: Path) -> None:
        self._log = log.open("w")
        environment = {**os.environ, "RAY_TMPDIR": str(temporary), **SLOW}
        command = [sys.executable, *arguments]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=self._log, text=True, start_new_session=True
        )
        self.engines: set[psutil.Process] = set()
        self.actors: set[psutil.Process] = set()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def finished(self) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        out, _ = self.process.communicate(timeout=1200)
        self._thread.join()
        self._log.close()
        return self.process.returncode, out

    def left(self) -> list[psutil.Process]:
        """Return the processes of engines that still run."""
        return [process for process in self.engines if _runs(process)]

    def _watch(self) -> None:
        while self.process.poll() is None:
            try:
                below = psutil.Process(self.process.pid).children(recursive=True)
                for process in below:
                    name = " ".join(process.cmdline())
                    if "VLLM::" in name:
                        self.engines.add(process)
                    elif name.startswith(("ray::ShardWriter", "ray::MapWorker")):
                        self.actors.add(process)
            except psutil.Error:
                pass
            time.sleep(0.2)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """Return the rows by id; none is there twice."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(out.glob("part-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            assert row["id"] not in found
            found[row["id"]] = {**row, "file": path.name}
    return found


def vectors(found: dict[str, dict[str, Any]]) -> np.ndarray:
    return np.array([row.pop("embedding") for row in found.values()], np.float32)


def logs(temporary: Path) -> str:
    """Return what the actors wrote."""
    return "\n".join(path.read_text(errors="replace") for path in temporary.rglob("worker-*.*"))


def test_a_killed_actor_and_a_killed_driver_lose_and_double_nothing(temporary: Path, tmp_path: Path) -> None:
    """0 lost, 0 doubled, the same files and vectors as one process, and no engine 5 s after a driver's end."""
    expected = write_corpus(tmp_path / "made", 150)
    with JinaEmbedder("demo", dimensions=DIMENSIONS, engine_kwargs=ENGINE) as embedder:
        summary = embed_corpus(tmp_path / "made", tmp_path / "whole", embedder=embedder, rows_per_file=ROWS)
    done = tmp_path / "out" / "done"
    arguments = [
        "-c", "import sys; from vllm_jina_embed.cli import main; sys.exit(main())", "embed", str(tmp_path / "made"),
        "--out", str(tmp_path / "out"), "--dimensions", str(DIMENSIONS), "--rows-per-file", str(ROWS),
        "--engine-kwargs", json.dumps(ENGINE), "--ray", "--actors", "2", "--actor-cpus", "1",
    ]  # fmt: skip

    first = Run(arguments, tmp_path / "first.log", temporary)
    told = (tmp_path / "first.log").read_text
    until(first, lambda: len(list(done.glob("*.json"))) >= 1, told)
    (killed, *_) = [actor for actor in first.actors if _runs(actor)]
    killed.send_signal(signal.SIGKILL)
    known = len(list(done.glob("*.json")))
    until(first, lambda: len(list(done.glob("*.json"))) >= known + 2 and len(first.actors) == 3, told)
    first.process.send_signal(signal.SIGKILL)
    first.finished()
    gone(first)

    before = {path.name: path.stat().st_mtime_ns for path in done.glob("*.json")}
    second = Run(arguments, tmp_path / "second.log", temporary)
    code, out = second.finished()
    assert code == 0, (tmp_path / "second.log").read_text()[-3000:]
    gone(second)
    end = json.loads(out.splitlines()[-1])
    assert (end["rows"] + end["known"], end["errors"], end["complete"]) == (summary.rows, summary.errors, True)
    assert end["known"] > 0
    assert {name: (done / name).stat().st_mtime_ns for name in before} == before  # nothing done was computed again
    compare(tmp_path / "out", tmp_path / "whole")
    assert set(rows(tmp_path / "out")) == expected.good
    assert "EngineDeadError" not in logs(temporary)
    assert not [line for line in logs(temporary).splitlines() if "ERROR" in line]


def until(run: Run, condition: Callable[[], bool], told: Callable[[], str]) -> None:
    def is_so() -> bool:
        assert run.process.poll() is None, told()[-3000:]
        return condition()

    wait_for(is_so, seconds=900)


def gone(run: Run) -> None:
    """Check that a run had engines, and that none is left 5 s after its end."""
    assert run.engines
    end = time.monotonic() + 5
    while run.left() and time.monotonic() < end:
        time.sleep(0.05)
    assert run.left() == []


def compare(out: Path, whole: Path) -> None:
    """Check that two corpora hold the same, and their vectors but for the noise of other batches."""
    own, theirs = rows(out), rows(whole)
    assert list(own) == list(theirs)
    assert np.abs(vectors(own) - vectors(theirs)).max() <= NOISE
    assert own == theirs
    for path in sorted((whole / "errors").iterdir()):
        assert (out / "errors" / path.name).read_bytes() == path.read_bytes()
    assert (out / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()
    assert sorted(path.name for path in (out / "done").iterdir()) == sorted(p.name for p in (whole / "done").iterdir())
    assert not list(out.rglob("*.tmp"))


PIPELINE = """
import sys
import ray
from vllm_jina_embed.corpus.ray_data import embed_dataset

ray.init(address="local", num_cpus=4, include_dashboard=False, object_store_memory=150 * 1024**2)
ds = embed_dataset(
    ray.data.read_parquet(sys.argv[1]), text="text", image="image", id="id", num_gpus=0, rows_per_block=64,
    dimensions=128, engine_kwargs={"kv_cache_memory_bytes": 128 * 1024 * 1024}, checkpoint=sys.argv[3],
)
ds.write_parquet(sys.argv[2], partition_cols=["status"])
ray.shutdown()
"""


def test_a_dataset_has_the_vectors_of_one_process_and_a_clean_end(temporary: Path, tmp_path: Path) -> None:
    """Rows with an error stand apart, and no line of the actors tells of an engine that died."""
    texts = [None if number % 9 == 0 else f"Row {number} tells about {number * 7 % 31}." for number in range(300)]
    texts[10] = "  "
    images = [encoded(noise(40, 30, seed=number)) if number % 9 == 0 else None for number in range(300)]
    images[18] = b"no image"
    table = pa.table({"id": range(300), "text": texts, "image": pa.array(images, pa.binary())})
    pq.write_table(table, tmp_path / "in.parquet")
    script = tmp_path / "pipeline.py"
    script.write_text(PIPELINE)
    paths = [str(tmp_path / name) for name in ("in.parquet", "out", "checkpoint")]
    run = Run([str(script), *paths], tmp_path / "log", temporary)
    code, _ = run.finished()
    assert code == 0, (tmp_path / "log").read_text()[-3000:]
    gone(run)
    assert "EngineDeadError" not in logs(temporary)
    good = pa.concat_tables([pq.ParquetFile(path).read() for path in (tmp_path / "out" / "status=ok").iterdir()])
    assert str(good.schema.field("embedding").type) == "fixed_size_list<element: float>[128]"
    assert good["embedding"].null_count == 0
    bad = [row for path in (tmp_path / "out").glob("status=*/*") if "=ok" not in str(path)
           for row in pq.ParquetFile(path).read().to_pylist()]  # fmt: skip
    assert {row["id"] for row in bad} == {10, 18}
    assert all(row["error"] and np.isnan(row["embedding"]).all() for row in bad)
    by_id = {row["id"]: row["embedding"] for row in good.to_pylist()}
    assert set(by_id) == set(range(300)) - {10, 18}
    assert len(good) == 298
    with JinaEmbedder("demo", dimensions=DIMENSIONS, engine_kwargs=ENGINE) as embedder:
        own = embedder.embed([images[key] if key % 9 == 0 else texts[key] for key in by_id])
    assert np.abs(own - np.array(list(by_id.values()), np.float32)).max() <= NOISE
