"""What IngestionPipeline and its cache demand of an embedding of texts and images, on the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from tests.support.images import encoded, noise
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_document, image_node, unified_retriever

pytestmark = pytest.mark.real

IMAGES = TEXTS = 500


class CountingEngine:
    """The running engine, and how many prompts it was asked for."""

    def __init__(self, engine: Any) -> None:
        self._engine, self.prompts = engine, 0

    async def embed(self, *args: Any, **keywords: Any) -> Any:
        self.prompts += 1
        return await self._engine.embed(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


@pytest.fixture
def engine(demo_embedder: JinaEmbedder) -> Iterator[CountingEngine]:
    with JinaEmbedder("demo") as embedder:
        embedder.embed_queries(["start"])
        yield CountingEngine(embedder.backend.engine)


@pytest.fixture
def embedding(engine: CountingEngine) -> Iterator[VllmJinaEmbedding]:
    with JinaEmbedder("demo") as embedder:
        embedder.embed_queries(["start"])
        embedder.backend.engine = engine  # type: ignore[assignment]
        yield VllmJinaEmbedding(embedder=embedder)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("many")
    for number in range(IMAGES):
        (folder / f"{number}.png").write_bytes(encoded(noise(56 + number % 3 * 28, 56, seed=number)))
    return [folder / f"{number}.png" for number in range(IMAGES)]


def thousand(files: list[Path]) -> list[BaseNode]:
    """Images and texts in turn, half of the images by path and half inside their node."""
    nodes: list[BaseNode] = []
    for number, path in enumerate(files):
        nodes.append(image_node(path if number % 2 else path.read_bytes(), thumbnail=False))
        nodes.append(TextNode(text=f"Text number {number} speaks of {number * 7} things."))
    return nodes


def vectors(nodes: Any) -> np.ndarray:
    return np.array([node.embedding for node in nodes])


def names(nodes: Any) -> list[str]:
    return [node.get_content(MetadataMode.ALL) for node in nodes]


@pytest.mark.wide
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_a_thousand_nodes_are_computed_once(
    embedding: VllmJinaEmbedding, engine: CountingEngine, files: list[Path], tmp_path: Path, mode: str
) -> None:
    """The second run, of new nodes in a new pipeline with the cache from disk, computes nothing and loses nothing."""

    async def run(pipeline: IngestionPipeline) -> Any:
        nodes = thousand(files)
        return pipeline.run(nodes=nodes) if mode == "sync" else await pipeline.arun(nodes=nodes)

    first = IngestionPipeline(transformations=[embedding])
    once = await run(first)
    assert engine.prompts == len(once) == IMAGES + TEXTS
    first.persist(str(tmp_path))
    second = IngestionPipeline(transformations=[embedding])
    second.load(str(tmp_path))
    twice = await run(second)
    assert engine.prompts == IMAGES + TEXTS, "the second run computed something"
    assert len(twice) == IMAGES + TEXTS
    assert (vectors(once) == vectors(twice)).all()
    assert names(once) == names(twice) == names(thousand(files))
    assert [type(node) for node in twice] == [ImageNode, TextNode] * IMAGES
    for number in (0, 1, 499):
        assert twice[2 * number].resolve_image() is not None
        expected = embedding.get_image_embedding(files[number])
        assert np.dot(expected, twice[2 * number].embedding) == pytest.approx(1, abs=1e-5)
        other = embedding.get_image_embedding(files[(number + 1) % IMAGES])
        assert np.dot(other, twice[2 * number].embedding) < 1 - 1e-5


def test_another_setting_is_another_entry(embedding: VllmJinaEmbedding, engine: CountingEngine) -> None:
    """The cache's key holds what decides a vector."""
    pipeline = IngestionPipeline(transformations=[embedding])
    pipeline.run(nodes=[TextNode(text="a")])
    with VllmJinaEmbedding("demo", dimensions=32) as small:
        pipeline.transformations = [small]
        (node,) = pipeline.run(nodes=[TextNode(text="a")])
    assert len(node.embedding) == 32


def test_a_changed_file_is_embedded_again(embedding: VllmJinaEmbedding, engine: CountingEngine, tmp_path: Path) -> None:
    """A path alone would get the old image's embedding."""
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), embedding])
    found = []
    for seed in (1, 2, 1):
        (tmp_path / "a.png").write_bytes(encoded(noise(56, 56, seed=seed)))
        found.append(pipeline.run(documents=[image_document(tmp_path / "a.png", doc_id="a")])[0].embedding)
    assert engine.prompts == 2
    assert found[0] == found[2] != found[1]


def test_upserts_follow_the_content_of_a_file(
    embedding: VllmJinaEmbedding, engine: CountingEngine, tmp_path: Path
) -> None:
    """With a docstore and a vector store: an unchanged document is skipped, a changed one replaces the old."""
    store = SimpleVectorStore()
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), embedding],
        docstore=SimpleDocumentStore(),
        vector_store=store,
        docstore_strategy=DocstoreStrategy.UPSERTS,
    )

    def run(seed: int) -> int:
        (tmp_path / "a.png").write_bytes(encoded(noise(56, 56, seed=seed)))
        documents = [image_document(tmp_path / "a.png", doc_id="a"), Document(text="b", doc_id="b")]
        return len(pipeline.run(documents=documents))

    assert [run(1), run(1), run(2)] == [2, 0, 1]
    assert engine.prompts == 3
    assert len(store.data.embedding_dict) == 2


def test_a_pipeline_fills_a_store_that_an_index_then_asks(
    embedding: VllmJinaEmbedding, files: list[Path], tmp_path: Path
) -> None:
    """Ingestion here, retrieval there, by a store that keeps texts."""
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    store = ChromaVectorStore(chromadb.PersistentClient(str(tmp_path)).get_or_create_collection("items"))
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), embedding], vector_store=store)
    pipeline.run(documents=[image_document(files[0]), image_document(files[1]), Document(text="a text")])
    index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
    found = unified_retriever(index, similarity_top_k=9).retrieve(embedding.image_query(files[1]))
    assert len(found) == 3
    assert found[0].node.image_path == str(files[1])


async def test_num_workers_of_the_embedding_runs_batches_at_once(
    demo_embedder: JinaEmbedder, files: list[Path]
) -> None:
    """That of the embedding, which are coroutines, unlike the pipeline's, which are processes."""
    with VllmJinaEmbedding("demo", embed_batch_size=5, num_workers=3) as embedding:
        rows = np.array(await embedding.aget_image_embedding_batch(files[:23]))
    assert ((rows * demo_embedder.embed_images(files[:23])).sum(axis=1) > 1 - 1e-5).all()
