"""bge-m3 with the layers of its own library: dense vectors, multi-vectors and token weights; mistakes fall outside.

Reference: FlagEmbedding, M3Embedder, on transformers: ``colbert_linear`` of all states but the first one, normalised;
``relu(sparse_linear)``, of each id the largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.cells import Cells
from tests.support.planted import tell_vllm
from tests.support.reference import distance
from tests.support.servers import served
from tests.support.xlm_roberta import HIDDEN, XlmReference, make_xlm_roberta, unit
from tests.unit.scoring.test_maxsim import by_definition
from vllm_jina_embed import JinaEmbedder, MaxSimReranker, TokenLayer
from vllm_jina_embed.checkpoints.table.bge import BGE_M3_COLBERT
from vllm_jina_embed.engine.plugin_contract import PROJECTOR_KEY, WEIGHTS_KEY
from vllm_jina_embed.errors import ConfigError, EngineError

pytestmark = [pytest.mark.real, pytest.mark.models]

GATE = 1e-5
ROW = {"row": "bge-m3-colbert", "engine_kwargs": {"dtype": "float32"}}
TEXTS = [
    "a",
    "fox",
    "the quick brown fox jumps over the lazy dog, the dog",
    "Ein wunderschöner Sonnenuntergang am Strand",
    "浜辺に沈む美しい夕日 🙂",
    "the quick brown fox " * 3,
]
QUESTION = "which animal jumps over a dog?"
SKIPPED = (0, 1, 2, 3)
"""Ids of ``<s>``, ``<pad>``, ``</s>`` and ``<unk>``."""


class M3Reference(XlmReference):
    """bge-m3's three outputs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.layers = {
            name: torch.load(folder / f"{name}.pt", weights_only=True) for name in ("colbert_linear", "sparse_linear")
        }

    def linear(self, name: str, states: np.ndarray) -> np.ndarray:
        layer = self.layers[name]
        found: np.ndarray = states @ layer["weight"].numpy().T + layer["bias"].numpy()
        return found

    def of_text(self, text: str) -> np.ndarray:
        return self.states(self.ids(text))

    def colbert(self, text: str) -> np.ndarray:
        return unit(self.linear("colbert_linear", self.of_text(text)[1:]))

    def lexical_weights(self, text: str) -> dict[int, float]:
        found: dict[int, float] = {}
        weights = np.maximum(self.linear("sparse_linear", self.of_text(text))[:, 0], 0).tolist()
        for one, weight in zip(self.ids(text), weights, strict=True):
            if one not in SKIPPED and weight > found.get(one, 0):
                found[one] = weight
        return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_xlm_roberta(tmp_path_factory.mktemp("m3") / "bge-m3")


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> M3Reference:
    return M3Reference(checkpoint)


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Iterator[JinaEmbedder]:
    """The row that has all three, on one engine in float32."""
    with JinaEmbedder(checkpoint, **ROW) as embedder:  # type: ignore[arg-type]
        yield embedder


def test_dense_vectors_are_those_of_the_other_row(embedder: JinaEmbedder, reference: M3Reference, cells: Cells) -> None:
    right = [reference.embed(text) for text in TEXTS]
    assert cells.measure(BGE_M3_COLBERT, "dense", TEXTS, embedder.embed(TEXTS), right) <= GATE


def test_multi_vectors_are_the_trained_ones(embedder: JinaEmbedder, reference: M3Reference, cells: Cells) -> None:
    """Without a row of ``<s>``, with one of ``</s>``."""
    got, right = embedder.embed_multi_vector(TEXTS), [reference.colbert(text) for text in TEXTS]
    assert [rows.shape for rows in got] == [(len(reference.ids(text)) - 1, HIDDEN) for text in TEXTS]
    assert cells.measure(BGE_M3_COLBERT, "multi", TEXTS, got, right) <= GATE
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(got), axis=1), 1, atol=1e-6)


