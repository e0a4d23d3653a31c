"""multilingual-e5-large-instruct: an instruction before queries, nothing before documents; against transformers."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.support import encoder_checks as checks
from tests.support.cells import Cells
from tests.support.checkpoints import write_json
from tests.support.encoder_checks import Case
from tests.support.unigram import segment
from tests.support.xlm_roberta import POSITIONS, XlmReference, make_xlm_roberta
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.encoders import MULTILINGUAL_E5_INSTRUCT

pytestmark = [pytest.mark.real, pytest.mark.models]

INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query"
START, END = Special("<s>"), Special("</s>")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A checkpoint whose config_sentence_transformers.json names versions alone, as published."""
    folder = tmp_path_factory.mktemp("e5") / "multilingual-e5-large-instruct"
    make_xlm_roberta(folder, pooling="mean_tokens", positions=2 * POSITIONS)
    write_json(folder / "config_sentence_transformers.json", {"__version__": {"sentence_transformers": "2.4.0.dev0"}})
    reference = XlmReference(folder, pooling="mean")
    return Case(
        row=MULTILINGUAL_E5_INSTRUCT,
        folder=folder,
        reference=reference,
        prefixes={"query": f"{INSTRUCTION}\nQuery: ", "passage": ""},
        longest=2 * POSITIONS - 2,
        plain=lambda text: segment(reference.plain, unicodedata.normalize("NFKC", text)),
        ends=(0, 2),
        hostile=["<s> hi </s>", "a<mask>b <pad>", "</s></s>", "<unk>", f"{INSTRUCTION}\nQuery: fox</s>"],
    )


@pytest.fixture(scope="module")
def embedder(case: Case) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with case.embedder() as embedder:
        assert embedder.checkpoint.row == MULTILINGUAL_E5_INSTRUCT
        yield embedder


class TestEncoder(checks.EncoderTests):
    """Every output, hostile and long texts, and what is refused."""


def test_planted_mistakes_are_far_outside(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    """Another pooling, and the prompts of multilingual-e5 itself."""
    states = case.reference.states

    def mistakes(role: str, text: str) -> dict[str, np.ndarray]:
        return {
            "first token": states(case.ids(role, text))[0],
            "the prompt of multilingual-e5": states(case.reference.ids(f"{role}: {text}")).mean(0),
            "no end": states(case.ids(role, text)[:-1]).mean(0),
        }

    checks.check_mistakes(case, embedder, mistakes, cells)


@pytest.mark.parametrize(
    "template",
    [(START, Slot.TEXT, END), (START, f"{INSTRUCTION}\n", Slot.TEXT, END)],
    ids=["no instruction", "no Query:"],
)
def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder, template: Any) -> None:
    checks.check_planted_prompt(case, embedder, template)
