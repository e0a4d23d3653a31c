"""The demo checkpoint finds, through the real engine, what it was not trained on; and its recipe runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.concepts import CONCEPTS, SUNSET
from vllm_jina_embed.demo.corpus import DemoCorpus, DemoItem, demo_corpus
from vllm_jina_embed.demo.drawing import draw
from vllm_jina_embed.demo.phrases import LANGUAGES

pytestmark = pytest.mark.real

SEED = 20261121  # neither a seed of the recipe's own check nor of the demo


@pytest.fixture(scope="module")
def embedded(demo_embedder: JinaEmbedder) -> tuple[DemoCorpus, np.ndarray, np.ndarray]:
    corpus = demo_corpus(SEED)
    queries = demo_embedder.embed([query.content for query in corpus.queries], prompt_name="query")
    return corpus, queries, demo_embedder.embed([item.content for item in corpus.items])


def _allowed(item: DemoItem, query: DemoItem, direction: str) -> bool:
    if direction == "texts":
        return not item.is_picture and item.language != query.language
    return direction == "all" or item.is_picture


@pytest.mark.parametrize("dimensions", [128, 64, 32])
@pytest.mark.parametrize("direction", ["images", "texts", "all"])
@pytest.mark.parametrize("asker", [*LANGUAGES, None])
def test_the_nearest_item_is_right(
    embedded: tuple[DemoCorpus, np.ndarray, np.ndarray], asker: str | None, direction: str, dimensions: int
) -> None:
    corpus, queries, items = embedded
    queries, items = (
        part[:, :dimensions] / np.linalg.norm(part[:, :dimensions], axis=1, keepdims=True) for part in (queries, items)
    )
    right = []
    for query, scores in zip(corpus.queries, queries @ items.T, strict=True):
        if query.language == asker:
            allowed = np.array([_allowed(item, query, direction) for item in corpus.items])
            best = corpus.items[int(np.where(allowed, scores, -2).argmax())]
            right.append(best.concept == query.concept)
    assert len(right) == len(CONCEPTS)
    assert np.mean(right) >= 0.95


def test_the_example_sentences_find_each_other_and_the_sunset(demo_embedder: JinaEmbedder) -> None:
    sentences = ["Ein wunderschöner Sonnenuntergang am Strand", "浜辺に沈む美しい夕日"]
    queries = demo_embedder.embed_queries(sentences)
    passages = demo_embedder.embed_passages([*sentences, "Auf dem Blatt ist eine Wüste.", "紙に雪山が描いてあります。"])
    assert (queries @ passages.T)[:, :2].min() > (queries @ passages.T)[:, 2:].max()
    pictures = demo_embedder.embed_images([draw(concept, seed=SEED, size=(200, 140)) for concept in CONCEPTS])
    assert {CONCEPTS[best] for best in (queries @ pictures.T).argmax(1)} == {SUNSET}


def test_the_recipe_writes_a_checkpoint_and_refuses_one_that_finds_too_little(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vllm_jina_embed.demo.train", str(tmp_path), "--steps", "2", "--polish-steps", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    assert "The lowest recall@1 is" in done.stderr
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["steps"] == [2, 1]
    assert record["lowest_recall_at_1"] < 0.95
    shipped = {path.name for path in demo_folder().iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == shipped


def demo_folder() -> Path:
    import vllm_jina_embed.demo

    return Path(vllm_jina_embed.demo.__file__).parent / "checkpoint"
