"""bge-*-zh-v1.5: a BertModel with WordPiece and a Chinese instruction; every output against transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.support import encoder_checks as checks
from tests.support.bert import POSITIONS, BertReference, make_bert
from tests.support.cells import Cells
from tests.support.encoder_checks import Case
from tests.support.wordpiece import make_wordpiece, pieces
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.bge_chinese import BGE_CHINESE
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY

pytestmark = [pytest.mark.real, pytest.mark.models]

QUERY = "为这个句子生成表示以用于检索相关文章："
CLASS, SEPARATOR = Special("[CLS]"), Special("[SEP]")


def chinese() -> Tokenizer:
    """Return BERT's tokenizer with the signs of the instruction, each a word of its own."""
    content = json.loads(make_wordpiece().to_str())
    words = content["model"]["vocab"]
    words |= {sign: len(words) + place for place, sign in enumerate(dict.fromkeys(QUERY))}
    return Tokenizer.from_str(json.dumps(content))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A checkpoint as published, without prompts in its files: its name says what it is."""
    tokenizer = chinese()
    folder = make_bert(tmp_path_factory.mktemp("bge") / "bge-small-zh-v1.5", tokenizer=tokenizer, seed=6)
    return Case(
        row=BGE_CHINESE,
        folder=folder,
        reference=BertReference(folder),
        prefixes={"query": QUERY, "passage": ""},
        longest=POSITIONS,
        plain=lambda text: pieces(tokenizer, text),
        ends=(tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")),
        hostile=["[CLS] hi [SEP]", "a[MASK]b [PAD]", "[SEP][SEP]", "\uff3bCLS\uff3d", "x" * 120, "[unused7] a"],
    )


@pytest.fixture(scope="module")
def embedder(case: Case) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with case.embedder() as embedder:
        assert embedder.checkpoint.row == BGE_CHINESE
        yield embedder


class TestEncoder(checks.EncoderTests):
    """Every output, hostile and long texts, and what is refused."""


def test_planted_mistakes_are_far_outside(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    """Other poolings and prompts, and positions that begin elsewhere."""
    states = case.reference.states

    def mistakes(role: str, text: str) -> dict[str, np.ndarray]:
        ids = case.ids(role, text)
        other = {"query": text, "passage": QUERY + text}[role]
        return {
            "mean": states(ids).mean(0),
            "second token": states(ids)[1],
            "no start": states(ids[1:])[0],
            "no end": states(ids[:-1])[0],
            "the other role": states(case.reference.ids(other))[0],
            "an English instruction": states(case.reference.ids(f"Represent this sentence: {text}"))[0],
            "positions from 1": states(ids, first_position=1)[0],
        }

    checks.check_mistakes(case, embedder, mistakes, cells)


@pytest.mark.parametrize(
    "template",
    [(CLASS, Slot.TEXT, SEPARATOR), (CLASS, QUERY, Slot.TEXT), (QUERY, Slot.TEXT, SEPARATOR)],
    ids=["no prefix", "no end", "no start"],
)
def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder, template: Any) -> None:
    checks.check_planted_prompt(case, embedder, template)


def test_an_engine_that_pools_otherwise_does_not_start(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.check_planted_start(case, monkeypatch, {POOLING_KEY: "mean"}, "does not pool by the first token")


def test_served_vectors_are_the_same(case: Case, tmp_path: Path) -> None:
    checks.check_servers(case, tmp_path)
