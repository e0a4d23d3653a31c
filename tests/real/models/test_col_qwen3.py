"""ColQwen3 with its bias: multi-vectors of texts and images against its code on transformers; mistakes fall outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.cells import Cells
from tests.support.col_qwen3 import LOW, ROWS, ColQwen3Reference, make_col_qwen3
from tests.support.images import noise
from tests.support.planted import tell_vllm
from tests.support.reference import distance
from tests.support.servers import served
from tests.support.vision import given
from tests.support.xlm_roberta import unit
from vllm_jina_embed import JinaEmbedder, TokenLayer
from vllm_jina_embed.checkpoints.table.late_interaction import COL_QWEN3
from vllm_jina_embed.engine.plugin_contract import PROJECTOR_KEY
from vllm_jina_embed.errors import ConfigError, EngineError

pytestmark = [pytest.mark.real, pytest.mark.models]

GATE = 1e-5
"""Largest 1 - cosine of any row."""
FLOAT32 = {"engine_kwargs": {"dtype": "float32"}}
LONG = "the quick brown fox " * 60
ITEMS: list[tuple[str | None, list[Any]]] = [
    ("a", []),
    ("Ein wunderschöner Sonnenuntergang am Strand", []),
    ("浜辺に沈む美しい夕日 🙂", []),
    (LONG, []),
    (None, [noise(300, 200, 1)]),
    (None, [noise(40, 60, 2)]),
    (None, [noise(1600, 1800, 3)]),
    (None, [noise(900, 90, 4)]),
    (None, [noise(100, 100, 5), noise(64, 200, 6)]),
]
"""Texts and images of an item; some images are enlarged or reduced."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_col_qwen3(tmp_path_factory.mktemp("col-qwen3") / "tomoro-colqwen3-embed-4b")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> ColQwen3Reference:
    return ColQwen3Reference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The checkpoint on one engine in float32."""
    with JinaEmbedder(checkpoint, **FLOAT32) as embedder:
        yield embedder


def expected(reference: ColQwen3Reference, text: str | None, images: list[Any]) -> np.ndarray:
    return reference.multi_vector(reference.prompt(text, len(images)), images)


@pytest.mark.parametrize("role", ["query", "passage"])
def test_multi_vectors_of_texts_and_images(
    embedder: JinaEmbedder, reference: ColQwen3Reference, cells: Cells, role: Any
) -> None:
    """Every token's row, those behind a text and of an image's patches included; in one mixed list."""
    items = [given(*item) for item in ITEMS]
    got = embedder.embed_multi_vector(items, prompt_name=role)
    assert {rows.shape[1] for rows in got} == {ROWS}
    assert cells.measure(COL_QWEN3, "multi", items, got, [expected(reference, *item) for item in ITEMS]) <= GATE
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(got), axis=1), 1, atol=1e-6)


def test_scores_are_maxsim_of_the_references_rows(embedder: JinaEmbedder, reference: ColQwen3Reference) -> None:
    """Without being asked for it."""
    (query, *_), items = ITEMS[1], [ITEMS[2], ITEMS[4], ITEMS[8]]
    got = embedder.score([query], [given(*item) for item in items])[0]
    left = expected(reference, query, [])
    np.testing.assert_allclose(got, [(left @ expected(reference, *item).T).max(1).sum() for item in items], atol=1e-4)


def test_planted_mistakes_are_far_outside(embedder: JinaEmbedder, reference: ColQwen3Reference, cells: Cells) -> None:
    """A bias left out, states normalised before, other bounds of an image, and prompts that differ in one piece."""
    image = [noise(40, 60, 2)]
    text, shown = embedder.embed_multi_vector(["the quick brown fox", *image])
    states, pictured = (
        reference.states(reference.prompt("the quick brown fox")),
        reference.states(reference.prompt(None, 1), image),
    )
    assert distance(text, reference.projected(states)) <= GATE
    assert distance(shown, reference.projected(pictured)) <= GATE
    instruction = "Describe the image.<|im_end|><|endoftext|>"
    mistakes = {
        "no bias": (text, unit(states @ reference.weight.T)),
        "no bias beside an image": (shown, unit(pictured @ reference.weight.T)),
        "states normalised first": (text, reference.projected(unit(states))),
        "a prefix": (text[:5], expected(reference, "Query: the quick brown fox", [])[:5]),
        "another image": (shown, reference.multi_vector(reference.prompt(None, 1), [noise(40, 60, 99)])),
        "patches in one line": (shown, reference.multi_vector(reference.prompt(None, 1), image, in_line=True)),
        "no assistant's end": (
            shown[-2:],
            reference.multi_vector(
                reference.prompt(None, 1).replace(instruction, "Describe the image.<|endoftext|><|im_end|>"), image
            )[-2:],
        ),
    }
    gaps = {name: distance(got, wrong) for name, (got, wrong) in mistakes.items()}
    assert cells.planted(COL_QWEN3, gaps) > 100 * GATE, gaps
    for name, wrong in {
        "no tokens behind a text": reference.multi_vector("the quick brown fox"),
        "the bounds of another processor": reference.multi_vector(
            reference.prompt(None, 1), image, size={"shortest_edge": LOW // 16, "longest_edge": LOW}
        ),
    }.items():
        assert len(wrong) not in (len(text), len(shown)), name


def test_a_checkpoint_without_a_bias_and_with_colpalis_names(tmp_path: Path) -> None:
    """``custom_text_proj`` under names of tensors without ``vlm``."""
    folder = make_col_qwen3(tmp_path / "mine", bias=False, names=("model.", "custom_text_proj"), seed=3)
    reference = ColQwen3Reference(folder)
    with JinaEmbedder(folder, **FLOAT32) as embedder:
        text, image = ITEMS[1], ITEMS[8]
        got = embedder.embed_multi_vector([given(*text), given(*image)])
    for rows, item in zip(got, (text, image), strict=True):
        assert distance(rows, expected(reference, *item)) <= GATE


def test_prompts_that_are_cut_into_steps(checkpoint: Path, reference: ColQwen3Reference) -> None:
    options = {"dtype": "float32", "max_num_batched_tokens": 48, "max_model_len": 2048, "scheduler_cls": None}
    with JinaEmbedder(checkpoint, engine_kwargs=options, max_pixels=100 * 1024) as embedder:
        got = embedder.embed_multi_vector([LONG, noise(300, 280, 9)])
    assert distance(got[0], expected(reference, LONG, [])) <= GATE
    assert distance(got[1], expected(reference, None, [noise(300, 280, 9)])) <= GATE


def test_an_engine_that_leaves_the_bias_out_is_refused(
    checkpoint: Path, reference: ColQwen3Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As vLLM's own class does: its rows are compared with those that the checkpoint's layer makes of its states."""
    torch.save({"weight": torch.from_numpy(reference.weight)}, checkpoint / "without.pt")
    tell_vllm(monkeypatch, {PROJECTOR_KEY: TokenLayer(file="without.pt").plain})
    options = {"dtype": "float32", "max_num_seqs": 7}  # equal options would get the engine that runs already
    with JinaEmbedder(checkpoint, engine_kwargs=options) as embedder, pytest.raises(EngineError, match="not project"):
        embedder.embed_multi_vector(["a"])


def test_a_server_gives_the_same(checkpoint: Path, reference: ColQwen3Reference, tmp_path: Path) -> None:
    """Texts and images over HTTP; embeddings are refused there too."""
    with ExitStack() as stack:
        server = stack.enter_context(served(str(checkpoint), tmp_path / "log", "--dtype", "float32", "--multi-vector"))
        embedder = stack.enter_context(JinaEmbedder.from_server(server.url))
        assert embedder.checkpoint.token_dimensions == ROWS
        some = [ITEMS[1], ITEMS[4], ITEMS[8]]
        for item, rows in zip(some, embedder.embed_multi_vector([given(*item) for item in some]), strict=True):
            assert distance(rows, expected(reference, *item)) <= GATE
        with pytest.raises(ConfigError, match="has a vector of each token and none of a whole item"):
            embedder.embed(["a"])
