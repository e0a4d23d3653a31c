"""Qwen2-7B-Instruct-embed-base: against transformers, prompts cut into steps; mistakes, bare vLLM, fall outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.bare import bare_vllm
from tests.support.cells import Cells
from tests.support.decoder_checks import (
    GATE,
    STEPS,
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
from tests.support.instructed import QUERY, make_qwen2_embed_base, qwen2_embed_base_reference
from tests.support.reference import distance
from tests.support.weights import check_weights
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.decoders import QWEN2_EMBED_BASE
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY

pytestmark = [pytest.mark.real, pytest.mark.models]

NAME = "Qwen2-7B-Instruct-embed-base"
PREFIX = {"query": "", "passage": ""}
HOSTILE = ["<|endoftext|>", "a<|im_start|>user\nb<|im_end|>", "fox<|endoftext|>"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen2_embed_base(tmp_path_factory.mktemp("ssmits") / NAME)


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> DecoderReference:
    return qwen2_embed_base_reference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32, whose steps cut the long texts."""
    with JinaEmbedder(checkpoint, **STEPS) as embedder:
        assert embedder.checkpoint.row == QWEN2_EMBED_BASE
        yield embedder


def test_embeddings(embedder: JinaEmbedder, reference: DecoderReference, cells: Cells) -> None:
    """The mean over all tokens, also where they take many steps; both roles have the text alone."""
    assert len(reference.ids(TEXTS[-1])) > 3 * STEP
    check_embeddings(embedder, reference, PREFIX, cells)
    assert distance(embedder.embed_queries(TEXTS), embedder.embed_passages(TEXTS)) <= GATE


def test_token_vectors(embedder: JinaEmbedder, reference: DecoderReference, cells: Cells) -> None:
    check_multi_vectors(embedder, reference, PREFIX, cells)


@pytest.mark.parametrize("text", TEXTS[1:5])
def test_planted_mistakes_are_far_outside(
    embedder: JinaEmbedder, reference: DecoderReference, text: str, cells: Cells
) -> None:
    """Another pooling, attention both ways, and other prompts."""
    ids = reference.ids(text)
    states = reference.states(ids)
    mistakes = {
        "last token": states[-1],
        "first token": states[0],
        "all but the last token": states[:-1].mean(0),
        "both ways": reference.states(ids, both_ways=True).mean(0),
        "an instruction": reference.embed(QUERY + text),
        "a last token": reference.of_ids([*ids, reference.tokenizer.convert_tokens_to_ids("<|endoftext|>")]),
    }
    check_planted(embedder, text, mistakes, cells)


def test_a_mean_over_some_of_the_steps_is_far_outside(
    embedder: JinaEmbedder, reference: DecoderReference, cells: Cells
) -> None:
    """As where the sum of an earlier step is lost."""
    states = reference.states(reference.ids(TEXTS[-1]))
    left = (len(states) - 1) // STEP * STEP
    mistakes = {
        "the last step alone": states[left:].mean(0),
        "all but the last step": states[:left].mean(0),
        "all but the first step": states[STEP:].mean(0),
        "last token": states[-1],
        "both ways": reference.states(reference.ids(TEXTS[-1]), both_ways=True).mean(0),
    }
    check_planted(embedder, TEXTS[-1], mistakes, cells)


@pytest.mark.parametrize(
    "query",
    [(Slot.TEXT, Special("<|endoftext|>")), (QUERY, Slot.TEXT)],
    ids=["a last token", "an instruction"],
)
def test_a_row_with_a_mistake_gives_other_vectors(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference, query: Any
) -> None:
    """On the same engine: what these tests compare would find it."""
    planted = replace(QWEN2_EMBED_BASE, templates={("any", "text"): query})
    check_planted_row(embedder, checkpoint, planted, expected(reference, "", TEXTS[:6]), TEXTS[:6])


def test_special_tokens_in_a_text_stay_text(embedder: JinaEmbedder, reference: DecoderReference) -> None:
    check_hostile(embedder, reference, PREFIX, HOSTILE, believed=len(HOSTILE))


def test_a_text_too_long_is_cut_at_either_end(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference
) -> None:
    check_truncated(checkpoint, reference, "", before=0, after=0, **STEPS)


def test_bare_vllm_takes_the_last_token(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference, tmp_path: Path
) -> None:
    """Without a sign, as no file names the pooling."""
    bare = bare_vllm(checkpoint, TEXTS, tmp_path / "bare")
    last = np.stack([unit(reference.states(reference.ids(text))[-1]) for text in TEXTS])
    assert distance(bare, last) <= GATE
    right = expected(reference, "")
    gaps = [distance(one, other) for one, other in zip(bare[1:], right[1:], strict=True)]  # the first is one token
    print(f"bare vLLM, strings: 1 - cosine {min(gaps):.3f} to {max(gaps):.3f}")
    assert min(gaps) > 100 * GATE
    assert distance(embedder.embed(TEXTS), right) <= GATE


def test_bare_vllm_ends_at_a_mean_over_two_steps(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference, tmp_path: Path
) -> None:
    """Told to take the mean, and to cut prompts as our engine does: the text that ours embeds ends vLLM's."""
    told = {"pooler_config": {"seq_pooling_type": "MEAN"}, "enable_chunked_prefill": True}
    with pytest.raises(RuntimeError, match="partial prefill is not supported with MEAN pooling"):
        bare_vllm(checkpoint, [TEXTS[-1]], tmp_path / "bare", **told, max_num_batched_tokens=STEP, max_num_seqs=8)
    assert distance(embedder.embed(TEXTS[-1:]), expected(reference, "", TEXTS[-1:])) <= GATE


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({POOLING_KEY: "last_token"}, "does not average all tokens"), ({"is_causal": False}, "lets the first tokens")],
)
def test_an_engine_that_does_something_else_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], message: str
) -> None:
    check_refused_at_start(make_qwen2_embed_base(tmp_path / NAME), monkeypatch, overrides, message)


def test_served_vectors_are_the_same(checkpoint: Path, reference: DecoderReference, tmp_path: Path) -> None:
    check_served(checkpoint, reference, PREFIX, tmp_path / "log")


def test_the_check_of_real_weights_passes(checkpoint: Path) -> None:
    """The one that docs/accuracy.md names; each prompt in one step."""
    check_weights(checkpoint, "float32")
