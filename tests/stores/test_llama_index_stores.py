"""Ten images and ten texts in every vector store of LlamaIndex: one ranking, the same as brute force.

The demo checkpoint on the real engine; ``demo_embedder`` keeps the one engine alive.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import Document, QueryBundle, StorageContext, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import ImageNode

from tests.support.llama_index_stores import STORES, Place, qdrant
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.demo.concepts import CONCEPTS
from vllm_jina_embed.demo.drawing import UNSEEN_SEED, draw
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_document, unified_retriever

pytestmark = [pytest.mark.real, pytest.mark.wide]

SHOWN = [concept for concept in CONCEPTS if concept.startswith(("red", "blue"))][:10]
TOLD = SHOWN[5:] + [concept for concept in CONCEPTS if concept.startswith("green")][:5]


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path, demo_embedder: JinaEmbedder) -> Place:
    make, module = STORES[request.param]
    importlib.import_module(module)  # a store that is not installed is a failure, not a skip
    found: Place = make(tmp_path / "store", demo_embedder.dimensions)
    return found


@pytest.fixture
def embedding(demo_embedder: JinaEmbedder) -> Iterator[VllmJinaEmbedding]:
    with VllmJinaEmbedding("demo") as embedding:
        yield embedding


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawings")
    for number, concept in enumerate(SHOWN):
        draw(concept, seed=UNSEEN_SEED + number, size=(140, 112)).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(len(SHOWN))]


@pytest.fixture(scope="module")
def documents(files: list[Path]) -> list[Document]:
    """Half of the images by their path, half inside the document."""
    sources = [path if number % 2 else path.read_bytes() for number, path in enumerate(files)]
    images = [image_document(source, doc_id=f"image {n}") for n, source in enumerate(sources)]
    return [*images, *(Document(text=f"A {concept}.", doc_id=f"text {n}") for n, concept in enumerate(TOLD))]


class BruteForce:
    """Every score by numpy."""

    def __init__(self, embedder: JinaEmbedder, files: list[Path], documents: list[Document]) -> None:
        texts = [document.text for document in documents[len(files) :]]
        self.rows = np.concatenate([embedder.embed_images(files), embedder.embed_passages(texts)])
        self.names = [document.doc_id for document in documents]

    def ranks(self, query: np.ndarray) -> list[str]:
        return [self.names[row] for row in np.argsort(-(self.rows @ query), kind="stable")]


@pytest.fixture(scope="module")
def brute_force(demo_embedder: JinaEmbedder, files: list[Path], documents: list[Document]) -> BruteForce:
    return BruteForce(demo_embedder, files, documents)


def ranks(index: VectorStoreIndex, query: str | QueryBundle) -> list[str | None]:
    """Every document that the index finds, best first."""
    return [found.node.ref_doc_id for found in unified_retriever(index, similarity_top_k=50).retrieve(query)]


def test_one_ranking_of_texts_and_images(
    place: Place,
    embedding: VllmJinaEmbedding,
    demo_embedder: JinaEmbedder,
    brute_force: BruteForce,
    files: list[Path],
    documents: list[Document],
) -> None:
    """By text, by image, by vector; after a deletion; after the store was opened again, with the images in it."""
    index = VectorStoreIndex.from_documents(
        documents,
        transformations=[SentenceSplitter(), embedding],
        embed_model=embedding,
        storage_context=StorageContext.from_defaults(vector_store=place.make()),
    )
    image = draw(SHOWN[3], seed=UNSEEN_SEED + 77, size=(112, 140))
    questions = ["a red circle", TOLD[-1], SHOWN[7]]
    by_text = dict(zip(questions, demo_embedder.embed_queries(questions), strict=True))
    by_image = demo_embedder.embed_images([image])[0]

    def check(index: VectorStoreIndex, missing: set[str]) -> None:
        def expected(query: np.ndarray) -> list[str]:
            return [name for name in brute_force.ranks(query) if name not in missing]

        for question, vector in by_text.items():
            assert ranks(index, question) == expected(vector)
        assert ranks(index, embedding.image_query(image)) == expected(by_image)
        by_vector = QueryBundle("", embedding=brute_force.rows[4].tolist())
        assert ranks(index, by_vector) == expected(brute_force.rows[4])

    check(index, missing=set())
    place.delete(index, "image 4")
    place.delete(index, "text 2")
    check(index, missing={"image 4", "text 2"})
    if place.reopen is None:
        return
    again = place.reopen(index, embedding)
    check(again, missing={"image 4", "text 2"})
    for number in (2, 3):
        best = unified_retriever(again, similarity_top_k=1).retrieve(embedding.image_query(files[number]))[0]
        assert isinstance(best.node, ImageNode)
        kept = best.node.resolve_image()
        assert embedding.image_query(kept).embedding == pytest.approx(brute_force.rows[number].tolist(), abs=1e-5)


def test_the_plain_retriever_hides_texts_where_the_store_keeps_them(
    embedding: VllmJinaEmbedding, documents: list[Document]
) -> None:
    """Why unified_retriever exists: as_retriever() asks Qdrant for the nodes that the index noted, the images."""
    index = VectorStoreIndex.from_documents(
        [*documents[8:10], *documents[-2:]],
        transformations=[SentenceSplitter(), embedding],
        embed_model=embedding,
        storage_context=StorageContext.from_defaults(vector_store=qdrant(Path(), embedding.dimension).make()),
    )
    plain = index.as_retriever(similarity_top_k=9).retrieve("a text")
    assert {found.node.ref_doc_id for found in plain} == {"image 8", "image 9"}, "LlamaIndex has mended this"
    assert set(ranks(index, "a text")) == {"image 8", "image 9", "text 8", "text 9"}
