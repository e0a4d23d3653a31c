"""The encoder of mteb on the real engine: mteb's own check of models, and retrieval over the demo's images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import mteb
import numpy as np
import pytest
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.mocks.mock_run import get_compatible_mock_tasks, is_dependency_error
from mteb.results.task_result import TaskError
from mteb.types import PromptType

from tests.support.images import noise
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.corpus import demo_corpus
from vllm_jina_embed.engine.pool import running_engines
from vllm_jina_embed.mteb import VllmJinaEncoder, _rows, task_of

pytestmark = [pytest.mark.real, pytest.mark.wide]

TEXTS = ["a red circle", "ein blauer Stern", "def add(a, b): return a + b"]
IMAGES = [noise(84, 84, seed=seed) for seed in range(3)]
TASKS = ("retrieval", "text-matching", "code")


@pytest.fixture(scope="module")
def encoder(demo_embedder: JinaEmbedder) -> Iterator[VllmJinaEncoder]:
    with VllmJinaEncoder("demo") as encoder:
        yield encoder


class DemoImages(AbsTaskRetrieval):
    """Questions in five languages to the demo's images, which training never saw."""

    metadata = TaskMetadata(
        name="DemoImages",
        description="Questions in five languages to drawings.",
        type="DocumentUnderstanding",
        category="t2i",
        modalities=["text", "image"],
        dataset={"path": "none", "revision": "none"},
        eval_splits=["test"],
        eval_langs=["eng-Latn", "deu-Latn", "jpn-Jpan", "spa-Latn", "zho-Hans"],
        main_score="recall_at_1",
    )

    def load_data(self, **_: Any) -> None:
        corpus = demo_corpus(0)
        images = [item for item in corpus.items if item.is_image]
        queries = [query for query in corpus.queries if not query.is_image]
        found = RetrievalSplitData(
            queries=Dataset.from_list([{"id": query.name, "text": query.content} for query in queries]),
            corpus=Dataset.from_dict(
                {"id": [item.name for item in images], "image": [item.content for item in images]}
            ),
            relevant_docs={q.name: {p.name: 1 for p in images if p.concept == q.concept} for q in queries},
            top_ranked=None,
        )
        self.dataset = {"default": {"test": found}}
        self.data_loaded = True


def metadata(kind: str = "Retrieval", domains: list[str] | None = None, languages: tuple[str, ...] = ("eng",)) -> Any:
    return SimpleNamespace(type=kind, domains=domains, languages=list(languages))


def test_mteb_finds_no_fault(encoder: VllmJinaEncoder) -> None:
    """Every mock task for texts and images runs, none is skipped, none touches the network."""
    before = running_engines()
    results = mteb.mock_run(encoder)
    errors = {name: status.exception for name, status in results.items() if isinstance(status, TaskError)}
    skipped = {
        name for name, status in results.items() if isinstance(status, TaskError) and is_dependency_error(status)
    }
    assert results.all_passed, errors
    assert skipped == set(), errors
    passed = [name for name, status in results.items() if status is not None]
    assert set(passed) == {task.metadata.name for task in get_compatible_mock_tasks(encoder)}
    assert len(passed) >= 40
    assert running_engines() == before


def test_retrieval_over_the_demos_images(encoder: VllmJinaEncoder, demo_embedder: JinaEmbedder) -> None:
    """The recall that mteb measures is the one of brute force."""
    result = mteb.evaluate(encoder, DemoImages(), cache=None, show_progress_bar=False)
    (score,) = result.task_results[0].scores["test"]
    corpus = demo_corpus(0)
    images = [item for item in corpus.items if item.is_image]
    queries = [query for query in corpus.queries if not query.is_image]
    scores = demo_embedder.embed_queries([query.content for query in queries]) @ (
        demo_embedder.embed_images([item.content for item in images]).T
    )
    hits = [images[best].concept == query.concept for best, query in zip(scores.argmax(axis=1), queries, strict=True)]
    assert score["recall_at_1"] == pytest.approx(np.mean(hits), abs=0.003)
    assert score["recall_at_1"] >= 0.95


def test_prompt_types_are_roles(encoder: VllmJinaEncoder, demo_embedder: JinaEmbedder) -> None:
    """Documents get the passage prefix; questions, and what has no type, the query prefix."""
    queries, passages = demo_embedder.embed_queries(TEXTS), demo_embedder.embed_passages(TEXTS)
    assert (1 - (queries * passages).sum(axis=1)).min() > 2e-5
    for prompt_type, expected in ((PromptType.query, queries), (PromptType.document, passages), (None, queries)):
        found = encoder.encode([{"text": TEXTS}], task_metadata=metadata(), prompt_type=prompt_type)
        assert (1 - (found * expected).sum(axis=1)).max() < 1e-6


