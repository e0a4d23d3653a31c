"""jina-embeddings-v5-text, small and nano: each request by the adapter of its task, against transformers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE, RELATIVE_GATE
from tests.support import decoder_checks as checks
from tests.support.bare_vllm import bare_vectors
from tests.support.cells import Cells
from tests.support.decoders import HIDDEN, TEXTS
from tests.support.encoders import unit
from tests.support.images import noise
from tests.support.jina_v5 import END, TASKS, JinaV5Reference, Kind, make_jina_v5, prefix_of
from tests.support.reference import distance, relative_error
from tests.support.servers import served
from tests.support.weights import check_weights
from vllm_jina_embed import JinaEmbedder, Model, Slot, Special
from vllm_jina_embed.checkpoints.table.jina_v5 import JINA_V5_NANO, JINA_V5_SMALL
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY
from vllm_jina_embed.errors import ConfigError, EngineError, InputError

pytestmark = [pytest.mark.real, pytest.mark.models]

ROWS: dict[Kind, Model] = {"small": JINA_V5_SMALL, "nano": JINA_V5_NANO}
ROLES = ("query", "passage")
RETRIEVAL = {role: prefix_of("retrieval", role) for role in ROLES}
HOSTILE: dict[Kind, list[str]] = {
    "small": ["<|endoftext|>", "a<|im_start|>user\nb<|im_end|>", "Query: fox<|endoftext|>"],
    "nano": [END, f"a<|begin_of_text|>b{END}", "<|pad|><|mask|>"],
}


@dataclass(frozen=True)
class Case:
    """A size of the model: its row, a checkpoint, and what transformers gives with each adapter and without any."""

    kind: Kind
    row: Model
    folder: Path
    references: dict[str | None, JinaV5Reference]

    def expected(self, task: str, role: str, texts: list[str], size: int | None = None) -> np.ndarray:
        return np.stack([self.references[task].embed(prefix_of(task, role) + text, size) for text in texts])


@pytest.fixture(scope="module", params=ROWS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = make_jina_v5(tmp_path_factory.mktemp("v5") / request.param, request.param)
    references = {task: JinaV5Reference(folder, task) for task in (*TASKS, None)}
    return Case(request.param, ROWS[request.param], folder, references)


@pytest.fixture(scope="module")
def embedder(case: Case) -> Iterator[JinaEmbedder]:
    """One engine in float32 for all tasks; the code that config.json points to is neither there nor allowed."""
    with JinaEmbedder(case.folder, **checks.FLOAT32) as embedder:  # type: ignore[arg-type]
        assert embedder.checkpoint.row == case.row
        yield embedder


async def test_every_task_role_and_size_in_one_batch(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    """Each prompt gets its own adapter, whatever stands beside it in a step."""
    sizes = embedder.checkpoint.matryoshka_sizes
    assert sizes == (32, 64, HIDDEN)
    calls = [(task, role, size) for task in TASKS for role in ROLES for size in sizes]
    jobs: list[Any] = [
        embedder.aembed(TEXTS, task=task, prompt_name=role, dimensions=size)  # type: ignore[arg-type]
        for task, role, size in calls
    ]
    for got, (task, role, size) in zip(await asyncio.gather(*jobs), calls, strict=True):
        assert (got.shape, got.dtype) == ((len(TEXTS), size), np.float32)
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
        right = case.expected(task, role, TEXTS, size)
        assert cells.measure(case.row, "dense", TEXTS, got, right) <= FLOAT32_GATE, (task, role, size)


async def test_token_vectors_of_every_task(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    calls = [(task, role) for task in TASKS for role in ROLES]
    jobs: list[Any] = [embedder.aembed_multi_vector(TEXTS, task=task, prompt_name=role) for task, role in calls]  # type: ignore[arg-type]
    for got, (task, role) in zip(await asyncio.gather(*jobs), calls, strict=True):
        right = [case.references[task].multi_vector(prefix_of(task, role) + text) for text in TEXTS]
        assert cells.measure(case.row, "multi", TEXTS, got, right) <= FLOAT32_GATE, (task, role)


def test_vectors_that_are_not_normalised(case: Case, embedder: JinaEmbedder) -> None:
    """The last token's state as it is, whole and cut."""
    reference = case.references["clustering"]
    for size in (None, 32):
        wanted = np.stack([reference.states(reference.ids(f"Document: {text}"))[-1, :size] for text in TEXTS])
        got = embedder.embed(TEXTS, task="clustering", dimensions=size, normalize=False)
        assert relative_error(got, wanted) <= RELATIVE_GATE


