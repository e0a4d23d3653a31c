"""The command, killed in every way: a second run ends as an uninterrupted one, and computes one shard again at most."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.in_memory import write_folder

pytestmark = [pytest.mark.fire, pytest.mark.wide]  # processes that are ended

ROWS, SHARD = 400, 16


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{"id": str(number), "text": f"text {number}" if number % 10 else ""} for number in range(ROWS)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def start(tmp_path: Path, source: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the command in a process of its own."""
    model = write_folder(tmp_path / "model")

    def start(out: str = "out", *more: str, delay: float = 0.0) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.support.corpus_run", "embed", str(source), "--model", str(model)]
        command += ["--dimensions", "32", "--rows-per-file", str(SHARD), "--out", str(tmp_path / out), *more]
        environment = {**os.environ, "CORPUS_DELAY": str(delay), "CORPUS_PROMPTS": str(tmp_path / f"{out}.prompts")}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    return start


def finished(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the last line of JSON and what was told."""
    out, told = process.communicate(timeout=300)
    lines = out.splitlines()
    return process.returncode, json.loads(lines[-1]) if lines else {}, told


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def wait_for_shards(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while len(list(out.glob("done/*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_kills_cost_one_shard_each_at_most(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """SIGINT three times, SIGKILL once, SIGTERM once, each after two more shards."""
    code, whole, _ = finished(start("whole"))
    assert (code, whole["rows"], whole["errors"]) == (0, 360, {"empty": 40})
    signals = [signal.SIGINT, signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGINT]
    for number, kind in enumerate(signals):
        process = start(delay=0.15)
        wait_for_shards(tmp_path / "out", 4 * number + 1, process)
        process.send_signal(kind)
        code, summary, told = finished(process)
        if kind == signal.SIGINT:
            assert (code, summary["complete"]) == (130, False), told
            assert "Stopping after this shard" in told
        else:
            assert code == -kind
    code, summary, told = finished(start())
    assert (code, summary["complete"], summary["errors"]) == (0, True, {"empty": 40}), told
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob("*.tmp"))
    computed = len((tmp_path / "out.prompts").read_text().splitlines())
    assert computed <= 360 + 2 * (SHARD + 3 * 8)


def test_a_second_ctrl_c_stops_at_once(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    process = start(delay=1.0)
    wait_for_shards(tmp_path / "out", 1, process)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "Stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    code, summary, told = finished(process)
    assert (code, summary, told.splitlines()[-1]) == (130, {}, "Stopped.")
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert finished(start())[1]["known"] > 0


def test_a_full_disk_is_an_error_and_a_second_run_goes_on(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, source: Path
) -> None:
    """A limit on the size of files is met as a full disk is."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        process = start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    code, _, told = finished(process)
    assert code == 1
    assert "cannot be written (" in told
    assert "make room and run the same command again" in told
    assert finished(start())[0] == 0
    assert len(rows(tmp_path / "out")) == 360
