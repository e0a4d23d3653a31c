"""What LlamaIndex's core demands of a MultiModalEmbedding, on the demo checkpoint and the real engine.

LlamaIndex publishes no suite for embeddings; this one says it: the methods here, indexes and retrievers in
test_llama_index_indexes.py, IngestionPipeline and its cache in test_llama_index_pipeline.py.
``demo_embedder`` keeps the one engine alive.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encoded, noise
from vllm_jina_embed import InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.llama_index import VllmJinaEmbedding

pytestmark = pytest.mark.real

TEXTS = ["a red circle", "浜辺に沈む美しい夕日", "ein blauer Stern", "una tabla verde", "雪山", "x", "a  b\nc"]
ROUNDING = 1e-6
"""Largest 1 - cosine between one input alone and in a batch: float32 sums in another order."""


def assert_same(found: Any, expected: Any) -> None:
    """Compare embeddings row by row."""
    left, right = np.atleast_2d(np.array(found)), np.atleast_2d(np.array(expected))
    assert left.shape == right.shape
    assert np.abs(np.linalg.norm(left, axis=1) - 1).max() < 1e-5
    assert (1 - (left * right).sum(axis=1)).max() < ROUNDING


def assert_different(one: list[float], other: list[float]) -> None:
    """Compare two embeddings; far enough apart that rounding cannot be the reason."""
    assert 1 - np.dot(one, other) > 20 * ROUNDING


@pytest.fixture
def embedding(demo_embedder: JinaEmbedder) -> Iterator[VllmJinaEmbedding]:
    with VllmJinaEmbedding(model_name="demo") as embedding:
        yield embedding


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [noise(84, 84, seed=1), noise(160, 90, seed=2), noise(60, 200, seed=3)]


@pytest.fixture(scope="module")
def paths(images: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(len(images))]


async def test_queries_sync_and_async_are_the_cores_queries(
    embedding: VllmJinaEmbedding, demo_embedder: JinaEmbedder
) -> None:
    """The role of a query is the core's query."""
    expected = demo_embedder.embed_queries(TEXTS)
    assert_same([embedding.get_query_embedding(text) for text in TEXTS], expected)
    assert_same([await embedding.aget_query_embedding(text) for text in TEXTS], expected)


async def test_texts_single_and_batched_sync_and_async_are_the_cores_passages(
    embedding: VllmJinaEmbedding, demo_embedder: JinaEmbedder
) -> None:
    """Four ways in, one order out."""
    expected = demo_embedder.embed_passages(TEXTS)
    assert_same([embedding.get_text_embedding(text) for text in TEXTS], expected)
    assert_same([await embedding.aget_text_embedding(text) for text in TEXTS], expected)
    assert_same(embedding.get_text_embedding_batch(TEXTS), expected)
    assert_same(await embedding.aget_text_embedding_batch(TEXTS), expected)


async def test_images_single_and_batched_sync_and_async_are_the_cores_images(
    embedding: VllmJinaEmbedding, demo_embedder: JinaEmbedder, paths: list[str]
) -> None:
    """Four ways in, one order out."""
    expected = demo_embedder.embed_images(paths)
    assert_same([embedding.get_image_embedding(path) for path in paths], expected)
    assert_same([await embedding.aget_image_embedding(path) for path in paths], expected)
    assert_same(embedding.get_image_embedding_batch(paths), expected)
    assert_same(await embedding.aget_image_embedding_batch(paths), expected)


async def test_order_holds_over_batches_and_workers(demo_embedder: JinaEmbedder) -> None:
    """LlamaIndex cuts into batches and, with num_workers, runs several at once."""
    texts = [f"{text} {number}" for number in range(5) for text in TEXTS]
    expected = demo_embedder.embed_passages(texts)
    with VllmJinaEmbedding("demo", embed_batch_size=3, num_workers=4) as embedding:
        assert_same(embedding.get_text_embedding_batch(texts), expected)
        assert_same(await embedding.aget_text_embedding_batch(texts), expected)


async def test_nothing_in_nothing_out(embedding: VllmJinaEmbedding) -> None:
    """Also below LlamaIndex's public methods, which never hand on an empty list."""
    assert embedding.get_text_embedding_batch([]) == embedding.get_image_embedding_batch([]) == []
    assert await embedding.aget_text_embedding_batch([]) == await embedding.aget_image_embedding_batch([]) == []
    assert embedding._get_text_embeddings([]) == embedding._get_image_embeddings([]) == []
    assert await embedding._aget_text_embeddings([]) == await embedding._aget_image_embeddings([]) == []


def test_a_query_is_not_a_text(embedding: VllmJinaEmbedding) -> None:
    """The model has two prefixes for retrieval."""
    assert_different(embedding.get_query_embedding("a red circle"), embedding.get_text_embedding("a red circle"))


