"""snowflake-arctic-embed-l-v2.0: bge-m3's layout with a prefix and a Matryoshka size; against transformers."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
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
from vllm_jina_embed.checkpoints.files import read_json
from vllm_jina_embed.checkpoints.table.encoders import ARCTIC_EMBED_L_V2
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY

pytestmark = [pytest.mark.real, pytest.mark.models]

QUERY = "query: "


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A checkpoint whose config.json has its size under vLLM's name, as published since vLLM reads it."""
    folder = make_xlm_roberta(tmp_path_factory.mktemp("arctic") / "checkpoint", prompts={"query": QUERY})
    write_json(folder / "config.json", {**read_json(folder / "config.json"), "matryoshka_dimensions": [32]})
    reference = XlmReference(folder)
    return Case(
        row=ARCTIC_EMBED_L_V2,
        folder=folder,
        reference=reference,
        prefixes={"query": QUERY, "passage": ""},
        longest=POSITIONS - 2,
        plain=lambda text: segment(reference.plain, unicodedata.normalize("NFKC", text)),
        ends=(0, 2),
        hostile=["<s> hi </s>", "a<mask>b <pad>", "</s></s>", "<unk>"],
        sizes=(32,),
    )


@pytest.fixture(scope="module")
def embedder(case: Case) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with case.embedder() as embedder:
        assert embedder.checkpoint.row == ARCTIC_EMBED_L_V2
        yield embedder


class TestEncoder(checks.EncoderTests):
    """Every output, hostile and long texts, and what is refused."""


def test_planted_mistakes_are_far_outside(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    """The mean, the prompt that bge-m3's row has, positions that are not after the padding token's."""
    states = case.reference.states

    def mistakes(role: str, text: str) -> dict[str, np.ndarray]:
        ids = case.ids(role, text)
        return {
            "mean": states(ids).mean(0),
            "no end": states(ids[:-1])[0],
            "the other role": states(case.reference.ids({"query": text, "passage": QUERY + text}[role]))[0],
            "positions from 0": states(ids, first_position=0)[0],
        }

    checks.check_mistakes(case, embedder, mistakes, cells)


def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder) -> None:
    template: Any = (Special("<s>"), Slot.TEXT, Special("</s>"))
    checks.check_planted_prompt(case, embedder, template)


def test_an_engine_that_pools_otherwise_does_not_start(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.check_planted_start(case, monkeypatch, {POOLING_KEY: "mean"}, "does not pool by the first token")


def test_served_vectors_are_the_same(case: Case, tmp_path: Path) -> None:
    """Also of the full length, which config.json does not list."""
    checks.check_servers(case, tmp_path)
