"""gte-multilingual-base: every output against transformers; its own code reads config.json, if a user allows it."""

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
from vllm_jina_embed.checkpoints.table.rotary import GTE_MULTILINGUAL
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY
from vllm_jina_embed.errors import ConfigError

pytestmark = [pytest.mark.real, pytest.mark.models]

START, END = Special("<s>"), Special("</s>")
TRUSTED = {"engine_kwargs": {"dtype": "float32", "trust_remote_code": True}}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A checkpoint with scaled positions, as published, and its code beside it; its name says what it is."""
    folder = make_gte(tmp_path_factory.mktemp("gte") / "gte-multilingual-base")
    reference = GteReference(folder)
    return Case(
        row=GTE_MULTILINGUAL,
        folder=folder,
        reference=reference,
        prefixes={"query": "", "passage": ""},
        longest=POSITIONS,
        plain=lambda text: segment(reference.plain, unicodedata.normalize("NFKC", text)),
        ends=(0, 2),
        hostile=["<s> hi </s>", "a<mask>b <pad>", "</s></s>", "<unk>"],
        sizes=(128,),
        options=TRUSTED,
    )


@pytest.fixture(scope="module")
def embedder(case: Case) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with case.embedder() as embedder:
        assert embedder.checkpoint.row == GTE_MULTILINGUAL
        yield embedder


class TestEncoder(checks.EncoderTests):
    """Every output, hostile and long texts, and what is refused."""


def test_planted_mistakes_are_far_outside(case: Case, embedder: JinaEmbedder, cells: Cells) -> None:
    """Another pooling, positions that are not scaled, or in their base alone, and a prompt."""
    states, plain = case.reference.states, GteReference(case.folder, scaling=(THETA * FACTOR, 1.0))
    bare = GteReference(case.folder, scaling=(THETA, 1.0))

    def mistakes(role: str, text: str) -> dict[str, np.ndarray]:
        ids = case.ids(role, text)
        return {
            "mean": states(ids).mean(0),
            "no start": states(ids[1:])[0],
            "no end": states(ids[:-1])[0],
            "a prompt": states(case.reference.ids(f"query: {text}"))[0],
            "positions scaled in their base alone": plain.states(ids)[0],
            "positions without the scale": bare.states(ids)[0],
        }

    checks.check_mistakes(case, embedder, mistakes, cells)


@pytest.mark.parametrize("template", [(START, Slot.TEXT), (START, "query: ", Slot.TEXT, END)], ids=["no end", "prompt"])
def test_a_row_with_a_mistake_gives_other_vectors(case: Case, embedder: JinaEmbedder, template: Any) -> None:
    checks.check_planted_prompt(case, embedder, template)


def test_the_check_of_real_weights_passes(embedder: JinaEmbedder, case: Case) -> None:
    """The one that docs/accuracy.md names, on this checkpoint and its engine."""
    check_weights(case.folder, "float32", {"trust_remote_code": True})


def test_its_code_never_runs_unless_the_user_allows_it(case: Case, tmp_path: Path) -> None:
    """Nothing starts, and the refusal says what is needed and how to allow it."""
    code = case.folder / "configuration.py"
    before, ran = code.read_text(), tmp_path / "ran"
    code.write_text(f"open({str(ran)!r}, 'w')\n{before}")
    try:
        with (
            case.embedder(engine_kwargs={"dtype": "float32"}) as other,
            pytest.raises(ConfigError, match=r"its class NewConfig, .*'trust_remote_code': True"),
        ):
            other.embed(["a"])
        assert not ran.exists()
    finally:
        code.write_text(before)


def test_an_engine_that_pools_otherwise_does_not_start(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.check_planted_start(case, monkeypatch, {POOLING_KEY: "mean"}, "does not pool by the first token")


def test_served_vectors_are_the_same(case: Case, tmp_path: Path) -> None:
    """A plain server would need another name of the architecture."""
    checks.check_servers(case, tmp_path, "--trust-remote-code", plain=False)
