"""multilingual-e5-base and -large: every output against transformers; planted mistakes fall outside."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vllm.config import ModelConfig

from tests.real.test_faithful import FLOAT32_GATE
from tests.support import encoder_checks as checks
from tests.support.cells import Cells
from tests.support.encoder_checks import TEXTS, Case
from tests.support.reference import distance
from tests.support.unigram import segment
from tests.support.xlm_roberta import POSITIONS, XlmReference, make_xlm_roberta
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.encoders import MULTILINGUAL_E5
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY

pytestmark = [pytest.mark.real, pytest.mark.models]

PREFIXES = {"query": "query: ", "passage": "passage: "}
HOSTILE = ["<s> hi </s>", "a<mask>b <pad>", "</s></s>", "<unk>", "\uff1cs\uff1e hi"]
START, END = Special("<s>"), Special("</s>")


def case_of(folder: Path) -> Case:
    reference = XlmReference(folder, pooling="mean")
    return Case(
        row=MULTILINGUAL_E5,
        folder=folder,
        reference=reference,
        prefixes=PREFIXES,
        longest=POSITIONS - 2,
        plain=lambda text: segment(reference.plain, unicodedata.normalize("NFKC", text)),
        ends=(0, 2),
        hostile=HOSTILE,
    )


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A checkpoint without config_sentence_transformers.json, as published: its name says what it is."""
    folder = tmp_path_factory.mktemp("e5") / "multilingual-e5-large"
    return case_of(make_xlm_roberta(folder, pooling="mean_tokens"))


@pytest.fixture(scope="module")
def embedder(case: Case) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with case.embedder() as embedder:
        assert embedder.checkpoint.row == MULTILINGUAL_E5
        yield embedder


class TestEncoder(checks.EncoderTests):
    """Every output, hostile and long texts, and what is refused."""


def test_planted_mistakes_are_far_outside(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    """Other poolings, which bge-m3's row would be, other prompts, and positions from 0, 1 or 3."""
    states = case.reference.states

    def mistakes(role: str, text: str) -> dict[str, np.ndarray]:
        ids, other = case.ids(role, text), {"query": "passage", "passage": "query"}[role]
        return {
            "first token": states(ids)[0],
            "last token": states(ids)[-1],
            "without both ends": states(ids)[1:-1].mean(0),
            "no end": states(ids[:-1]).mean(0),
            "no prefix": states(case.reference.ids(text)).mean(0),
            "the other role": states(case.ids(other, text)).mean(0),
            **{f"position {first}": states(ids, first_position=first).mean(0) for first in (0, 1, 3)},
        }

    checks.check_mistakes(case, embedder, mistakes, cells)


@pytest.mark.parametrize(
    "template",
    [(START, Slot.TEXT, END), (START, "query:", Slot.TEXT), (START, "passage: ", Slot.TEXT, END)],
    ids=["no prefix", "no end", "the other role"],
)
def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder, template: Any) -> None:
    checks.check_planted_prompt(case, embedder, template)


def test_vllm_alone_fails_on_the_configuration_that_transformers_writes(tmp_path: Path) -> None:
    """A key that it leaves out; the row says it. With the mend, vLLM reads the same file."""
    folder = make_xlm_roberta(tmp_path / "multilingual-e5-base", pooling="mean_tokens", by_transformers=True)
    with pytest.raises(AttributeError, match="position_embedding_type"):
        ModelConfig(str(folder), runner="pooling", dtype="float32")
    ModelConfig(str(folder), runner="pooling", dtype="float32", hf_overrides=dict(MULTILINGUAL_E5.layouts[0].config))


def test_a_checkpoint_that_transformers_saved_anew(tmp_path: Path) -> None:
    """With the prompts in the words of sentence-transformers, so that any name will do."""
    folder = make_xlm_roberta(tmp_path / "mine", pooling="mean_tokens", prompts=PREFIXES, by_transformers=True, seed=1)
    case = case_of(folder)
    with case.embedder() as embedder:
        assert embedder.checkpoint.row == MULTILINGUAL_E5
        assert distance(embedder.embed_queries(TEXTS), case.expected("query", TEXTS)) <= FLOAT32_GATE


def test_an_engine_that_pools_otherwise_does_not_start(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.check_planted_start(case, monkeypatch, {POOLING_KEY: "first_token"}, "does not average all tokens")


def test_served_vectors_are_the_same(case: Case, tmp_path: Path) -> None:
    checks.check_servers(case, tmp_path)