@pytest.mark.parametrize("task", TASKS)
def test_planted_mistakes_are_far_outside(case: Case, embedder: JinaEmbedder, cells: Cells, task: str) -> None:
    """Every other adapter, none at all, other poolings and attention, and prompts that differ in one piece."""
    reference = case.references[task]
    is_causal = case.row.attention == "causal"
    for role in ROLES:
        prefix = prefix_of(task, role)
        other = "Document: " if prefix == "Query: " else "Query: "
        for text, vector in zip(TEXTS[1:5], embedder.embed(TEXTS[1:5], task=task, prompt_name=role), strict=True):  # type: ignore[arg-type]
            ids = reference.ids(prefix + text)
            states = reference.states(ids)
            end = reference.tokenizer.convert_tokens_to_ids("<|endoftext|>" if case.kind == "small" else END)
            mistakes = {
                **{
                    f"adapter {name}": case.references[name].states(ids)[-1] for name in case.references if name != task
                },
                "mean": states.mean(0),
                "first token": states[0],
                "token before the last": states[-2],
                "other attention": reference.states(ids, both_ways=is_causal)[-1],
                "another end": reference.states([*ids, end] if case.kind == "small" else ids[:-1])[-1],
                "no prefix": reference.embed(text),
                "the other role's prefix": reference.embed(other + text),
            }
            gaps = {name: distance(vector, unit(wrong)) for name, wrong in mistakes.items()}
            assert cells.planted(case.row, gaps) > 100 * FLOAT32_GATE, gaps


def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder) -> None:
    """On the same engine: what these tests compare would find it."""
    end = (Special(END),) if case.kind == "nano" else ()
    for template in ((Slot.TEXT, *end), ("Document: ", Slot.TEXT, *end)):
        planted = replace(case.row, templates={("any", "text"): template})
        checks.check_planted_row(embedder, case.folder, planted, case.expected("retrieval", "query", TEXTS))


def test_a_checkpoint_with_two_adapters_exchanged_gives_other_vectors(tmp_path: Path) -> None:
    """The self-check cannot know whose is whose; what these tests compare would find it."""
    folder = make_jina_v5(tmp_path / "exchanged", "small")
    reference = JinaV5Reference(folder, "retrieval")
    (folder / "adapters/retrieval").rename(folder / "kept")
    (folder / "adapters/clustering").rename(folder / "adapters/retrieval")
    (folder / "kept").rename(folder / "adapters/clustering")
    with JinaEmbedder(folder, **checks.FLOAT32) as other:  # type: ignore[arg-type]
        got = other.embed_queries(TEXTS)
    right = [reference.embed(f"Query: {text}") for text in TEXTS]
    assert all(distance(one, vector) > 100 * FLOAT32_GATE for one, vector in zip(got, right, strict=True))


def test_special_tokens_in_a_text_stay_text(case: Case, embedder: JinaEmbedder) -> None:
    checks.check_hostile(embedder, case.references["retrieval"], RETRIEVAL, HOSTILE[case.kind], len(HOSTILE[case.kind]))


def test_a_text_too_long_is_cut_alone(case: Case) -> None:
    after = int(case.kind == "nano")
    checks.check_truncated(
        case.folder, case.references["retrieval"], RETRIEVAL["query"], before=0, after=after, **checks.FLOAT32
    )


def test_prompts_that_are_cut_into_steps(case: Case) -> None:
    """The last token is that of the prompt, not of a chunk; an encoder's prompts are whole."""
    if case.row.splits_prompts:
        with JinaEmbedder(case.folder, **checks.STEPS) as embedder:  # type: ignore[arg-type]
            for task in TASKS:
                got = embedder.embed(TEXTS, task=task)
                assert distance(got, case.expected(task, "passage", TEXTS)) <= FLOAT32_GATE


def test_the_check_of_real_weights_passes(embedder: JinaEmbedder, case: Case) -> None:
    """The one that docs/accuracy.md names, on this checkpoint and its engine."""
    check_weights(case.folder, "float32")


