"""The command on Ray, its driver killed: the same command goes on, and what it writes is that of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray")
pytest.importorskip("pyarrow")

from tests.support.corpus_files import write_corpus
from tests.support.in_memory import write_folder
from tests.support.ray_runs import NOTES, InMemory, Notes, wait_for
from tests.unit.corpus.test_ray_shards import COLUMNS, ROWS, contents
from vllm_jina_embed.corpus import embed_corpus

pytestmark = pytest.mark.fire

SLOW = {"RAY_raylet_start_wait_time_s": "300", "RAY_worker_niceness": "0"}
"""For a machine with other work: Ray has 30 s to start, and its workers niceness 15."""


def test_a_killed_driver_goes_on(tmp_path: Path) -> None:
    """In the middle of two shards: nothing is lost or doubled, and at most those two are computed again."""
    notes = Notes(tmp_path / "notes")
    model = write_folder(tmp_path / "model")
    write_corpus(tmp_path / "made", 500)
    with InMemory(model, dimensions=32) as embedder:
        source = tmp_path / "made"
        whole = embed_corpus(source, tmp_path / "whole", embedder=embedder, columns=COLUMNS, rows_per_file=ROWS)
    command = [sys.executable, "-m", "tests.support.ray_command", "embed", str(source), "--model", str(model)]
    command += ["--dimensions", "32", "--rows-per-file", str(ROWS), "--keep", "text", "year"]
    command += ["--out", str(tmp_path / "out"), "--ray", "--actors", "2", "--actor-cpus", "1"]
    environment = {**os.environ, **SLOW, NOTES: str(notes.folder)}
    done = tmp_path / "out" / "done"

    notes.delay(0.2)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(lambda: len(list(done.glob("*.json"))) >= 3 or process.poll() is not None, seconds=600)
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    actors = list(notes.counts())
    assert len(actors) == 2
    wait_for(lambda: not any(map(psutil.pid_exists, actors)), seconds=120)
    before = {path.name: path.stat().st_mtime_ns for path in done.glob("*.json")}
    assert 3 <= len(before) < len(list((tmp_path / "whole" / "done").iterdir()))

    notes.delay(0)
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=800, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    end = json.loads(ended.stdout.splitlines()[-1])
    assert (end["rows"] + end["known"], end["errors"]) == (whole.rows, whole.errors)
    assert {name: (done / name).stat().st_mtime_ns for name in before} == before
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert whole.rows <= sum(notes.counts().values()) <= whole.rows + 2 * ROWS
