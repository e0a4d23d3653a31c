"""e5-mistral-7b-instruct: against transformers, prompts cut into steps; mistakes, and bare vLLM, fall outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import Cells
from tests.support.decoder_checks import (
    GATE,
    STEPS,
    check_bare_strings,
    check_embeddings,
    check_hostile,
    check_multi_vectors,
    check_planted,
    check_planted_row,
    check_refused_at_start,
    check_served,
    check_truncated,
    expected,
)
from tests.support.decoders import STEP, TEXTS, DecoderReference
from tests.support.instructed import E5_END, E5_START, INSTRUCTION, PREFIX, QUERY, e5_mistral_reference, make_e5_mistral
from tests.support.reference import distance
from tests.support.weights import check_weights
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.decoders import E5_MISTRAL
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY

pytestmark = [pytest.mark.real, pytest.mark.models]

START, END = Special(E5_START), Special(E5_END)
HOSTILE = ["</s>", "a<s>b</s>", f"{QUERY}fox</s>", "<0x0A> <unk>"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_e5_mistral(tmp_path_factory.mktemp("e5") / "checkpoint")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> DecoderReference:
    return e5_mistral_reference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32, whose steps cut the instruction and long texts."""
    with JinaEmbedder(checkpoint, **STEPS) as embedder:
        assert embedder.checkpoint.row == E5_MISTRAL
        yield embedder


def test_embeddings(embedder: JinaEmbedder, reference: DecoderReference, cells: Cells) -> None:
    """Queries with the instruction, documents without, between ``<s>`` and ``</s>``; the last text takes many steps."""
    assert len(reference.ids(TEXTS[-1])) > 3 * STEP
    check_embeddings(embedder, reference, PREFIX, cells)


def test_token_vectors(embedder: JinaEmbedder, reference: DecoderReference, cells: Cells) -> None:
    check_multi_vectors(embedder, reference, PREFIX, cells)


@pytest.mark.parametrize("text", TEXTS[1:5])
def test_planted_mistakes_are_far_outside(
    embedder: JinaEmbedder, reference: DecoderReference, text: str, cells: Cells
) -> None:
    """Another pooling, attention both ways, and prompts that differ in one piece."""
    ids = reference.ids(QUERY + text)
    states = reference.states(ids)
    mistakes = {
        "mean": states.mean(0),
        "first token": states[0],
        "token before the last": states[-2],
        "both ways": reference.states(ids, both_ways=True)[-1],
        "no last token": reference.states(ids[:-1])[-1],
        "no first token": reference.states(ids[1:])[-1],
        "no instruction": reference.embed(text),
        "no Query:": reference.embed(f"{INSTRUCTION}\n{text}"),
        "no space": reference.embed(QUERY.rstrip() + text),
    }
    check_planted(embedder, text, mistakes, cells)


@pytest.mark.parametrize(
    "query",
    [(START, QUERY, Slot.TEXT), (QUERY, Slot.TEXT, END), (START, Slot.TEXT, END)],
    ids=["no last token", "no first token", "no instruction"],
)
def test_a_row_with_a_mistake_gives_other_vectors(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference, query: Any
) -> None:
    """On the same engine: what these tests compare would find it."""
    planted = replace(E5_MISTRAL, templates={("any", "text"): query})
    check_planted_row(embedder, checkpoint, planted, expected(reference, QUERY))


def test_special_tokens_in_a_text_stay_text(embedder: JinaEmbedder, reference: DecoderReference) -> None:
    """The spelling of a byte's token is text for transformers too."""
    check_hostile(embedder, reference, PREFIX, HOSTILE, believed=3)


def test_a_text_too_long_keeps_its_prefix_and_both_ends(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference
) -> None:
    check_truncated(checkpoint, reference, QUERY, before=1, after=1, **STEPS)


def test_bare_vllm_leaves_the_last_token_of_a_string_out(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference, tmp_path: Path
) -> None:
    """Without a sign, though tokenizer_config.json has ``add_eos_token``. With our ids its vectors are ours."""
    check_bare_strings(embedder, checkpoint, reference, QUERY, tmp_path / "bare")


def test_a_window_of_attention(tmp_path: Path) -> None:
    """config.json lets a token see the last 4096; here fewer, so that a long text shows it."""
    folder = make_e5_mistral(tmp_path / "window", sliding_window=40, seed=1)
    reference = e5_mistral_reference(folder)
    whole = e5_mistral_reference(folder).states(reference.ids(TEXTS[-1]), both_ways=False)[-1]
    assert distance(whole, reference.embed(TEXTS[-1])) > 100 * GATE
    with JinaEmbedder(folder, **STEPS) as embedder:
        check_embeddings(embedder, reference, PREFIX)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({POOLING_KEY: "mean"}, "does not pool by the last token"), ({"is_causal": False}, "lets the first tokens")],
)
def test_an_engine_that_does_something_else_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], message: str
) -> None:
    check_refused_at_start(make_e5_mistral(tmp_path / "planted"), monkeypatch, overrides, message)


def test_served_vectors_are_the_same(checkpoint: Path, reference: DecoderReference, tmp_path: Path) -> None:
    check_served(checkpoint, reference, PREFIX, tmp_path / "log")


def test_the_check_of_real_weights_passes(checkpoint: Path) -> None:
    """The one that docs/accuracy.md names; each prompt in one step."""
    check_weights(checkpoint, "float32")
