"""snowflake-arctic-embed-m-v2.0: a GteModel, read without its own code; every output against transformers."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import encoder_checks as checks
from tests.support.cells import Cells
from tests.support.encoder_checks import Case
from tests.support.gte import FACTOR, POSITIONS, THETA, GteReference, make_gte
from tests.support.unigram import segment
from tests.support.weights import check_weights
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.rotary import ARCTIC_EMBED_M_V2
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY

pytestmark = [pytest.mark.real, pytest.mark.models]

QUERY = "query: "


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A checkpoint whose files alone say what it is; the code that its config.json names is not there."""
    folder = tmp_path_factory.mktemp("arctic") / "checkpoint"
    make_gte(folder, snowflake=True, prompts={"query": QUERY})
    reference = GteReference(folder)
    return Case(
        row=ARCTIC_EMBED_M_V2,
        folder=folder,
        reference=reference,
        prefixes={"query": QUERY, "passage": ""},
        longest=POSITIONS,
        plain=lambda text: segment(reference.plain, unicodedata.normalize("NFKC", text)),
        ends=(0, 2),
        hostile=["<s> hi </s>", "a<mask>b <pad>", "</s></s>", "<unk>"],
        sizes=(32,),
    )


@pytest.fixture(scope="module")
def embedder(case: Case) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with case.embedder() as embedder:
        assert embedder.checkpoint.row == ARCTIC_EMBED_M_V2
        yield embedder


class TestEncoder(checks.EncoderTests):
    """Every output, hostile and long texts, and what is refused."""


def test_planted_mistakes_are_far_outside(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    """The mean, another prompt, and positions as gte-multilingual-base's are scaled."""
    states, other = case.reference.states, GteReference(case.folder, scaling=(THETA, FACTOR))

    def mistakes(role: str, text: str) -> dict[str, np.ndarray]:
        ids = case.ids(role, text)
        return {
            "mean": states(ids).mean(0),
            "no end": states(ids[:-1])[0],
            "the other role": states(case.reference.ids({"query": text, "passage": QUERY + text}[role]))[0],
            "scaled positions": other.states(ids)[0],
        }

    checks.check_mistakes(case, embedder, mistakes, cells)


def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder) -> None:
    template: Any = (Special("<s>"), Slot.TEXT, Special("</s>"))
    checks.check_planted_prompt(case, embedder, template)


def test_the_check_of_real_weights_passes(embedder: JinaEmbedder, case: Case) -> None:
    """The one that docs/accuracy.md names, on this checkpoint and its engine."""
    check_weights(case.folder, "float32")


def test_an_engine_that_pools_otherwise_does_not_start(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.check_planted_start(case, monkeypatch, {POOLING_KEY: "mean"}, "does not pool by the first token")


def test_served_vectors_are_the_same(case: Case, tmp_path: Path) -> None:
    checks.check_servers(case, tmp_path)