def test_a_second_look_ranks_by_the_references_rows(embedder: JinaEmbedder, reference: M3Reference) -> None:
    """MaxSim by two loops; its order is another one than that of the dense vectors."""
    (scores,) = by_definition([reference.colbert(QUESTION)], [reference.colbert(text) for text in TEXTS])
    second = MaxSimReranker(embedder).rerank(QUESTION, TEXTS)
    assert [hit.position for hit in second] == list(np.argsort(-scores))
    assert [hit.score for hit in second] == pytest.approx(sorted(scores, reverse=True), abs=1e-4)
    assert list(np.argsort(-embedder.score([QUESTION], TEXTS)[0])) != list(np.argsort(-scores))


def test_token_weights_are_those_of_its_library(embedder: JinaEmbedder, reference: M3Reference) -> None:
    """The same ids, and of each the same number."""
    seen = 0
    for text, weights in zip(TEXTS, embedder.embed_sparse(TEXTS), strict=True):
        right = reference.lexical_weights(text)
        assert weights.keys() == right.keys()
        for one, weight in weights.items():
            assert weight == pytest.approx(right[one], rel=1e-4, abs=1e-5)
        seen += len(weights)
    assert seen > 20


def test_planted_mistakes_are_far_outside(embedder: JinaEmbedder, reference: M3Reference, cells: Cells) -> None:
    text = TEXTS[2]
    (rows,), states = embedder.embed_multi_vector([text]), reference.of_text(text)
    layer = reference.layers["colbert_linear"]
    mistakes = {
        "the states": unit(states[1:]),
        "no bias": unit(states[1:] @ layer["weight"].numpy().T),
        "states normalised first": unit(reference.linear("colbert_linear", unit(states[1:]))),
        "the last token left out": unit(reference.linear("colbert_linear", states[:-1])),
    }
    gaps = {name: distance(rows, wrong) for name, wrong in mistakes.items()}
    assert cells.planted(BGE_M3_COLBERT, gaps) > 100 * GATE, gaps
    (weights,) = embedder.embed_sparse([text])
    without = np.maximum(states @ reference.layers["sparse_linear"]["weight"].numpy().T, 0)[:, 0]
    wrong = zip(reference.ids(text), without, strict=True)
    assert max(abs(weights.get(one, 0.0) - weight) for one, weight in wrong if one not in SKIPPED) > 0.01


@pytest.mark.parametrize(
    ("key", "file", "message"),
    [
        (PROJECTOR_KEY, "other.pt", "does not project multi-vectors"),
        (WEIGHTS_KEY, "narrow.pt", "does not weigh tokens as this checkpoint needs"),
    ],
)
def test_another_layer_than_the_checkpoints_is_refused(
    checkpoint: Path, reference: M3Reference, monkeypatch: pytest.MonkeyPatch, key: str, file: str, message: str
) -> None:
    """At the start: a projector without its bias, and weights of the opposite sign."""
    sparse = reference.layers["sparse_linear"]
    planted_layers = {
        "other.pt": {"weight": reference.layers["colbert_linear"]["weight"]},
        "narrow.pt": {"weight": -sparse["weight"], "bias": sparse["bias"]},
    }
    torch.save(planted_layers[file], checkpoint / file)
    layer = TokenLayer(file=file, skips_first=key == PROJECTOR_KEY)
    tell_vllm(monkeypatch, {key: layer.plain})
    own: dict[str, Any] = {"row": ROW["row"], "engine_kwargs": {"dtype": "float32", "max_num_seqs": 7}}
    with JinaEmbedder(checkpoint, **own) as embedder, pytest.raises(EngineError, match=message):
        embedder.embed(["a"])


def test_a_server_gives_the_same_multi_vectors(checkpoint: Path, reference: M3Reference, tmp_path: Path) -> None:
    """To our client, which knows that the first token has no row; token weights are refused there."""
    options = ("--dtype", "float32", "--multi-vector", "--row", "bge-m3-colbert")
    with (
        served(str(checkpoint), tmp_path / "log", *options) as server,
        JinaEmbedder.from_server(server.url) as embedder,
    ):
        for text, rows in zip(TEXTS, embedder.embed_multi_vector(TEXTS), strict=True):
            right = reference.colbert(text)
            assert rows.shape == right.shape
            assert distance(rows, right) <= GATE
        with pytest.raises(ConfigError, match="a server gives no token weights"):
            embedder.embed_sparse(["a"])
