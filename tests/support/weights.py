"""One check of any checkpoint against transformers: every task, every Matryoshka size, and multi-vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.support.images import noise
from tests.support.native import NativeReference
from tests.support.reference import Reference, distance
from tests.support.xlm_roberta import XlmReference
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.checkpoints.description import Checkpoint

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


def check_weights(folder: Path, dtype: str) -> None:
    """Compare vLLM with transformers, which loads the same files afterwards, and print each figure."""
    with JinaEmbedder(folder, engine_kwargs={"dtype": dtype}) as embedder:
        facts = embedder.checkpoint
        items = [item for item in ITEMS if facts.supports_images or isinstance(item, str)]
        singles = {
            (task, size): embedder.embed(items, task=task, dimensions=size, prompt_name="query")
            for task in facts.tasks
            for size in facts.matryoshka_sizes
        }
        multis = {task: embedder.embed_multi_vector(items, task=task, prompt_name="query") for task in facts.tasks}
    found: dict[str, float] = {}
    prefix = facts.family.prefixes["query"]
    prompts = [prefix + item if isinstance(item, str) else item for item in items]
    for task in facts.tasks:
        reference = _reference(folder, facts, task)
        for size in facts.matryoshka_sizes:
            expected = np.stack([reference.embed(prompt, size) for prompt in prompts])
            found[f"{task}, {size} numbers"] = distance(singles[task, size], expected)
        found[f"{task}, multi-vectors"] = max(
            _mean_distance(rows, reference.multi_vector(prompt))
            for rows, prompt in zip(multis[task], prompts, strict=True)
        )
    for name, worst in found.items():
        print(f"{name:>32}  1 - cosine at most {worst:.1e}")
    assert all(value <= GATES[dtype] for value in found.values()), found


def _reference(folder: Path, facts: Checkpoint, task: str) -> Reference | XlmReference:
    if not facts.supports_images:
        return XlmReference(folder)
    return NativeReference(folder, task) if facts.has_adapters else Reference(folder)


def _mean_distance(rows: np.ndarray, expected: np.ndarray) -> float:
    assert rows.shape == expected.shape
    return float(np.mean([distance(one, other) for one, other in zip(rows, expected, strict=True)]))
