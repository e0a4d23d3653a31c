"""5,000 items and 200 bad ones by the real engine into files: interrupted in every way, equal to a whole run."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support import interrupted
from tests.support.interrupted import Run, Runs, check_equal, check_errors, rows_of_files
from tests.support.large_corpus import Reasons, write_large

pytestmark = [pytest.mark.real, pytest.mark.siege, pytest.mark.timeout(3600)]

SHARD, WINDOW, PART = 512, 64, 700
NEAR = 1e-5
"""How far a number of an embedding may be from that of another run, which computed it beside other items."""


def engine_processes(run: Run) -> list[psutil.Process]:
    """Return the processes of vLLM that a run has started."""
    children = psutil.Process(run.process.pid).children(recursive=True)
    return [child for child in children if "VLLM::" in " ".join(child.cmdline())]


def kill_engine(runs: Runs, after: int) -> tuple[int, str]:
    """Kill the engine of a run after so many items; return how the run ended, and what it told."""
    run = runs.start()
    try:
        run.wait_for_items(after)
        processes = engine_processes(run)
        (core,) = [process for process in processes if "EngineCore" in " ".join(process.cmdline())]
        core.kill()
        code, _ = run.finish()
    finally:
        run.close()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
    return code, run.told


def runs_into(source: Path, work: Path) -> Runs:
    work.mkdir()
    return Runs(
        source=source,
        out=str(work / "out"),
        journal=work / "out",
        model="demo",
        work=work,
        shard=SHARD,
        window=WINDOW,
        fake=False,
        more=("--dimensions", "128", "--engine-kwargs", '{"kv_cache_memory_bytes": 134217728, "max_num_seqs": 64}'),
    )


def test_what_interrupts_a_run_changes_nothing(tmp_path: Path) -> None:
    """SIGINT three times, SIGKILL of the process, SIGKILL of the engine, and a full disk.

    A killed engine is started again, and the run goes on to its end.
    """
    reasons: Reasons = write_large(tmp_path / "corpus")
    whole = runs_into(tmp_path / "corpus", tmp_path / "whole")
    check_errors(whole, interrupted.finish(whole), reasons)
    rows = rows_of_files(tmp_path / "whole" / "out")
    assert set(rows) == reasons.expected.good
    runs = runs_into(tmp_path / "corpus", tmp_path / "parts")
    interrupted.stop(runs, PART)
    interrupted.kill(runs, PART)
    interrupted.stop(runs, PART)
    interrupted.fill_disk(runs, PART)
    interrupted.stop(runs, PART)
    code, told = kill_engine(runs, PART)
    assert code == 0, told
    assert "starting it again and repeating the lost requests" in told, told
    assert runs.costs[-1] == 0
    summary = interrupted.finish(runs)
    check_errors(runs, summary, reasons)
    check_equal(rows_of_files(tmp_path / "parts" / "out"), rows, atol=NEAR)
    assert not list((tmp_path / "parts").rglob("*.tmp"))
