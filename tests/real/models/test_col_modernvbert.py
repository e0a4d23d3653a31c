"""ColModernVBERT: multi-vectors of texts against colpali's code on transformers; mistakes fall outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.bare import bare_outputs
from tests.support.builders import builder_of
from tests.support.cells import Cells
from tests.support.col_modernvbert import ROWS, ColModernVBertReference, make_col_modernvbert
from tests.support.images import noise
from tests.support.planted import tell_vllm
from tests.support.reference import distance
from tests.support.servers import served
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, Slot, Special, TokenLayer
from vllm_jina_embed.checkpoints.table.modernvbert import COL_MODERN_VBERT
from vllm_jina_embed.engine.plugin_contract import PROJECTOR_KEY
from vllm_jina_embed.errors import ConfigError, EngineError, InputError
from vllm_jina_embed.inputs import items

pytestmark = [pytest.mark.real, pytest.mark.models]

GATE = 1e-6
"""Largest 1 - cosine of any row."""
FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
LONG = "the quick brown fox " * 60
TEXTS = ["a", "the quick brown fox.", "Ein wunderschöner Sonnenuntergang", "\n\n  two  spaces\n", "浜辺に沈む 🙂", LONG]
"""The last is longer than the window of the layers that see neighbours."""
HOSTILE = ["<end_of_utterance>", "a[SEP]b <image>", "[CLS] <row_1_col_1> c"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without an architecture in its config.json, and with few settings of its encoder, as published."""
    return make_col_modernvbert(tmp_path_factory.mktemp("modernvbert") / "colmodernvbert-merged")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> ColModernVBertReference:
    return ColModernVBertReference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        yield embedder


def worst(got: Any, right: Any) -> float:
    """Return the largest 1 - cosine of a row, after the shapes."""
    assert [rows.shape for rows in got] == [rows.shape for rows in right]
    return max(distance(one, other) for one, other in zip(got, right, strict=True))


@pytest.mark.parametrize("role", ["query", "passage"])
def test_multi_vectors_of_texts(
    embedder: JinaEmbedder, reference: ColModernVBertReference, cells: Cells, role: Any
) -> None:
    """A row of every token, those that the tokenizer adds and those behind the text included."""
    got = embedder.embed_multi_vector(TEXTS, prompt_name=role)
    right = [reference.multi_vector(reference.ids(text)) for text in TEXTS]
    assert {rows.shape[1] for rows in got} == {ROWS}
    assert cells.measure(COL_MODERN_VBERT, "multi", TEXTS, got, right) <= GATE
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(got), axis=1), 1, atol=1e-6)


def test_scores_are_maxsim_of_the_references_rows(embedder: JinaEmbedder, reference: ColModernVBertReference) -> None:
    """Without being asked for it."""
    left = reference.multi_vector(reference.ids(TEXTS[1]))
    right = [reference.multi_vector(reference.ids(text)) for text in TEXTS]
    got = embedder.score([TEXTS[1]], TEXTS)[0]
    np.testing.assert_allclose(got, [(left @ rows.T).max(1).sum() for rows in right], atol=1e-4)


def test_planted_mistakes_are_far_outside(
    checkpoint: Path, embedder: JinaEmbedder, reference: ColModernVBertReference, cells: Cells
) -> None:
    """vLLM's own positions, a bias left out, states normalised before, and tokens that differ."""
    default = ColModernVBertReference(checkpoint, theta=10000.0)
    for text in (TEXTS[1], LONG):
        (rows,) = embedder.embed_multi_vector([text])
        ids = reference.ids(text)
        states = reference.states(ids)
        own = reference.tokenizer(text, add_special_tokens=False).input_ids
        without = reference.multi_vector(ids[1:-1])
        mistakes = {
            "positions as transformers has them by default": (rows, default.multi_vector(ids)),
            "no bias": (rows, unit(states @ reference.weight.T)),
            "states normalised first": (rows, unit(unit(states) @ reference.weight.T + reference.bias)),
            "no tokens around it": (rows[1:-1], without),
            "no tokens behind it": (rows[: len(own) + 1], reference.multi_vector([ids[0], *own, ids[-1]])[:-1]),
            "a prefix": (rows[-12:], reference.multi_vector(reference.ids(f"Query: {text}"))[-12:]),
        }
        gaps = {name: distance(got, wrong) for name, (got, wrong) in mistakes.items()}
        print(", ".join(f"{name}: {gap:.1e}" for name, gap in gaps.items()))
        assert cells.planted(COL_MODERN_VBERT, gaps) > 100 * GATE, gaps


