"""One check of any checkpoint against transformers: every task, every Matryoshka size, and multi-vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tests.support.bert import BertReference
from tests.support.decoders import DecoderReference
from tests.support.encoders import EncoderReference
from tests.support.images import noise
from tests.support.instructed import e5_mistral_reference, gte_qwen2_reference, qwen2_embed_base_reference
from tests.support.jina_v3 import JinaV3Reference
from tests.support.jina_v5 import JinaV5Reference
from tests.support.native import NativeReference
from tests.support.nomic import NomicReference
from tests.support.qwen3 import Qwen3Reference
from tests.support.reference import Reference, device, distance
from tests.support.xlm_roberta import XlmReference
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed._arrays import Floats
from vllm_jina_embed.checkpoints.checkpoint import Checkpoint

GATES = {"float32": 1e-5, "bfloat16": 1e-2}
"""Largest 1 - cosine: of vectors, of the mean over a multi-vector's rows and of the worst of them. Deep models round
more than tiny ones."""
WORST_ROW = "worst row"
AnyReference: TypeAlias = Reference | EncoderReference | DecoderReference


def _gte(folder: Path) -> AnyReference:
    """Return GTE's reference; its transformers is newer than the one that vLLM 0.31 comes with (5.17)."""
    from tests.support.gte import GteReference

    return GteReference(folder)


OF_TEXTS: dict[str, Callable[[Path, str], AnyReference]] = {
    "qwen3-embedding": lambda folder, task: Qwen3Reference(folder),
    "gte-qwen2": lambda folder, task: gte_qwen2_reference(folder),
    "e5-mistral": lambda folder, task: e5_mistral_reference(folder),
    "qwen2-embed-base": lambda folder, task: qwen2_embed_base_reference(folder),
    "xlm-roberta": lambda folder, task: XlmReference(folder),
    "multilingual-e5": lambda folder, task: XlmReference(folder, pooling="mean"),
    "multilingual-e5-small": lambda folder, task: BertReference(folder, pooling="mean"),
    "multilingual-e5-instruct": lambda folder, task: XlmReference(folder, pooling="mean"),
    "snowflake-arctic-embed": lambda folder, task: BertReference(folder),
    "snowflake-arctic-embed-l-v2.0": lambda folder, task: XlmReference(folder),
    "snowflake-arctic-embed-m-v2.0": lambda folder, task: _gte(folder),
    "gte-multilingual": lambda folder, task: _gte(folder),
    "nomic-embed-text-v1.5": lambda folder, task: NomicReference(folder),
    "jina-v5-small": lambda folder, task: JinaV5Reference(folder, task),
    "jina-v5-nano": lambda folder, task: JinaV5Reference(folder, task),
    "jina-v3": lambda folder, task: JinaV3Reference(folder, "retrieval.query" if task == "retrieval" else task),
}
"""By the row, the reference of a query in a task."""

ITEMS: list[Any] = [
    "Ein wunderschöner Sonnenuntergang am Strand",
    noise(448, 336, 1),
    "浜辺に沈む美しい夕日",
    noise(1000, 800, 2),
    "def add(a, b):\n    return a + b",
    "the quick brown fox " * 50,
    noise(40, 60, 3),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What this package gives for some items, and the whole prompts that a reference gets."""

    facts: Checkpoint
    prompts: dict[str, list[Any]]
    singles: dict[tuple[str, int], Floats]
    multis: dict[str, list[Floats]]


def check_weights(folder: Path, dtype: str, options: Mapping[str, Any] | None = None) -> None:
    """Compare vLLM with transformers, which loads the same files afterwards, and print each figure."""
    ours = compute(folder, dtype, options=options)
    found: dict[str, float] = {}
    for task in ours.facts.tasks:
        found |= distances(ours, task, _reference(folder, ours.facts, task))
    report(found)
    assert all(value <= GATES[dtype] for value in found.values()), found


def compute(
    folder: Path,
    dtype: str,
    *,
    items: Sequence[Any] = ITEMS,
    cut: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Vectors:
    """Return the vectors of every task, of every Matryoshka size, and the multi-vectors.

    Args:
        folder: The checkpoint.
        dtype: That of the engine.
        items: Texts and images; a checkpoint of texts gets the texts alone.
        cut: Of how many items the sizes below the full one are computed; None for all of them.
        options: Further arguments of the engine.
    """
    with JinaEmbedder(folder, engine_kwargs={"dtype": dtype, **(options or {})}) as embedder:
        facts = embedder.checkpoint
        taken = [item for item in items if facts.supports_images or isinstance(item, str)]
        prefixes = {
            task: "".join(one for one in facts.row.template("text", "query", task) if isinstance(one, str))
            for task in facts.tasks
        }
        return Vectors(
            facts=facts,
            prompts={
                task: [prefix + item if isinstance(item, str) else item for item in taken]
                for task, prefix in prefixes.items()
            },
            singles={
                (task, size): embedder.embed(
                    taken if size == facts.hidden_size else taken[:cut], task=task, dimensions=size, prompt_name="query"
                )
                for task in facts.tasks
                for size in facts.matryoshka_sizes
            },
            multis={task: embedder.embed_multi_vector(taken, task=task, prompt_name="query") for task in facts.tasks},
        )


def distances(ours: Vectors, task: str, reference: AnyReference) -> dict[str, float]:
    """Return the largest 1 - cosine of each kind of vector to the reference's."""
    both = [(reference.embed(prompt), reference.multi_vector(prompt)) for prompt in ours.prompts[task]]
    full = np.stack([vector for vector, _ in both])
    found = {
        f"{task}, {size} numbers": distance(rows := ours.singles[task, size], full[: len(rows), :size])
        for size in ours.facts.matryoshka_sizes
    }
    by_row = [_row_distances(got, rows) for got, (_, rows) in zip(ours.multis[task], both, strict=True)]
    found[f"{task}, multi-vectors"] = max(float(each.mean()) for each in by_row)
    found[f"{task}, {WORST_ROW}"] = max(float(each.max()) for each in by_row)
    return found


def report(found: dict[str, float]) -> None:
    """Print a line per figure."""
    for name, worst in found.items():
        print(f"{name:>32}  1 - cosine at most {worst:.1e}")


def _reference(folder: Path, facts: Checkpoint, task: str) -> AnyReference:
    if not facts.supports_images:
        return OF_TEXTS[facts.row.name](folder, task)
    place = device()
    return NativeReference(folder, task, device=place) if facts.has_adapters else Reference(folder, device=place)


def _row_distances(rows: np.ndarray, expected: np.ndarray) -> np.ndarray:
    assert rows.shape == expected.shape
    return np.array([distance(one, other) for one, other in zip(rows, expected, strict=True)])
