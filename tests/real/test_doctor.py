"""``doctor`` on the real vLLM: the engine it starts, the vectors it compares, and wrong ones that it sees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.known_vectors import computed
from tests.support.reference import distance
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.doctor import known

pytestmark = [pytest.mark.real, pytest.mark.wide, pytest.mark.timeout(1200)]


def test_the_known_vectors_are_those_of_transformers() -> None:
    """Who trains the demo checkpoint again writes them again: ``python -m scripts.known_vectors``."""
    assert distance(known.known_vectors(), computed()) < 1e-6


def test_the_engine_gives_the_known_vectors(demo_embedder: JinaEmbedder) -> None:
    assert max(known.distances(demo_embedder)) < 1e-5


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_wrong_vector_is_seen(
    demo_embedder: JinaEmbedder, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turned by 0.1: as far as another prompt would put it."""
    vectors = known.known_vectors()
    vectors[number] += 0.1 * np.roll(vectors[number], 1)
    (tmp_path / "known.json").write_text(json.dumps({"vectors": vectors.tolist()}))
    monkeypatch.setattr(known, "FILE", tmp_path / "known.json")
    assert [place for place, far in enumerate(known.distances(demo_embedder)) if not far <= 1e-3] == [number]


def test_the_command_starts_an_engine_and_finds_nothing_wrong_with_it() -> None:
    command = [sys.executable, "-m", "vllm_jina_embed.cli", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1100)
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    for check in ("python", "package", "vllm", "torch", "device", "plugin", "runner", "engine"):
        assert findings[check]["status"] == "ok", findings[check]
    assert max(findings["engine"]["details"]["distances"]) < 1e-5
    assert findings["plugin"]["summary"] == "vLLM loads it."
    assert "Model Runner V1" in findings["runner"]["summary"]
    assert done.stderr == ""