def test_a_row_of_text_and_image_is_the_normalised_sum(encoder: VllmJinaEncoder, demo_embedder: JinaEmbedder) -> None:
    """A row that lacks one of them is the other alone, and one without either is zero, which a warning counts."""
    texts, images = demo_embedder.embed_passages(TEXTS), demo_embedder.embed_images(IMAGES)
    batches = [
        {"text": TEXTS[:2], "image": IMAGES[:2]},
        {"text": [TEXTS[2], " ", ""], "image": [None, IMAGES[2], None]},
    ]
    with pytest.warns(UserWarning, match="1 of 5 rows are empty"):
        found = encoder.encode(batches, task_metadata=metadata(), prompt_type=PromptType.document)
    sums = texts[:2] + images[:2]
    expected = np.vstack([sums / np.linalg.norm(sums, axis=1, keepdims=True), texts[2], images[2], 0 * texts[0]])
    assert found.shape == (5, demo_embedder.dimensions)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.fire
def test_no_nan_reaches_a_ranking() -> None:
    """With ``on_error="skip"`` a bad item counts as none, in a row with a good one too."""
    bad, good = np.full(2, np.nan, np.float32), np.array([0.6, 0.8], np.float32)
    rows = _rows(np.stack([bad, good, bad, good, bad, bad]), [1, 1, 2, 2])
    np.testing.assert_allclose(rows, [[0, 0], good, good, [0, 0]])


def test_tasks_of_mteb_are_tasks_of_the_checkpoint(encoder: VllmJinaEncoder, demo_embedder: JinaEmbedder) -> None:
    """A checkpoint merged for one task keeps its own; text-matching gives both roles the query prefix."""
    assert task_of(metadata("DocumentUnderstanding"), TASKS, "jina-v4") == "retrieval"
    assert (
        task_of(metadata("STS"), TASKS, "jina-v4")
        == task_of(metadata("PairClassification"), TASKS, "jina-v4")
        == "text-matching"
    )
    assert task_of(metadata(domains=["Programming"]), TASKS, "jina-v4") == "code"
    assert task_of(metadata("STS", languages=("python",)), TASKS, "jina-v4") == "code"
    assert task_of(metadata("STS"), ("retrieval",), "jina-v4") == "retrieval"
    found = encoder.encode([{"text": TEXTS}], task_metadata=metadata("STS"), prompt_type=PromptType.document)
    assert (1 - (found * demo_embedder.embed_queries(TEXTS)).sum(axis=1)).max() < 1e-6


def test_a_task_that_is_given_holds_for_everything(demo_embedder: JinaEmbedder) -> None:
    """Also where mteb's task asks for another."""
    with VllmJinaEncoder("demo", task="retrieval") as encoder, warnings.catch_warnings():
        warnings.simplefilter("error")
        found = encoder.encode([{"text": TEXTS}], task_metadata=metadata("STS"), prompt_type=PromptType.document)
    assert (1 - (found * demo_embedder.embed_passages(TEXTS)).sum(axis=1)).max() < 1e-6


def test_results_of_other_settings_are_kept_apart(encoder: VllmJinaEncoder) -> None:
    """mteb files results under name, revision and settings."""
    published = VllmJinaEncoder("jinaai/jina-embeddings-v4-vllm-retrieval", revision="a" * 40).mteb_model_meta
    assert (published.name, published.revision) == ("jinaai/jina-embeddings-v4-vllm-retrieval", "a" * 40)
    assert published.embed_dim == 2048
    metas = [encoder.mteb_model_meta, *(VllmJinaEncoder("demo", dimensions=size).mteb_model_meta for size in (32, 64))]
    assert len({(meta.name, meta.revision, meta.experiment_name) for meta in metas}) == 3
    assert metas[0].name == "vllm-jina-embed/demo"


def test_the_benchmarks_that_the_docs_name_exist() -> None:
    """In the mteb that is installed, with texts and images alone."""
    for name, tasks in (("ViDoRe(v1)", 10), ("JinaVDR", 43)):
        found = mteb.get_benchmark(name).tasks
        assert len(found) == tasks
        assert {modality for task in found for modality in task.metadata.modalities} == {"text", "image"}


@pytest.mark.fire
def test_what_stands_under_text_is_a_text(encoder: VllmJinaEncoder, demo_embedder: JinaEmbedder) -> None:
    """Collections of code hold data URIs, whole and with a parameter."""
    texts = [f"data:image/png;base64,{'A' * 40}", f"data:image/png;charset=utf-8;base64,{'A' * 40}"]
    metadata = SimpleNamespace(domains=[], languages=["eng"], type="Retrieval")
    found = encoder.encode([{"text": texts}], task_metadata=metadata, prompt_type=PromptType.document)
    assert (1 - (found * demo_embedder.embed_passages(texts)).sum(axis=1)).max() < 1e-5
