"""What LangChain's stores and users demand beyond the standard suites, on the demo checkpoint and the real engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from langchain_core.vectorstores import InMemoryVectorStore

from tests.support.images import encoded, noise
from vllm_jina_embed import InputError, JinaEmbedder, MediaPolicy
from vllm_jina_embed.langchain import VllmJinaEmbeddings

pytestmark = pytest.mark.real

TEXTS = ["a red circle", "浜辺に沈む美しい夕日", "ein blauer Stern", "una tabla verde", "雪山", "x", "a  b\nc"]


def assert_same(found: object, expected: object) -> None:
    """Compare unit vectors row by row; alone and in a batch they differ by the order of float32 sums."""
    left, right = np.atleast_2d(np.array(found)), np.atleast_2d(np.array(expected))
    assert left.shape == right.shape
    assert (1 - (left * right).sum(axis=1)).max() < 1e-6


@pytest.fixture
def embeddings(demo_embedder: JinaEmbedder) -> Iterator[VllmJinaEmbeddings]:
    with VllmJinaEmbeddings(model="demo") as embeddings:
        yield embeddings


async def test_every_method_gives_the_cores_vectors(
    embeddings: VllmJinaEmbeddings, demo_embedder: JinaEmbedder, tmp_path: Path
) -> None:
    """Documents are passages, queries are queries, images are images; single as batched, sync as async."""
    passages, queries = demo_embedder.embed_passages(TEXTS), demo_embedder.embed_queries(TEXTS)
    assert_same(embeddings.embed_documents(TEXTS), passages)
    assert_same([embeddings.embed_documents([text])[0] for text in TEXTS], passages)
    assert_same(await embeddings.aembed_documents(TEXTS), passages)
    assert_same([embeddings.embed_query(text) for text in TEXTS], queries)
    assert_same(await asyncio.gather(*map(embeddings.aembed_query, TEXTS)), queries)
    assert (1 - (passages * queries).sum(axis=1)).min() > 2e-5  # the two roles are not one


async def test_every_shape_of_the_image_methods(
    embeddings: VllmJinaEmbeddings, demo_embedder: JinaEmbedder, tmp_path: Path
) -> None:
    """The calls of Chroma, LanceDB and SingleStoreDB, of AlloyDB, and of users."""
    images = [noise(84, 84, seed=1), noise(160, 90, seed=2)]
    uris = [str(tmp_path / f"{number}.png") for number in range(2)]
    for image, uri in zip(images, uris, strict=True):
        image.save(uri)
    expected = demo_embedder.embed_images(images)
    assert_same(embeddings.embed_image(uris=uris), expected)
    assert_same(embeddings.embed_image(list(images)), expected)
    assert_same(embeddings.embed_images(uris), expected)
    assert_same(embeddings.embed_image(encoded(images[0])), expected[0])
    assert_same(await embeddings.aembed_image(uris=uris), expected)
    assert_same(await embeddings.aembed_images(images), expected)
    assert_same(await embeddings.aembed_image(Path(uris[1])), expected[1])


async def test_nothing_in_nothing_out(embeddings: VllmJinaEmbeddings) -> None:
    """An empty list is an empty list."""
    assert embeddings.embed_documents([]) == await embeddings.aembed_documents([]) == embeddings.embed_images([]) == []


def test_vectors_survive_json(embeddings: VllmJinaEmbeddings) -> None:
    """They are Python floats that a cache or a store can dump."""
    vector = embeddings.embed_query("x")
    assert json.loads(json.dumps(vector)) == vector


def test_concurrent_callers_get_their_own_vectors(embeddings: VllmJinaEmbeddings, demo_embedder: JinaEmbedder) -> None:
    """LangChain's default async methods are threads; ours and theirs may be mixed with any number of loops."""
    texts = TEXTS * 4

    def ask(number: int) -> list[float]:
        if number % 2:
            return asyncio.run(embeddings.aembed_query(texts[number]))
        return embeddings.embed_query(texts[number])

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(len(texts))))
    assert_same(found, demo_embedder.embed_queries(texts))


def test_a_bad_item_is_named(embeddings: VllmJinaEmbeddings) -> None:
    """A list, not one string; no empty text; no file that the policy forbids."""
    with pytest.raises(InputError, match=r"items\[1\]"):
        embeddings.embed_documents(["x", ""])
    with pytest.raises(InputError, match="expected a list"):
        embeddings.embed_documents("x")
    strict = VllmJinaEmbeddings(model="demo", media=MediaPolicy(allow_local_files=False))
    with strict, pytest.raises(InputError, match=r"images\[0\].*allows no local files"):
        strict.embed_images(["a.png"])


async def test_a_store_ranks_as_brute_force_does(embeddings: VllmJinaEmbeddings) -> None:
    """InMemoryVectorStore, asked by text in both forms and by an image's vector."""
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    matrix = np.array(embeddings.embed_documents(TEXTS))
    scores = matrix @ np.array(embeddings.embed_query("a red circle"))
    ranked = [TEXTS[i] for i in np.argsort(-scores)]
    found = store.similarity_search("a red circle", k=len(TEXTS))
    assert [document.page_content for document in found] == ranked
    found = await store.as_retriever(search_kwargs={"k": len(TEXTS)}).ainvoke("a red circle")
    assert [document.page_content for document in found] == ranked
    image = embeddings.embed_image(noise(84, 84))
    nearest = store.similarity_search_by_vector(image, k=1)[0].page_content
    assert nearest == TEXTS[int(np.argmax(matrix @ np.array(image)))]
