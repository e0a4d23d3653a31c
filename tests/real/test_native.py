"""jina-embeddings-v4 in its own layout: three tasks and both kinds of vector from one engine, against transformers.

The reference adds each adapter to the weights by itself; planted mistakes must be far outside the gate.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langchain_core.embeddings import Embeddings
from PIL import Image

from tests.real.test_faithful import FLOAT32_GATE
from tests.support.cells import Cells
from tests.support.checkpoints import Size
from tests.support.images import noise
from tests.support.native import TASKS, TOKEN_DIMENSIONS, NativeReference, make_native
from tests.support.reference import distance
from tests.support.weights import check_weights
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import JinaEmbedder, MaxSimReranker
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.engine.pool import running_engines
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.late_interaction import LateInteractionIndex
from vllm_jina_embed.llama_index import VllmJinaEmbedding

pytestmark = [pytest.mark.real, pytest.mark.wide]

Multi = dict[str, list[np.ndarray]]

ITEMS: list[Any] = [
    "a",
    noise(84, 84, 1),
    "Ein wunderschöner Sonnenuntergang am Strand",
    noise(300, 200, 2),
    "def add(a, b):\n    return a + b  # 🙂",
    [noise(56, 90, 3), noise(120, 60, 4)],
    "the quick brown fox " * 40,
    noise(1, 1, 5),
]


def prompts(task: str, role: str = "passage") -> list[Any]:
    """Return what the reference gets for ``ITEMS``."""
    prefix = "Query: " if role == "query" or task == "text-matching" else "Passage: "
    return [prefix + item if isinstance(item, str) else item for item in ITEMS]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the split adapters out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in float32."""
    return make_native(tmp_path_factory.mktemp("native") / "float32")


@pytest.fixture(scope="module")
def references(checkpoint: Path) -> dict[str, NativeReference]:
    """Each task in transformers."""
    return {task: NativeReference(checkpoint, task) for task in TASKS}


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(checkpoint, engine_kwargs={"dtype": "float32"}) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights and adapters in bfloat16, as they are published."""
    return make_native(tmp_path_factory.mktemp("native") / "bfloat16", replace(Size(), dtype="bfloat16"), seed=1)


@pytest.fixture(scope="module")
def halves_references(halves: Path) -> dict[str, NativeReference]:
    """Each task in transformers, computed in float32 from the bfloat16 numbers."""
    return {task: NativeReference(halves, task) for task in TASKS}


def expected_multi(references: dict[str, NativeReference]) -> Multi:
    return {task: [references[task].multi_vector(item) for item in prompts(task)] for task in TASKS}


def worst(got: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest 1 - cosine over all rows of all items, after their shapes."""
    assert [rows.shape for rows in got] == [rows.shape for rows in expected]
    return float(np.max([distance(one, other) for one, other in zip(got, expected, strict=True)]))


async def test_every_task_and_both_kinds_of_vector_in_one_batch(
    embedder: JinaEmbedder, references: dict[str, NativeReference], cells: Cells
) -> None:
    """All tasks, roles, Matryoshka sizes and multi-vectors of texts and images at the same time on one engine."""
    sizes = embedder.checkpoint.matryoshka_sizes
    assert len(sizes) == 3
    singles = {
        (task, role, size): embedder.aembed(ITEMS, prompt_name=role, task=task, dimensions=size)
        for task in TASKS
        for role in ("query", "passage")
        for size in sizes
    }
    multis = {task: embedder.aembed_multi_vector(ITEMS, task=task) for task in TASKS}
    answers = await asyncio.gather(*singles.values(), *multis.values())
    gaps = []
    for (task, role, size), got in zip(singles, answers, strict=False):
        expected = np.stack([references[task].embed(item, size) for item in prompts(task, role)])
        assert got.shape == (len(ITEMS), size)
        gaps.append(cells.measure(JINA_V4, "dense", ITEMS, got, expected))
    rows = expected_multi(references)
    for task, got in zip(multis, answers[len(singles) :], strict=True):
        gaps.append(cells.measure(JINA_V4, "multi", ITEMS, got, rows[task]))
        for one in got:
            assert one.shape[1] == TOKEN_DIMENSIONS == embedder.checkpoint.token_dimensions
            np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6)
    assert all(gap <= FLOAT32_GATE for gap in gaps), gaps


