"""The process that imports torch and vLLM: stages that work, fail, crash and hang, in stand-ins of both."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support import installed
from vllm_jina_embed.doctor.probing import Probe, ended, probe

STAGES = ["torch", "torchaudio", "vllm", "plugin", "runner"]


def probed(monkeypatch: pytest.MonkeyPatch, folder: Path, seconds: float = 120) -> Probe:
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    return probe(STAGES, seconds=seconds)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    installed.torch(tmp_path, "2.13.0+cpu")
    installed.vllm(tmp_path, "0.32.0")
    installed.write(tmp_path, {"torchaudio.py": "__version__ = '2.13.0'\nprint('noise')\n"})
    return tmp_path


def test_all_stages(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What the libraries print themselves is not taken for an answer."""
    found = probed(monkeypatch, folder)
    assert found.of("torch") == {"version": "2.13.0+cpu", "cuda": None, "hip": None, "gpus": [], "warnings": []}
    assert found.of("torchaudio") == {"version": "2.13.0"}
    assert found.of("vllm") == {"version": "0.32.0", "platform": "cpu"}
    assert found.of("plugin") == {"is_loaded": True}
    assert found.of("runner") == {"is_v2": False}
    assert found.broken == ""


def test_a_stage_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "torchaudio.py").write_text("raise OSError('libtorch_cuda.so: cannot open shared object file')")
    found = probed(monkeypatch, folder)
    assert found.error("torchaudio") == "OSError: libtorch_cuda.so: cannot open shared object file"
    assert found.of("runner") == {"is_v2": False}


def test_a_stage_that_crashes_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "vllm" / "__init__.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    found = probed(monkeypatch, folder)
    assert (found.broken, found.error("vllm")) == ("vllm", "the process was ended by SIGILL")
    assert found.of("torch")["version"] == "2.13.0+cpu"


def test_a_stage_that_hangs_is_ended(tmp_path: Path) -> None:
    program = 'import json, time; print(json.dumps({"stage": "torch"}), flush=True); time.sleep(600)'
    found = probe(["torch", "vllm"], command=[sys.executable, "-c", program], seconds=1)
    assert found.broken in {"torch", "vllm"}  # the first, where Python itself started too slowly
    assert found.error(found.broken) == "the process did not end within 1 s"


def test_nothing_runs_where_nothing_is_installed() -> None:
    assert probe([], command=["/nowhere"]) == Probe()


@pytest.mark.parametrize(
    ("code", "said"),
    [(3, "ended with exit code 3"), (-9, "was ended by SIGKILL"), (-250, "was ended by signal 250")],
)
def test_how_a_process_ended(code: int, said: str) -> None:
    assert ended(code) == said