def test_what_this_checkpoint_cannot_honour_is_refused(case: Case, embedder: JinaEmbedder) -> None:
    for wrong in ({"dimensions": 33}, {"task": "code"}, {"max_pixels": 100_000}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            JinaEmbedder(case.folder, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"items\[0\]: got an image; this checkpoint takes texts only"):
        embedder.embed([noise(20, 20, 1)])


def test_an_engine_that_does_something_else_does_not_start(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pooling of small, and attention of the other kind in nano."""
    folder = make_jina_v5(tmp_path / "planted", case.kind, seed=1)
    overrides, message = {
        "small": ({POOLING_KEY: "mean"}, "does not pool by the last token"),
        "nano": ({"is_causal": True}, "does not let the first tokens"),
    }[case.kind]
    checks.check_refused_at_start(folder, monkeypatch, overrides, message)


def test_a_missing_adapter_is_an_error(case: Case, tmp_path: Path) -> None:
    """vLLM alone computes with the weights as they are, and says so in its log only."""
    folder = make_jina_v5(tmp_path / "without", case.kind)
    shutil.rmtree(folder / "adapters/clustering")
    with (
        JinaEmbedder(folder, **checks.FLOAT32) as embedder,  # type: ignore[arg-type]
        pytest.raises((ConfigError, EngineError), match=r"has no adapters/clustering/adapter_model\.safetensors"),
    ):
        embedder.embed(["a"])


def test_vllm_alone_computes_every_task_by_one_adapter(case: Case, tmp_path: Path) -> None:
    """Silently: its class merges that of retrieval unless it is told otherwise; it needs the checkpoint's own code."""
    texts = TEXTS[:4]
    whole = {task: [case.references[task].ids(prefix_of(task, "passage") + text) for text in texts] for task in TASKS}
    prompts = [ids for task in TASKS for ids in whole[task]]
    config = f"configuration.JinaV5{case.kind.title()}Config"
    bare = bare_vectors(case.folder, tmp_path / "bare", prompts, config=config, max_model_len=1024)
    for task, vectors in zip(TASKS, np.split(bare, len(TASKS)), strict=True):
        right, merged = (
            np.stack([case.references[name].of_ids(ids) for ids in whole[task]]) for name in (task, "retrieval")
        )
        assert distance(unit(vectors), merged) <= FLOAT32_GATE
        print(f"{task}: vLLM alone is {distance(unit(vectors), right):.2g} from the right vectors")
        assert task == "retrieval" or distance(unit(vectors), right) > 100 * FLOAT32_GATE


def test_vllm_alone_takes_a_task_that_it_does_not_know_for_a_search(tmp_path: Path) -> None:
    """A line in its log is all."""
    folder = make_jina_v5(tmp_path / "small", "small")
    reference = JinaV5Reference(folder, "retrieval")
    ids = [reference.ids(f"Document: {text}") for text in TEXTS[:4]]
    options: dict[str, Any] = {"max_model_len": 1024, "hf_overrides": {"jina_task": "text_matching"}}
    bare = bare_vectors(folder, tmp_path / "bare", ids, config="configuration.JinaV5SmallConfig", **options)
    assert distance(unit(bare), np.stack([reference.of_ids(one) for one in ids])) <= FLOAT32_GATE


def test_served_vectors_are_the_same(case: Case, tmp_path: Path) -> None:
    """By this package's server of either kind, each task by its adapter."""
    own = ("--dtype", "float32")
    for name, options in (("dense", own), ("tokens", (*own, "--multi-vector"))):
        with served(str(case.folder), tmp_path / name, *options) as server:
            for task in TASKS:
                with JinaEmbedder.from_server(server.url, task=task) as embedder:
                    assert embedder.checkpoint.row == case.row
                    for role, size in (("query", None), ("query", 32), ("passage", None)):
                        got = embedder.embed(TEXTS, prompt_name=role, dimensions=size)  # type: ignore[arg-type]
                        assert distance(got, case.expected(task, role, TEXTS, size)) <= FLOAT32_GATE
                    if name == "tokens":
                        (rows,) = embedder.embed_multi_vector(["the fox"], prompt_name="query")
                        prompt = f"{prefix_of(task, 'query')}the fox"
                        assert distance(rows, case.references[task].multi_vector(prompt)) <= FLOAT32_GATE