def test_text_matching_has_one_role(demo_embedder: JinaEmbedder) -> None:
    """Its queries and texts have the same prefix, so that similarity is symmetric."""
    if "text-matching" not in demo_embedder.checkpoint.tasks:
        with pytest.raises(ValueError, match="text-matching"):
            VllmJinaEmbedding("demo", task="text-matching")
        return
    with VllmJinaEmbedding("demo", task="text-matching") as embedding:
        assert_same(embedding.get_query_embedding("a red circle"), embedding.get_text_embedding("a red circle"))


def test_every_kind_of_image_that_arrives_gives_the_same_vector(
    embedding: VllmJinaEmbedding, images: list[Image.Image], paths: list[str]
) -> None:
    """LlamaIndex hands over paths and BytesIO; users also PIL images and bytes. A BytesIO is read twice."""
    file = BytesIO(encoded(images[1]))
    kinds: list[Any] = [file, Path(paths[1]), images[1], encoded(images[1]), np.asarray(images[1]), file]
    expected = embedding.get_image_embedding(paths[1])
    assert_same(embedding.get_image_embedding_batch(kinds), [expected] * len(kinds))
    assert_different(expected, embedding.get_image_embedding(paths[0]))


async def test_sync_methods_work_inside_a_running_loop(embedding: VllmJinaEmbedding) -> None:
    """A notebook has one; nothing here may call asyncio.run."""
    assert asyncio.get_running_loop().is_running()
    assert_same(embedding.get_text_embedding("x"), await embedding.aget_text_embedding("x"))


def test_threads_and_loops_may_call_at_once(embedding: VllmJinaEmbedding, demo_embedder: JinaEmbedder) -> None:
    """Every caller gets its own vector back, whichever thread or event loop it has."""
    expected = demo_embedder.embed_passages(TEXTS)

    def ask(number: int) -> list[float]:
        text = TEXTS[number % len(TEXTS)]
        if number % 2:
            return asyncio.run(embedding.aget_text_embedding(text))
        return embedding.get_text_embedding(text)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(4 * len(TEXTS))))
    assert_same(found, np.tile(expected, (4, 1)))


@pytest.mark.parametrize("dimensions", [32, 64])
def test_dimensions_hold_for_texts_and_images(embedding: VllmJinaEmbedding, paths: list[str], dimensions: int) -> None:
    """A Matryoshka size is the beginning of the full embedding, at norm 1 again, in every method."""
    with VllmJinaEmbedding("demo", dimensions=dimensions) as small:
        assert small.dimension == dimensions
        for ask, value in (("query", "x"), ("text", "x"), ("image", paths[0])):
            full = np.array(getattr(embedding, f"get_{ask}_embedding")(value))[:dimensions]
            assert_same(getattr(small, f"get_{ask}_embedding")(value), full / np.linalg.norm(full))


def test_unknown_keywords_are_refused() -> None:
    """LlamaIndex's own classes drop them in silence."""
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        VllmJinaEmbedding("demo", dimension=64)


def test_an_empty_text_is_an_error_that_names_its_position(embedding: VllmJinaEmbedding) -> None:
    """One bad item is found by its index in the list."""
    with pytest.raises(InputError, match=r"items\[1\]") as caught:
        embedding.get_text_embedding_batch(["x", " ", "y"])
    assert caught.value.positions == (1,)


def test_the_other_settings_reach_the_engine(
    demo_embedder: JinaEmbedder, paths: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A media policy refuses, skip gives the placeholder and a warning, the progress bar is drawn on stderr."""
    strict = VllmJinaEmbedding("demo", media=MediaPolicy(allow_local_files=False))
    with strict, pytest.raises(InputError, match="allows no local files"):
        strict.get_image_embedding(paths[0])
    with VllmJinaEmbedding("demo", on_error="skip") as lenient, pytest.warns(UserWarning, match=r"images\[1\]"):
        rows = np.array(lenient.get_image_embedding_batch([paths[0], "no-such.png", paths[1]]))
    assert [lenient.is_placeholder(row) for row in rows] == [False, True, False]
    assert_same(rows[[0, 2]], demo_embedder.embed_images(paths[:2]))
    capsys.readouterr()
    with VllmJinaEmbedding("demo", show_progress=True) as shown:
        shown.get_text_embedding_batch(TEXTS)
    assert f"{len(TEXTS)}/{len(TEXTS)}" in capsys.readouterr().err


def test_a_pickled_twin_gives_the_same_vectors(embedding: VllmJinaEmbedding) -> None:
    """Pickled after use, when the original holds an engine; the twin joins that engine by its settings."""
    expected = embedding.get_text_embedding("x")
    with pickle.loads(pickle.dumps(embedding)) as twin:
        assert_same(twin.get_text_embedding("x"), expected)
    assert_same(embedding.get_text_embedding("x"), expected)
