"""multilingual-e5-small, a BertModel with XLM-RoBERTa's tokenizer: every output against transformers."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.support import encoder_checks as checks
from tests.support.bert import POSITIONS, BertReference, make_bert
from tests.support.cells import Cells
from tests.support.encoder_checks import Case
from tests.support.unigram import make_unigram, segment
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.encoders import MULTILINGUAL_E5_SMALL
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY

pytestmark = [pytest.mark.real, pytest.mark.models]

START, END = Special("<s>"), Special("</s>")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A checkpoint without config_sentence_transformers.json, as published: its name says what it is."""
    folder = tmp_path_factory.mktemp("e5") / "multilingual-e5-small"
    make_bert(folder, tokenizer=make_unigram(), pooling="mean_tokens")
    reference = BertReference(folder, pooling="mean")
    return Case(
        row=MULTILINGUAL_E5_SMALL,
        folder=folder,
        reference=reference,
        prefixes={"query": "query: ", "passage": "passage: "},
        longest=POSITIONS,
        plain=lambda text: segment(reference.plain, unicodedata.normalize("NFKC", text)),
        ends=(0, 2),
        hostile=["<s> hi </s>", "a<mask>b <pad>", "</s></s>", "<unk>", "\uff1cs\uff1e hi"],
    )


@pytest.fixture(scope="module")
def embedder(case: Case) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with case.embedder() as embedder:
        assert embedder.checkpoint.row == MULTILINGUAL_E5_SMALL
        yield embedder


class TestEncoder(checks.EncoderTests):
    """Every output, hostile and long texts, and what is refused."""


def test_planted_mistakes_are_far_outside(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    """Other poolings and prompts, and positions as XLM-RoBERTa counts them."""
    states = case.reference.states

    def mistakes(role: str, text: str) -> dict[str, np.ndarray]:
        ids = case.ids(role, text)
        return {
            "first token": states(ids)[0],
            "no prefix": states(case.reference.ids(text)).mean(0),
            "positions from 2": states(ids, first_position=2).mean(0),
        }

    checks.check_mistakes(case, embedder, mistakes, cells)

    def ends(role: str, text: str) -> dict[str, np.ndarray]:
        return {"without both ends": states(case.ids(role, text))[1:-1].mean(0)}

    checks.check_mistakes(case, embedder, ends, cells, far=checks.ONE_TOKEN)


@pytest.mark.parametrize("template", [(START, Slot.TEXT, END), ("query: ", Slot.TEXT, END)], ids=["prefix", "start"])
def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder, template: Any) -> None:
    checks.check_planted_prompt(case, embedder, template)


def test_an_engine_that_pools_otherwise_does_not_start(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.check_planted_start(case, monkeypatch, {POOLING_KEY: "last_token"}, "does not average all tokens")
