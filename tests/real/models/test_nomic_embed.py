"""nomic-embed-text-v1.5: every task and size, with the layer norm before the cut; against transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.real.test_faithful import FLOAT32_GATE
from tests.support import encoder_checks as checks
from tests.support.bare_vllm import bare_vectors
from tests.support.cells import Cells
from tests.support.encoder_checks import FAR, TEXTS, Case
from tests.support.encoders import unit
from tests.support.nomic import HEADS, HIDDEN, INNER, LAYERS, POSITIONS, NomicReference, finish, make_nomic
from tests.support.reference import distance
from tests.support.weights import check_weights
from tests.support.wordpiece import make_wordpiece, pieces
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.rotary import NOMIC_EMBED
from vllm_jina_embed.engine.plugin_contract import LAYER_NORM_KEY

pytestmark = [pytest.mark.real, pytest.mark.models]

CLASS, SEPARATOR = Special("[CLS]"), Special("[SEP]")
TASKS = {
    "retrieval": {"query": "search_query: ", "passage": "search_document: "},
    "clustering": {"query": "clustering: ", "passage": "clustering: "},
    "classification": {"query": "classification: ", "passage": "classification: "},
}
"""By the task, what stands before a text of each role."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without config_sentence_transformers.json: its name says what it is."""
    return make_nomic(tmp_path_factory.mktemp("nomic") / "nomic-embed-text-v1.5")


@pytest.fixture(scope="module")
def reference(folder: Path) -> NomicReference:
    return NomicReference(folder)


@pytest.fixture(params=TASKS)
def case(request: pytest.FixtureRequest, folder: Path, reference: NomicReference) -> Case:
    """One task."""
    tokenizer = make_wordpiece()
    return Case(
        row=NOMIC_EMBED,
        folder=folder,
        reference=reference,
        prefixes=TASKS[request.param],
        task=request.param,
        longest=POSITIONS,
        plain=lambda text: pieces(tokenizer, text),
        ends=(tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")),
        hostile=["[CLS] hi [SEP]", "a[MASK]b [PAD]", "[SEP][SEP]", "\uff3bCLS\uff3d"],
        sizes=(64,),
        finish=finish,
    )


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(folder, **checks.FLOAT32) as embedder:  # type: ignore[arg-type]
        assert embedder.checkpoint.row == NOMIC_EMBED
        yield embedder


class TestEncoder(checks.EncoderTests):
    """Every output, hostile and long texts, and what is refused."""


def test_planted_mistakes_are_far_outside(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    """No layer norm, another pooling, another task's prompt."""
    states = case.reference.states

    def mistakes(role: str, text: str) -> dict[str, np.ndarray]:
        ids, prefix = case.ids(role, text), case.prefixes[role]
        others = {one for prefixes in TASKS.values() for one in prefixes.values()} - {prefix}
        return {
            "no layer norm": states(ids).mean(0),
            "first token": finish(states(ids)[0], None),
            "no end": finish(states(ids[:-1]).mean(0), None),
            **{other: finish(states(case.reference.ids(other + text)).mean(0), None) for other in ("", *others)},
        }

    checks.check_mistakes(case, embedder, mistakes, cells)


def test_the_cut_comes_behind_the_layer_norm(case: Case, embedder: JinaEmbedder) -> None:
    """The other order, and none, give other short vectors."""
    text = TEXTS[1]
    got = embedder.embed([text], prompt_name="query", task=case.task, dimensions=64)[0]
    pooled = case.reference.pooled(case.states("query", case.ids("query", text)))
    assert distance(got, finish(pooled, 64)) <= FLOAT32_GATE
    for wrong in (finish(pooled[:64], None), unit(pooled[:64])):
        assert distance(got, wrong) > FAR


@pytest.mark.parametrize(
    "template",
    [(CLASS, Slot.TEXT, SEPARATOR), (CLASS, "query: ", Slot.TEXT, SEPARATOR)],
    ids=["no prefix", "another prefix"],
)
def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder, template: Any) -> None:
    checks.check_planted_prompt(case, embedder, template)


def test_the_check_of_real_weights_passes(embedder: JinaEmbedder, folder: Path) -> None:
    """The one that docs/accuracy.md names, on this checkpoint and its engine."""
    check_weights(folder, "float32")


def test_vllm_alone_neither_normalises_nor_knows_the_layer_norm(
    folder: Path, reference: NomicReference, embedder: JinaEmbedder, tmp_path: Path
) -> None:
    """The first since modules.json lists nothing that does, so lengths differ; the second shows in shorter vectors.

    It is told the sizes here, which it would not find under their names in config.json.
    """
    ids = [reference.ids(TASKS["retrieval"]["query"] + text) for text in TEXTS[:5]]
    sizes = {
        "hidden_size": HIDDEN, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "intermediate_size": INNER,
        "is_matryoshka": True,
    }  # fmt: skip
    got = bare_vectors(folder, tmp_path / "bare", ids, dimensions=64, hf_overrides=sizes, max_model_len=POSITIONS)
    pooled = [reference.pooled(reference.states(one)) for one in ids]
    assert distance(got, np.stack([one[:64] for one in pooled])) <= FLOAT32_GATE
    assert np.abs(np.linalg.norm(got, axis=1) - 1).min() > 0.5
    right = np.stack([finish(one, 64) for one in pooled])
    assert distance(got, right) > FAR
    assert distance(embedder.embed_queries(TEXTS[:5], dimensions=64), right) <= FLOAT32_GATE
    print(
        f"vLLM alone: norms {np.linalg.norm(got, axis=1).round(2)}, {distance(got, right):.2g} from the right vectors"
    )


def test_an_engine_without_the_layer_norm_does_not_start(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.check_planted_start(case, monkeypatch, {LAYER_NORM_KEY: False}, "does not average all tokens")


def test_served_vectors_are_the_same(case: Case, tmp_path: Path) -> None:
    """A plain server would not find the sizes."""
    checks.check_servers(case, tmp_path, plain=False)
