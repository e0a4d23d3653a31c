"""The command on Ray, its driver killed: the same command goes on, and what it writes is that of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
pytest.importorskip("pyarrow")

import psutil

from tests.support.corpus_files import write_corpus
from tests.support.in_memory import write_folder
from tests.support.ray_runs import NOTES, Notes, wait_for
from tests.unit.corpus.test_ray_shards import ROWS, contents

pytestmark = [pytest.mark.fire, pytest.mark.siege]  # Ray gives up after 30 s of a start, which other work can take

SLOW = {"RAY_raylet_start_wait_time_s": "300", "RAY_worker_niceness": "0"}
"""For a machine with other work: Ray has 30 s to start, and its workers niceness 15."""


def test_a_killed_driver_goes_on(tmp_path: Path) -> None:
    """In the middle of two shards: nothing is lost or doubled, and at most those two are computed again."""
    notes = Notes(tmp_path / "notes")
    model = write_folder(tmp_path / "model")
    write_corpus(tmp_path / "made", 500)
    environment = {**os.environ, **SLOW, NOTES: str(notes.folder)}
    command = [sys.executable, "-m", "tests.support.ray_command", "embed", str(tmp_path / "made")]
    command += ["--model", str(model), "--dimensions", "32", "--rows-per-file", str(ROWS), "--keep", "text", "year"]
    whole = finished([*command, "--out", str(tmp_path / "whole")], environment)
    notes.clear()
    command += ["--out", str(tmp_path / "out"), "--ray", "--actors", "2", "--actor-cpus", "1"]
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
    end = finished(command, environment)
    assert (end["rows"] + end["known"], end["errors"]) == (whole["rows"], whole["errors"])
    assert {name: (done / name).stat().st_mtime_ns for name in before} == before
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert whole["rows"] <= sum(notes.counts().values()) <= whole["rows"] + 2 * ROWS


def finished(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command to its end, and return its last line."""
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=800, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found