def test_one_engine_serves_every_task_in_both_frameworks(
    checkpoint: Path, embedder: JinaEmbedder, references: dict[str, NativeReference]
) -> None:
    """Adapters of three tasks join the engine that runs."""
    embedder.embed(["start"])
    before = running_engines()
    options = {"engine_kwargs": {"dtype": "float32"}}
    lang: list[Embeddings] = [VllmJinaEmbeddings(model=checkpoint, task=task, **options) for task in TASKS]
    llama = [VllmJinaEmbedding(model_name=checkpoint, task=task, **options) for task in TASKS]
    for task, one, other in zip(TASKS, lang, llama, strict=True):
        expected = references[task].embed("Query: a question")
        assert distance(np.array(one.embed_query("a question")), expected) <= FLOAT32_GATE
        assert distance(np.array(other.get_query_embedding("a question")), expected) <= FLOAT32_GATE
    assert running_engines() == before
    for adapter in (*lang, *llama):
        adapter.close()  # type: ignore[union-attr]


def test_bfloat16_files_in_small_steps(halves: Path, halves_references: dict[str, NativeReference]) -> None:
    """Every prompt in chunks of at most 64 tokens; the adapters' bytes are the published type's."""
    options = {"dtype": "float32", "max_num_batched_tokens": 64, "max_model_len": 1024}
    found: dict[str, float] = {}
    expected = expected_multi(halves_references)
    with JinaEmbedder(halves, engine_kwargs=options) as embedder:
        for task in TASKS:
            singles = np.stack([halves_references[task].embed(item) for item in prompts(task)])
            found[f"{task}, single"] = distance(embedder.embed(ITEMS, task=task), singles)
            found[f"{task}, multi"] = worst(embedder.embed_multi_vector(ITEMS, task=task), expected[task])
    print(found)
    assert max(found.values()) <= FLOAT32_GATE, found


@pytest.mark.wide
def test_bfloat16_is_close_to_the_float32_reference(
    halves: Path, halves_references: dict[str, NativeReference]
) -> None:
    """The type in which the real checkpoint runs."""
    expected = expected_multi(halves_references)
    found: dict[str, float] = {}
    with JinaEmbedder(halves, engine_kwargs={"dtype": "bfloat16"}) as embedder:
        for task in TASKS:
            singles = np.stack([halves_references[task].embed(item) for item in prompts(task)])
            found[f"{task}, single"] = distance(embedder.embed(ITEMS, task=task), singles)
            found[f"{task}, multi"] = worst(embedder.embed_multi_vector(ITEMS, task=task), expected[task])
    print(found)
    assert max(found.values()) <= 1e-3, found


def test_the_check_of_real_weights_passes(embedder: JinaEmbedder, checkpoint: Path) -> None:
    """The one that docs/accuracy.md names, on this checkpoint and its engine."""
    check_weights(checkpoint, "float32")


def test_a_killed_engine_comes_back_with_its_adapters(
    embedder: JinaEmbedder, references: dict[str, NativeReference]
) -> None:
    """The next call starts it again, and each task's vectors are right."""
    embedder.embed(["start"])
    engine: Any = embedder.backend.engine  # other tests' engines run in this process as well
    (process,) = engine._llm.engine_core.resources.engine_manager.processes
    os.kill(process.pid, signal.SIGKILL)
    for task in TASKS:
        got = embedder.embed_multi_vector(["after"], task=task, prompt_name="query")
        assert worst(got, [references[task].multi_vector("Query: after")]) <= FLOAT32_GATE


def test_incomplete_adapters_start_nothing(tmp_path: Path) -> None:
    """The error names the task and what it lacks."""
    from safetensors.torch import load_file, save_file

    folder = make_native(tmp_path / "broken")
    file = folder / "adapters/adapter_model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if "layers.1.mlp.up_proj.lora_A.code" not in name}
    save_file(kept, file)
    before = running_engines()
    with JinaEmbedder(folder) as embedder, pytest.raises(ConfigError, match=r"'code' lacks 1 .* 1\.mlp\.up_proj"):
        embedder.embed(["a"])
    assert running_engines() == before