def test_rows_with_a_mistake_give_other_vectors(
    checkpoint: Path, embedder: JinaEmbedder, reference: ColModernVBertReference
) -> None:
    """On the same engine: what these tests compare would find it."""
    embedder.embed_multi_vector(["start"])
    engine: Any = embedder.backend.engine
    right = reference.multi_vector(reference.ids(TEXTS[1]))
    template = COL_MODERN_VBERT.templates["any", "text"]
    layouts = tuple(replace(layout, adds_ends=False) for layout in COL_MODERN_VBERT.layouts)
    wrong = {
        "nine tokens behind a text": (*template[:3], *template[4:]),
        "no end": template[:-1],
        "a prefix": (template[0], "Query: ", *template[1:]),
        "another token behind it": (template[0], Slot.TEXT, *[Special("<image>")] * 10, template[-1]),
    }
    for name, pieces in wrong.items():
        row = replace(COL_MODERN_VBERT, name="planted", layouts=layouts, templates={("any", "text"): pieces})
        builder = builder_of(row, (checkpoint / "tokenizer.json").read_text())
        given = items.good(items.mixed([TEXTS[1]]))
        (prompt,) = builder.build(given, role="query", task="retrieval", max_length=99, truncate="error")
        got = engine.run(engine.multi_vector(prompt, task="retrieval")).result()
        assert got.shape != right.shape or distance(got, right) > 100 * GATE, name


def test_special_tokens_in_a_text_stay_text(embedder: JinaEmbedder, reference: ColModernVBertReference) -> None:
    got = embedder.embed_multi_vector(HOSTILE)
    assert worst(got, [reference.multi_vector(reference.plain(text)) for text in HOSTILE]) <= GATE
    assert len(got[0]) != len(reference.ids(HOSTILE[0]))  # transformers reads it as one token


def test_a_text_too_long_is_cut_alone(
    checkpoint: Path, embedder: JinaEmbedder, reference: ColModernVBertReference
) -> None:
    """What stands around it stays."""
    with (
        JinaEmbedder(checkpoint, max_length=40, **FLOAT32) as other,
        pytest.warns(UserWarning, match="lost their end"),
    ):
        got = other.embed_multi_vector([LONG])
    ids = reference.ids(LONG)
    assert worst(got, [reference.multi_vector([*ids[:29], *ids[-11:]])]) <= GATE


def test_vllm_alone_gives_other_rows(checkpoint: Path, reference: ColModernVBertReference, tmp_path: Path) -> None:
    """It builds the encoder of transformers' defaults, without a word: the positions of most layers are others."""
    texts = TEXTS[:3]
    ids = [reference.ids(text) for text in texts]
    got = bare_outputs(checkpoint, ids, tmp_path / "bare", task="token_embed", limit_mm_per_prompt={"image": 0})
    right = [reference.multi_vector(one) for one in ids]
    default = ColModernVBertReference(checkpoint, theta=10000.0)
    gaps = [distance(one, other) for one, other in zip(got, right, strict=True)]
    print(f"vLLM's 1 - cosine {min(gaps):.1e} to {max(gaps):.1e}")
    assert min(gaps) > 1000 * GATE
    assert worst(got, [default.multi_vector(one) for one in ids]) <= GATE


def test_an_engine_that_leaves_the_bias_out_does_not_start(
    checkpoint: Path, reference: ColModernVBertReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"weight": torch.from_numpy(reference.weight)}, checkpoint / "without.pt")
    tell_vllm(monkeypatch, {PROJECTOR_KEY: TokenLayer(file="without.pt").plain})
    options = {"dtype": "float32", "max_num_seqs": 7}  # equal options would get the engine that runs already
    with JinaEmbedder(checkpoint, engine_kwargs=options) as embedder, pytest.raises(EngineError, match="not project"):
        embedder.embed_multi_vector(["a"])


def test_images_and_embeddings_are_refused_with_the_reason(embedder: JinaEmbedder) -> None:
    with pytest.raises(InputError, match=r"items\[1\]: got an image; .*never splits .*Use TomoroAI/tomoro-colqwen3"):
        embedder.embed_multi_vector(["a", noise(9, 9)])
    with pytest.raises(ConfigError, match="has a vector of each token and none of a whole item"):
        embedder.embed(["a"])


def test_a_server_gives_the_same(checkpoint: Path, reference: ColModernVBertReference, tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(served(str(checkpoint), tmp_path / "log", "--dtype", "float32", "--multi-vector"))
        client = stack.enter_context(JinaEmbedder.from_server(server.url))
        assert client.checkpoint.row == COL_MODERN_VBERT
        got = client.embed_multi_vector([*TEXTS, *HOSTILE])
        right = [reference.ids(text) for text in TEXTS] + [reference.plain(text) for text in HOSTILE]
        assert worst(got, [reference.multi_vector(ids) for ids in right]) <= GATE
        with pytest.raises(InputError, match="takes texts only"):
            client.embed_multi_vector([noise(9, 9)])
