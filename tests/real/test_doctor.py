"""``doctor`` on the real vLLM: the engine it starts, the vectors it compares, and wrong ones that it sees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.known_vectors import computed
from tests.support.reference import distance
from tests.support.servers import RealServer, served
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


KEY = "open-sesame-01"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with served("demo", tmp_path_factory.mktemp("server") / "log", "--api-key", KEY) as server:
        yield server


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--api-key", KEY], "ok", "serves demo in float32; 1 - cosine to transformers' vectors is "),
        (["--api-key", KEY, "--model", "demo"], "ok", "serves demo in float32"),
        (["--api-key", KEY, "--model", "BAAI/bge-m3"], "problem", "expected BAAI/bge-m3"),
        (["--api-key", "another-key"], "problem", "refuses the API key"),
    ],
)
def test_the_command_asks_a_server(server: RealServer, arguments: list[str], status: str, said: str) -> None:
    """And shows neither key."""
    command = [sys.executable, "-m", "vllm_jina_embed.cli", "doctor", "--json", "--quick", "--server", server.url]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=1100)
    findings: dict[str, Any] = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["server"]["status"] == status, findings["server"]
    assert said in findings["server"]["summary"]
    assert arguments[1] not in done.stdout
    if status == "ok":
        assert max(findings["server"]["details"]["distances"]) < 1e-5