class TestPlantedMistakes:
    """Each mistake, made on the reference's side, must be far outside the gate; else the gate proves nothing."""

    IMAGE = noise(200, 140, 6)

    def test_the_adapter_of_another_task(
        self, embedder: JinaEmbedder, references: dict[str, NativeReference], cells: Cells
    ) -> None:
        """In either kind of vector."""
        others = {f"the adapter of {task}": references[task] for task in ("text-matching", "code")}
        self._are_far(embedder, others, cells)

    def test_alpha_over_rank_forgotten(self, embedder: JinaEmbedder, checkpoint: Path, cells: Cells) -> None:
        """Or the adapters left out."""
        scales = {"no adapter": 0.0, "no alpha / r": 1.0}
        others = {name: NativeReference(checkpoint, "retrieval", scale=scale) for name, scale in scales.items()}
        self._are_far(embedder, others, cells)

    def test_other_projections(
        self, embedder: JinaEmbedder, references: dict[str, NativeReference], cells: Cells
    ) -> None:
        """The last task's projector, as a loader gives that takes any name with ``lora_A`` in it; no bias, and others.

        The published bias is probably zero, which would hide it.
        """
        weight, bias = references["retrieval"].projector
        last, last_bias = references["code"].projector
        for item in ("Query: some text", self.IMAGE):
            with torch.inference_mode():
                _, states = references["retrieval"].token_states(item)
                mistakes = {
                    "the projector of the last task": states @ last.T + last_bias,
                    "no bias": states @ weight.T,
                    "states normalised before they are projected": torch.nn.functional.normalize(states, dim=-1)
                    @ weight.T
                    + bias,
                }
            _, multi = self._ours(embedder, item)
            gaps = {name: distance(multi, wrong.numpy()) for name, wrong in mistakes.items()}
            assert cells.planted(JINA_V4, gaps) > 1000 * FLOAT32_GATE, gaps

    def test_only_the_vision_span(self, embedder: JinaEmbedder, references: dict[str, NativeReference]) -> None:
        """An image's multi-vector has rows for the words around it."""
        reference = references["retrieval"]
        ids, _ = reference.token_states(self.IMAGE)
        _, multi = self._ours(embedder, self.IMAGE)
        span = int((ids == reference.end).nonzero()) - int((ids == reference.start).nonzero()) + 1
        assert len(multi) == len(ids) > span

    def _ours(self, embedder: JinaEmbedder, item: str | Image.Image) -> tuple[np.ndarray, np.ndarray]:
        shown = item.removeprefix("Query: ") if isinstance(item, str) else item
        single = embedder.embed([shown], prompt_name="query")
        return single, embedder.embed_multi_vector([shown], prompt_name="query")[0]

    def _are_far(self, embedder: JinaEmbedder, others: dict[str, NativeReference], cells: Cells) -> None:
        for item in ("Query: some text", self.IMAGE):
            single, multi = self._ours(embedder, item)
            gaps = {name: distance(single, other.embed(item)) for name, other in others.items()}
            gaps |= {f"{name}, rows": distance(multi, other.multi_vector(item)) for name, other in others.items()}
            assert cells.planted(JINA_V4, gaps) > 1000 * FLOAT32_GATE, gaps


@pytest.mark.parametrize("task", TASKS)
def test_an_index_ranks_by_the_projectors_rows(
    embedder: JinaEmbedder, references: dict[str, NativeReference], task: str
) -> None:
    """In Qdrant, for each task, by text and by image: MaxSim over the reference's multi-vectors, by two loops."""
    told = [references[task].multi_vector(item) for item in prompts(task)]
    with LateInteractionIndex(embedder, task=task) as index:
        ids = index.add(ITEMS)
        for query, prompt in (("ein Strand", "Query: ein Strand"), (noise(90, 70, 9), noise(90, 70, 9))):
            (scores,) = by_definition([references[task].multi_vector(prompt)], told)
            hits = index.search(query, len(ITEMS))
            assert {hit.id: hit.score for hit in hits} == pytest.approx(dict(zip(ids, scores, strict=True)), abs=1e-3)
            assert embedder.score([query], ITEMS, multi_vector=True, task=task)[0] == pytest.approx(scores, abs=1e-3)
            second = MaxSimReranker(embedder, task=task).rerank(query, ITEMS)
            assert [hit.position for hit in second] == list(np.argsort(-scores, kind="stable"))
            assert [hit.score for hit in second] == pytest.approx(sorted(scores, reverse=True), abs=1e-3)
