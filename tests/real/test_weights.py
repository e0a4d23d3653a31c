"""Checkpoints of jina-embeddings-v4 and of bge-m3's kind against transformers: generated, or real ones by an option.

    python -m pytest tests/real/test_weights.py -s --checkpoint jinaai/jina-embeddings-v4
    python -m pytest tests/real/test_weights.py -s --checkpoint BAAI/bge-m3

vLLM ends before transformers loads the same files in float32 on the CPU, one task after the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.native import NativeReference, make_native
from tests.support.pictures import noise
from tests.support.reference import Reference, distance
from tests.support.xlm_roberta import XlmReference, make_xlm_roberta
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints import JINA_V4, Checkpoint

pytestmark = pytest.mark.real

GATES = {"float32": 1e-5, "bfloat16": 1e-2}
"""Largest 1 - cosine: of vectors, and of the mean over a multi-vector's rows. Deep models round more than tiny ones."""

ITEMS: list[Any] = [
    "Ein wunderschöner Sonnenuntergang am Strand",
    noise(448, 336, 1),
    "浜辺に沈む美しい夕日",
    noise(1000, 800, 2),
    "def add(a, b):\n    return a + b",
    "the quick brown fox " * 50,
    noise(40, 60, 3),
]


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's files on this machine."""
    name = request.config.getoption("--checkpoint")
    if name is None:
        return make_native(tmp_path_factory.mktemp("weights") / "native")
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, ignore_patterns=["*.py", "*.gguf", "*.png", "onnx/*"]))


@pytest.mark.timeout(7200)
def test_every_task_and_kind_of_vector_equals_transformers(
    folder: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts and pictures, every Matryoshka size, multi-vectors; each figure is printed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _check(folder, request.config.getoption("--checkpoint-dtype"))


def test_a_text_model_equals_transformers(tmp_path: Path) -> None:
    """A generated one in bge-m3's layout, by the same check; real weights go by the option."""
    _check(make_xlm_roberta(tmp_path / "text", positions=8194), "float32")


def _check(folder: Path, dtype: str) -> None:
    with JinaEmbedder(folder, engine_kwargs={"dtype": dtype}) as embedder:
        facts = embedder.checkpoint
        items = [item for item in ITEMS if facts.sees_pictures or isinstance(item, str)]
        singles = {
            (task, size): embedder.embed(items, task=task, dimensions=size, prompt_name="query")
            for task in facts.tasks
            for size in facts.dimensions
        }
        multis = {task: embedder.embed_multi_vector(items, task=task, prompt_name="query") for task in facts.tasks}
    found: dict[str, float] = {}
    prefix = "Query: " if facts.family == JINA_V4 else ""
    prompts = [prefix + item if isinstance(item, str) else item for item in items]
    for task in facts.tasks:
        reference = _reference(folder, facts, task)
        for size in facts.dimensions:
            expected = np.stack([reference.embed(prompt, size) for prompt in prompts])
            found[f"{task}, {size} numbers"] = distance(singles[task, size], expected)
        found[f"{task}, multi-vectors"] = max(
            _mean_distance(rows, reference.multi_vector(prompt))
            for rows, prompt in zip(multis[task], prompts, strict=True)
        )
    for name, worst in found.items():
        print(f"{name:>32}  1 - cosine at most {worst:.1e}")
    assert max(found.values()) <= GATES[dtype], found


def _reference(folder: Path, facts: Checkpoint, task: str) -> Reference | XlmReference:
    if facts.family != JINA_V4:
        return XlmReference(folder)
    return NativeReference(folder, task) if facts.has_adapters else Reference(folder)


def _mean_distance(rows: np.ndarray, expected: np.ndarray) -> float:
    assert rows.shape == expected.shape
    return float(np.mean([distance(one, other) for one, other in zip(rows, expected, strict=True)]))
