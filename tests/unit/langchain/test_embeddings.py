"""VllmJinaEmbeddings translates LangChain's calls, and nothing else."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from PIL import Image

from tests.support.embedders import FakeEmbedder
from vllm_jina_embed import InputError
from vllm_jina_embed.langchain import VllmJinaEmbeddings


@pytest.fixture
def fake() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def embeddings(fake: FakeEmbedder) -> VllmJinaEmbeddings:
    return VllmJinaEmbeddings(embedder=fake)


def test_stores_recognise_it(embeddings: VllmJinaEmbeddings) -> None:
    """FAISS and LlamaIndex test for the base class, so it is a subclass."""
    assert isinstance(embeddings, Embeddings)


def test_documents_are_passages_in_order(embeddings: VllmJinaEmbeddings, fake: FakeEmbedder) -> None:
    """One call of the core for the whole list, one list of floats per text."""
    assert embeddings.embed_documents(["b", "a"]) == [fake.vector("passage", "b"), fake.vector("passage", "a")]
    assert fake.calls == [("mixed passage", ["b", "a"], False)]


def test_a_query_has_the_query_role(embeddings: VllmJinaEmbeddings, fake: FakeEmbedder) -> None:
    """The same text as question and as document gives two vectors."""
    assert embeddings.embed_query("a") == fake.vector("query", "a") != embeddings.embed_documents(["a"])[0]


async def test_async_calls_await_the_core(embeddings: VllmJinaEmbeddings, fake: FakeEmbedder) -> None:
    """No thread is borrowed: every async method awaits the core's own async form."""
    assert await embeddings.aembed_documents(["a"]) == embeddings.embed_documents(["a"])
    assert await embeddings.aembed_query("a") == embeddings.embed_query("a")
    assert await embeddings.aembed_images(["a.png"]) == embeddings.embed_images(["a.png"])
    assert await embeddings.aembed_image("a.png") == embeddings.embed_image("a.png")
    assert [was_awaited for _, _, was_awaited in fake.calls] == [True, False] * 4


def test_texts_arrive_unchanged(embeddings: VllmJinaEmbeddings, fake: FakeEmbedder) -> None:
    """Line breaks and spaces are the user's; they are not tidied."""
    text = "  a\n\nb\t "
    embeddings.embed_documents([text])
    embeddings.embed_query(text)
    assert [values for _, values, _ in fake.calls] == [[text], [text]]


def test_vectors_are_lists_of_python_floats(embeddings: VllmJinaEmbeddings) -> None:
    """CacheBackedEmbeddings and several stores dump them as JSON, which refuses numpy's floats."""
    for vector in (embeddings.embed_query("a"), *embeddings.embed_documents(["a"]), embeddings.embed_image("a.png")):
        assert type(vector) is list
        assert {type(value) for value in vector} == {float}
        assert json.loads(json.dumps(vector)) == vector


async def test_nothing_in_nothing_out(embeddings: VllmJinaEmbeddings) -> None:
    """An empty list is an empty list."""
    assert embeddings.embed_documents([]) == await embeddings.aembed_documents([]) == []
    assert embeddings.embed_images([]) == await embeddings.aembed_images([]) == []
    assert embeddings.embed_image([]) == embeddings.embed_image(uris=[]) == []


@pytest.mark.parametrize("many", [["a.png", "b.png"], ("a.png", "b.png")], ids=["list", "tuple"])
async def test_embed_image_answers_in_the_shape_of_its_argument(
    embeddings: VllmJinaEmbeddings, fake: FakeEmbedder, many: Any
) -> None:
    """Chroma calls embed_image(uris=[...]), AlloyDB embed_image([...]), LangChain on AWS embed_image(one)."""
    one, two = fake.vector("image", "a.png"), fake.vector("image", "b.png")
    assert embeddings.embed_image(uris=many) == await embeddings.aembed_image(uris=many) == [one, two]
    assert embeddings.embed_image(many) == await embeddings.aembed_image(many) == [one, two]
    assert embeddings.embed_images(many) == await embeddings.aembed_images(many) == [one, two]
    assert embeddings.embed_image("a.png") == await embeddings.aembed_image("a.png") == one
    assert embeddings.embed_image(uris=["a.png"]) == [one]


@pytest.mark.parametrize(
    "image",
    [
        Path("a.png"),
        b"bytes",
        BytesIO(b"bytes"),
        Image.new("RGB", (2, 2)),
        np.zeros((2, 2, 3), dtype=np.uint8),
    ],
    ids=lambda image: type(image).__name__,
)
def test_every_kind_of_image_is_one_image(embeddings: VllmJinaEmbeddings, fake: FakeEmbedder, image: Any) -> None:
    """An array or bytes have a length too, and are still one image."""
    vector = embeddings.embed_image(image)
    assert isinstance(vector[0], float)
    assert fake.calls[0][1][0] is image


async def test_embed_image_wants_exactly_one_argument(embeddings: VllmJinaEmbeddings) -> None:
    """A call without images, or with two sets of them, is a mistake of the caller."""
    for arguments in ({}, {"image": "a.png", "uris": ["a.png"]}):
        with pytest.raises(InputError, match="exactly one"):
            embeddings.embed_image(**arguments)
        with pytest.raises(InputError, match="exactly one"):
            await embeddings.aembed_image(**arguments)


def test_a_vector_store_ranks_with_it() -> None:
    """LangChain's own in-memory store adds documents by passage and asks by query vectors."""
    fake = FakeEmbedder()
    store = InMemoryVectorStore(VllmJinaEmbeddings(embedder=fake))
    store.add_documents([Document("a"), Document("b"), Document("c")])
    found = store.similarity_search_by_vector(fake.vector("passage", "b"), k=1)
    assert [document.page_content for document in found] == ["b"]
    store.similarity_search("question", k=1)
    assert fake.calls[-1] == ("mixed query", ["question"], False)
