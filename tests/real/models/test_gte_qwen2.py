"""gte-Qwen2: vectors against transformers with attention both ways; planted mistakes, and bare vLLM, fall outside."""

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
    FLOAT32,
    GATE,
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
from tests.support.instructed import GTE_END, INSTRUCTION, PREFIX, QUERY, gte_qwen2_reference, make_gte_qwen2
from tests.support.reference import distance
from tests.support.servers import plain_text
from tests.support.weights import check_weights
from vllm_jina_embed import JinaEmbedder, Slot, Special
from vllm_jina_embed.checkpoints.table.decoders import GTE_QWEN2
from vllm_jina_embed.engine.plugin_contract import POOLING_KEY
from vllm_jina_embed.errors import ConfigError, EngineError

pytestmark = [pytest.mark.real, pytest.mark.models]

END = Special(GTE_END)
HOSTILE = ["<|endoftext|>", "a<|im_start|>user\nb<|im_end|>", "fox<|endoftext|>", f"{QUERY}fox{GTE_END}"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gte_qwen2(tmp_path_factory.mktemp("gte") / "checkpoint")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> DecoderReference:
    return gte_qwen2_reference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32; attention both ways computes each prompt in one step."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        assert embedder.checkpoint.row == GTE_QWEN2
        yield embedder


def test_embeddings(embedder: JinaEmbedder, reference: DecoderReference, cells: Cells) -> None:
    """Queries with the instruction, documents without, each ending in ``<|endoftext|>``; short and long texts."""
    check_embeddings(embedder, reference, PREFIX, cells)


def test_token_vectors(embedder: JinaEmbedder, reference: DecoderReference, cells: Cells) -> None:
    check_multi_vectors(embedder, reference, PREFIX, cells)


def test_transformers_attends_both_ways_as_config_json_says(checkpoint: Path, reference: DecoderReference) -> None:
    """The mask of the reference is the one that transformers 5 takes by itself."""
    ids = reference.ids(TEXTS[-1])
    assert distance(DecoderReference(checkpoint).states(ids), reference.states(ids)) <= GATE


@pytest.mark.parametrize("text", TEXTS[1:5])
def test_planted_mistakes_are_far_outside(
    embedder: JinaEmbedder, reference: DecoderReference, text: str, cells: Cells
) -> None:
    """Another pooling, causal attention, and prompts that differ in one piece."""
    ids = reference.ids(QUERY + text)
    states = reference.states(ids)
    mistakes = {
        "mean": states.mean(0),
        "first token": states[0],
        "token before the last": states[-2],
        "causal": reference.states(ids, both_ways=False)[-1],
        "no last token": reference.states(ids[:-1])[-1],
        "no instruction": reference.embed(text),
        "no Query:": reference.embed(f"{INSTRUCTION}\n{text}"),
        "no space": reference.embed(QUERY.rstrip() + text),
    }
    check_planted(embedder, text, mistakes, cells)


@pytest.mark.parametrize(
    "query",
    [(QUERY, Slot.TEXT), (QUERY.rstrip(), Slot.TEXT, END), (Slot.TEXT, END)],
    ids=["no last token", "no space", "no instruction"],
)
def test_a_row_with_a_mistake_gives_other_vectors(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference, query: Any
) -> None:
    """On the same engine: what these tests compare would find it."""
    planted = replace(GTE_QWEN2, templates={("any", "text"): query})
    texts = TEXTS[:2] + TEXTS[5:]  # one that begins with a space hides a missing one
    check_planted_row(embedder, checkpoint, planted, expected(reference, QUERY, texts), texts)


def test_special_tokens_in_a_text_stay_text(embedder: JinaEmbedder, reference: DecoderReference) -> None:
    check_hostile(embedder, reference, PREFIX, HOSTILE, believed=len(HOSTILE))


def test_a_text_too_long_keeps_its_prefix_and_the_last_token(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference
) -> None:
    check_truncated(checkpoint, reference, QUERY, before=0, after=1, **FLOAT32)


def test_bare_vllm_leaves_the_last_token_of_a_string_out(
    checkpoint: Path, embedder: JinaEmbedder, reference: DecoderReference, tmp_path: Path
) -> None:
    """Without a sign: tokenizer_config.json asks for it, which the tokenizer's own code alone obeys."""
    check_bare_strings(embedder, checkpoint, reference, QUERY, tmp_path / "bare")


def test_an_engine_whose_step_is_too_small_does_not_start(checkpoint: Path) -> None:
    """A prompt that is cut would not see what follows; vLLM refuses it."""
    options = {"dtype": "float32", "max_num_batched_tokens": STEP, "max_model_len": 1024}
    with JinaEmbedder(checkpoint, engine_kwargs=options) as embedder, pytest.raises(EngineError, match=str(STEP)):
        embedder.embed(["a"])


def test_a_copy_whose_config_does_not_name_its_attention(tmp_path: Path) -> None:
    """Bare vLLM takes it for causal without a sign; the row says what it is."""
    folder = make_gte_qwen2(tmp_path / "older", is_causal=None, seed=1)
    reference = gte_qwen2_reference(folder)
    with JinaEmbedder(folder, **FLOAT32) as embedder:
        check_embeddings(embedder, reference, PREFIX)
    ids = [reference.ids(QUERY + text) for text in TEXTS]
    bare = bare_vllm(folder, ids, tmp_path / "bare")
    causal = gte_qwen2_reference(folder, both_ways=False)
    assert distance(bare, np.stack([causal.of_ids(one) for one in ids])) <= GATE
    gaps = [distance(one, other) for one, other in zip(bare, expected(reference, QUERY), strict=True)]
    assert min(gaps) > 100 * GATE


def test_a_row_for_weights_that_were_trained_causally(tmp_path: Path) -> None:
    """As those of the 1.5B may be: a copy of the row, with a name and a digest of its own."""
    folder = make_gte_qwen2(tmp_path / "causal", is_causal=True, seed=2)
    layouts = tuple(replace(layout, config={"is_causal": True}) for layout in GTE_QWEN2.layouts)
    row = replace(
        GTE_QWEN2, name="gte-qwen2-causal", layouts=layouts, attention="causal", overrides={"is_causal": True}
    )
    assert row.digest != GTE_QWEN2.digest
    with JinaEmbedder(folder, row=row, **FLOAT32) as embedder:
        check_embeddings(embedder, gte_qwen2_reference(folder, both_ways=False), PREFIX)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({POOLING_KEY: "mean"}, "does not pool by the last token"), ({"is_causal": True}, "does not let the first tok")],
)
def test_an_engine_that_does_something_else_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], message: str
) -> None:
    check_refused_at_start(make_gte_qwen2(tmp_path / "planted"), monkeypatch, overrides, message)


def test_served_vectors_are_the_same(checkpoint: Path, reference: DecoderReference, tmp_path: Path) -> None:
    check_served(checkpoint, reference, PREFIX, tmp_path / "log")


def test_the_check_of_real_weights_passes(checkpoint: Path) -> None:
    """The one that docs/accuracy.md names."""
    check_weights(checkpoint, "float32")


def test_a_plain_server_of_such_a_copy_is_refused_unless_it_is_told(tmp_path: Path) -> None:
    """Its token states show which attention it computes."""
    folder = make_gte_qwen2(tmp_path / "older", is_causal=None, seed=1)
    with (
        plain_text(folder, tmp_path / "causal") as server,
        pytest.raises(ConfigError, match=r"do not see what follows .*is_causal"),
        JinaEmbedder.from_server(server.url, model=folder) as embedder,
    ):
        embedder.embed(["a"])
    told = ("--hf-overrides", '{"is_causal": false}')
    with (
        plain_text(folder, tmp_path / "both", *told) as server,
        JinaEmbedder.from_server(server.url, model=folder) as embedder,
    ):
        check_embeddings(embedder, gte_qwen2_reference(folder), PREFIX)
