"""The self-check on the demo checkpoint: what its process may say, and how it may end. tests/real runs the engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import installed
from vllm_jina_embed.doctor.engine import check_engine
from vllm_jina_embed.doctor.finding import Finding, Surroundings
from vllm_jina_embed.doctor.installed import Site
from vllm_jina_embed.doctor.known import known_vectors
from vllm_jina_embed.doctor.probing import Probe


def found(folder: Path, program: str, *, seconds: float = 60, **answers: Any) -> Finding:
    """Return the finding of a process that runs ``program`` in place of the check."""
    installed.vllm(folder, "0.32.0")
    place = Surroundings(site=Site([str(folder)]), probe=Probe(answers=answers), environment={})
    return check_engine(place, command=[sys.executable, "-c", program], seconds=seconds)


def says(answer: dict[str, Any]) -> str:
    return f"print({json.dumps(answer)!r})"


def test_right_vectors(tmp_path: Path) -> None:
    finding = found(tmp_path, says({"seconds": 21.4, "distances": [1e-7, 2e-7, -1e-9]}))
    assert finding.status == "ok"
    assert "started in 21 s" in finding.summary
    assert "2e-07" in finding.summary


@pytest.mark.parametrize("distances", [[1e-7, 0.02, 1e-7], [float("nan"), 0, 0], [0, float("nan"), 0], []])
def test_wrong_vectors(tmp_path: Path, distances: list[float]) -> None:
    finding = found(tmp_path, says({"seconds": 21.4, "distances": distances}))
    assert finding.status == "problem"
    assert "its vectors are wrong" in finding.summary


def test_an_engine_that_does_not_start(tmp_path: Path) -> None:
    program = f"import sys; print('the reason', file=sys.stderr); {says({'error': 'EngineError: it failed'})}"
    finding = found(tmp_path, program)
    assert finding.status == "problem"
    assert finding.summary == "EngineError: it failed\n  | the reason"


@pytest.mark.parametrize(
    ("name", "mend"),
    [("SIGILL", "lacks an instruction"), ("SIGKILL", "memory ran out"), ("SIGBUS", "Shared memory"), ("SIGTERM", "")],
)
def test_a_process_that_is_ended(tmp_path: Path, name: str, mend: str) -> None:
    finding = found(tmp_path, f"import os, signal; os.kill(os.getpid(), signal.{name})")
    assert finding.status == "problem"
    assert f"was ended by {name}" in finding.summary
    assert mend in finding.mend


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    finding = found(tmp_path, "import time; time.sleep(600)", seconds=0.5)
    assert (finding.status, "did not start within" in finding.summary) == ("problem", True)


def test_nothing_starts_without_vllm_or_with_a_broken_one(tmp_path: Path) -> None:
    place = Surroundings(site=Site([str(tmp_path)]), probe=Probe(), environment={})
    assert check_engine(place, command=["/nowhere"]).status == "absent"
    assert found(tmp_path, "1 / 0", vllm={"error": "ImportError: x"}).status == "absent"


def test_a_gpu_that_others_use_is_shared(tmp_path: Path) -> None:
    """The engine gets no more than what is free."""
    installed.vllm(tmp_path, "0.32.0", name="vllm")
    gpu = {"name": "a", "capability": "9.0", "free": 40, "total": 100}
    place = Surroundings(site=Site([str(tmp_path)]), probe=Probe(answers={"torch": {"gpus": [gpu]}}), environment={})
    program = "import json, sys; print(json.dumps({'error': sys.argv[2]}))"
    assert check_engine(place, command=[sys.executable, "-c", program]).summary == "0.360"


def test_the_known_vectors_have_length_one() -> None:
    vectors = known_vectors()
    assert vectors.shape == (3, 128)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
