"""jina-embeddings-v3: every task by its own adapter, from one engine; against transformers with that adapter merged."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE
from tests.support import encoder_checks as checks
from tests.support.bare_vllm import bare_vectors
from tests.support.builders import builder_of
from tests.support.cells import Cells
from tests.support.encoder_checks import FAR, TEXTS, Case
from tests.support.encoders import unit
from tests.support.jina_v3 import ADAPTERS, POSITIONS, PROMPTS, SIZES, JinaV3Reference, make_jina_v3
from tests.support.reference import distance
from tests.support.unigram import segment
from tests.support.weights import check_weights
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.rotary import JINA_V3
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.prompts.base import Prompt

pytestmark = [pytest.mark.real, pytest.mark.models]

TASKS = {
    "retrieval": {"query": "retrieval.query", "passage": "retrieval.passage"},
    "text-matching": {"query": "text-matching", "passage": "text-matching"},
    "separation": {"query": "separation", "passage": "separation"},
    "classification": {"query": "classification", "passage": "classification"},
}
"""By the task, the adapter of each role."""
START, END = Special("<s>"), Special("</s>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_jina_v3(tmp_path_factory.mktemp("v3") / "checkpoint")


@pytest.fixture(scope="module")
def references(folder: Path) -> dict[str | None, JinaV3Reference]:
    """By the adapter that is merged, and without any."""
    return {adapter: JinaV3Reference(folder, adapter) for adapter in (*ADAPTERS, None)}


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Iterator[JinaEmbedder]:
    """One engine in float32 for all tasks."""
    with JinaEmbedder(folder, **checks.FLOAT32) as embedder:  # type: ignore[arg-type]
        assert embedder.checkpoint.row == JINA_V3
        yield embedder


@pytest.fixture(params=TASKS)
def case(request: pytest.FixtureRequest, folder: Path, references: dict[str | None, JinaV3Reference]) -> Case:
    """One task."""
    own = TASKS[request.param]
    plain = references[None].plain
    return Case(
        row=JINA_V3,
        folder=folder,
        reference=references[own["query"]],
        by_role={role: references[adapter] for role, adapter in own.items()},
        prefixes={role: PROMPTS[adapter] for role, adapter in own.items()},
        task=request.param,
        longest=POSITIONS,
        plain=lambda text: segment(plain, unicodedata.normalize("NFKC", text)),
        ends=(0, 2),
        hostile=["<s> hi </s>", "a<mask>b <pad>", "</s></s>", "<unk>"],
        sizes=tuple(SIZES),
    )


class TestEncoder(checks.EncoderTests):
    """Every output, hostile and long texts, and what is refused."""


async def test_prompts_of_all_adapters_in_one_step(
    embedder: JinaEmbedder, references: dict[str | None, JinaV3Reference]
) -> None:
    """Each gets its own, whatever stands beside it."""
    calls = [(task, role, adapter) for task, own in TASKS.items() for role, adapter in own.items()] * 3
    jobs: list[Any] = [embedder.aembed(TEXTS, prompt_name=role, task=task) for task, role, _ in calls]  # type: ignore[arg-type]
    for got, (_, _, adapter) in zip(await asyncio.gather(*jobs), calls, strict=True):
        expected = np.stack([references[adapter].embed(PROMPTS[adapter] + text) for text in TEXTS])
        assert distance(got, expected) <= FLOAT32_GATE


def test_planted_mistakes_are_far_outside(
    case: Case, embedder: JinaEmbedder, references: dict[str | None, JinaV3Reference], cells: Cells
) -> None:
    """Every other adapter, none at all, other poolings, another prompt."""

    def mistakes(role: str, text: str) -> dict[str, np.ndarray]:
        ids, own = case.ids(role, text), TASKS[str(case.task)][role]
        others = {str(adapter): references[adapter].states(ids).mean(0) for adapter in references if adapter != own}
        return {
            **others,
            "first token": case.states(role, ids)[0],
            "another prompt": case.states(role, references[None].ids(f"query: {text}")).mean(0),
        }

    checks.check_mistakes(case, embedder, mistakes, cells)

    def no_end(role: str, text: str) -> dict[str, np.ndarray]:
        return {"no end": case.states(role, case.ids(role, text)[:-1]).mean(0)}

    checks.check_mistakes(case, embedder, no_end, cells, far=checks.ONE_TOKEN)


def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder) -> None:
    template: Any = (START, "query: ", Slot.TEXT, END)
    checks.check_planted_prompt(case, embedder, template)


def test_a_row_with_adapters_exchanged_gives_other_vectors(case: Case, embedder: JinaEmbedder) -> None:
    """What the tests above compare would find it."""
    places = {key: (place + 1) % len(ADAPTERS) for key, place in JINA_V3.adapters.items()}
    row = replace(JINA_V3, name="planted", adapters=places)
    (prompt,) = _built(row, case.folder, "query", str(case.task))
    assert distance(_computed(embedder, prompt), case.expected("query", ["the fox"])) > FAR


def test_ids_that_name_no_adapter_get_no_vector(folder: Path, embedder: JinaEmbedder) -> None:
    """Rather than the vector of some task: an old client, or one that makes ids by itself."""
    (prompt,) = _built(JINA_V3, folder, "query", "retrieval")
    low = tuple(one & 0xFFFFF for one in prompt.token_ids)
    for ids in (low, tuple(one + (len(ADAPTERS) << 20) for one in prompt.token_ids)):
        with pytest.raises(InputError):
            _computed(embedder, replace(prompt, token_ids=ids))
    assert np.isfinite(_computed(embedder, prompt)).all()


def test_the_check_of_real_weights_passes(embedder: JinaEmbedder, folder: Path) -> None:
    """The one that docs/accuracy.md names, on this checkpoint and its engine."""
    check_weights(folder, "float32")


def test_vllm_alone_computes_every_task_by_the_last_adapter(
    folder: Path, references: dict[str | None, JinaV3Reference], embedder: JinaEmbedder, tmp_path: Path
) -> None:
    """Its class merges text-matching, and needs the checkpoint's own code: right there, silently wrong elsewhere."""
    whole = {adapter: [references[adapter].ids(PROMPTS[adapter] + text) for text in TEXTS[:4]] for adapter in ADAPTERS}
    prompts = [ids for adapter in ADAPTERS for ids in whole[adapter]]
    config = "configuration.XLMRobertaFlashConfig"
    got = iter(np.split(bare_vectors(folder, tmp_path / "bare", prompts, config=config), len(ADAPTERS)))
    for adapter in ADAPTERS:
        vectors = next(got)
        right = np.stack([references[adapter].of_ids(ids) for ids in whole[adapter]])
        last = np.stack([references["text-matching"].of_ids(ids) for ids in whole[adapter]])
        assert distance(unit(vectors), last) <= FLOAT32_GATE
        print(f"{adapter}: vLLM alone is {distance(unit(vectors), right):.2g} from the right vectors")
        assert adapter == "text-matching" or distance(unit(vectors), right) > FAR


def test_served_vectors_are_the_same(case: Case, tmp_path: Path) -> None:
    """By this package's server of either kind; a plain one does not know the adapters."""
    checks.check_servers(case, tmp_path, plain=False)


def _built(row: Any, folder: Path, role: str, task: str) -> list[Prompt]:
    builder = builder_of(row, (folder / "tokenizer.json").read_text())
    texts = items.good(items.texts(["the fox"]))
    prompts: Any = builder.build(texts, role=role, task=task, max_length=POSITIONS, truncate="error")
    return list(prompts)


def _computed(embedder: JinaEmbedder, prompt: Prompt) -> np.ndarray:
    embedder.embed(["start"])
    engine: Any = embedder.backend.engine
    vector: np.ndarray = engine.run(engine.embed(prompt, dimensions=128, task="retrieval")).result()
    return vector
