"""What LlamaIndex's indexes and retrievers demand of an embedding of texts and images, on the real engine."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import Document, MockEmbedding, QueryBundle, StorageContext, VectorStoreIndex
from llama_index.core import load_index_from_storage as load
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import ImageNode, TextNode

from tests.support.images import encoded, noise
from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.llama_index import VllmJinaEmbedding, image_document, image_node, unified_retriever

pytestmark = pytest.mark.real

TEXTS = ["a red circle", "浜辺に沈む美しい夕日", "ein blauer Stern", "una tabla verde", "雪山"]


@pytest.fixture
def embedding(demo_embedder: JinaEmbedder) -> Iterator[VllmJinaEmbedding]:
    with VllmJinaEmbedding("demo") as embedding:
        yield embedding


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for number, size in enumerate([(84, 84), (160, 90), (60, 200)]):
        (folder / f"{number}.png").write_bytes(encoded(noise(*size, seed=number)))
    return [folder / f"{number}.png" for number in range(3)]


@pytest.fixture(scope="module")
def rows(demo_embedder: JinaEmbedder, files: list[Path]) -> np.ndarray:
    """The vectors of TEXTS, then of the images."""
    return np.concatenate([demo_embedder.embed_passages(TEXTS), demo_embedder.embed_images(files)])


def documents(files: list[Path]) -> list[Document]:
    images = [image_document(path, doc_id=str(len(TEXTS) + number)) for number, path in enumerate(files)]
    return [*(Document(text=text, doc_id=str(number)) for number, text in enumerate(TEXTS)), *images]


def build(embedding: VllmJinaEmbedding, some: list[Document], **keywords: object) -> VectorStoreIndex:
    steps = [SentenceSplitter(), embedding]
    return VectorStoreIndex.from_documents(some, transformations=steps, embed_model=embedding, **keywords)


def ranked(rows: np.ndarray, query: object) -> list[str]:
    return [str(row) for row in np.argsort(-(rows @ np.array(query)), kind="stable")]


def found(index: VectorStoreIndex, query: str | QueryBundle) -> list[str | None]:
    return [hit.node.ref_doc_id for hit in unified_retriever(index, similarity_top_k=20).retrieve(query)]


@pytest.mark.parametrize("use_async", [False, True])
def test_one_index_ranks_texts_and_images(
    embedding: VllmJinaEmbedding, files: list[Path], rows: np.ndarray, use_async: bool
) -> None:
    """Built by either way, asked by text and by image."""
    index = build(embedding, documents(files), use_async=use_async)
    assert found(index, "a red circle") == ranked(rows, embedding.get_query_embedding("a red circle"))
    assert found(index, embedding.image_query(files[1])) == ranked(rows, rows[6])


async def test_retrieving_without_blocking(embedding: VllmJinaEmbedding, files: list[Path], rows: np.ndarray) -> None:
    """The same by aretrieve."""
    retriever = unified_retriever(build(embedding, documents(files)), similarity_top_k=20)
    for query in ("a red circle", await embedding.aimage_query(files[0])):
        there = [hit.node.ref_doc_id for hit in await retriever.aretrieve(query)]
        assert there == [hit.node.ref_doc_id for hit in retriever.retrieve(query)]


def test_an_index_grows_and_is_refreshed(
    embedding: VllmJinaEmbedding, demo_embedder: JinaEmbedder, files: list[Path], rows: np.ndarray, tmp_path: Path
) -> None:
    """insert and refresh_ref_docs run the index's transformations; a file's new content is seen."""
    moving = tmp_path / "moving.png"
    moving.write_bytes(files[0].read_bytes())
    index = build(embedding, documents(files)[:3])
    index.insert(image_document(moving, doc_id="moving"))
    assert found(index, embedding.image_query(files[0]))[0] == "moving"
    assert index.refresh_ref_docs([image_document(moving, doc_id="moving")]) == [False]
    moving.write_bytes(files[2].read_bytes())
    assert index.refresh_ref_docs([image_document(moving, doc_id="moving")]) == [True]
    (hit,) = unified_retriever(index, similarity_top_k=1).retrieve(embedding.image_query(files[2]))
    assert hit.node.ref_doc_id == "moving"
    assert hit.score == pytest.approx(1, abs=1e-5)


def test_nodes_are_embedded_and_inserted(embedding: VllmJinaEmbedding, files: list[Path]) -> None:
    """insert_nodes keeps embeddings that nodes bring along, and nodes made of images are not dropped."""
    index = VectorStoreIndex(embedding([image_node(files[0], id_="a")]), embed_model=embedding)
    index.insert_nodes(embedding([image_node(files[1].read_bytes(), id_="b"), TextNode(text="c", id_="c")]))
    hits = unified_retriever(index, similarity_top_k=9).retrieve(embedding.image_query(files[1]))
    assert hits[0].node_id == "b"
    assert {hit.node_id for hit in hits} == {"a", "b", "c"}


def test_an_index_is_persisted_with_its_images(
    embedding: VllmJinaEmbedding, files: list[Path], rows: np.ndarray, tmp_path: Path
) -> None:
    """Also those without a file."""
    inline = [image_document(path.read_bytes(), doc_id=str(5 + number)) for number, path in enumerate(files)]
    build(embedding, [*documents(files)[:5], *inline]).storage_context.persist(str(tmp_path))
    index = load(StorageContext.from_defaults(persist_dir=str(tmp_path)), embed_model=embedding)
    assert found(index, embedding.image_query(files[1])) == ranked(rows, rows[6])
    (hit,) = unified_retriever(index, similarity_top_k=1).retrieve(embedding.image_query(files[1]))
    assert hit.node.resolve_image().read() == files[1].read_bytes()


def test_an_image_is_a_query_of_retrievers_that_take_strings_alone(
    embedding: VllmJinaEmbedding, files: list[Path]
) -> None:
    """As its data URI; a fusion retriever embeds the string again and drops what a bundle holds."""
    index = build(embedding, documents(files))
    fusion = QueryFusionRetriever(
        [unified_retriever(index, similarity_top_k=5)], llm=MockLLM(), num_queries=1, similarity_top_k=1
    )
    uri = f"data:image/png;base64,{base64.b64encode(files[2].read_bytes()).decode()}"
    assert [hit.node.ref_doc_id for hit in fusion.retrieve(uri)] == ["7"]


def test_a_query_engine_reads_captions(embedding: VllmJinaEmbedding, files: list[Path]) -> None:
    """And the images come with its answer as sources."""
    index = build(embedding, [image_document(files[0], caption="A caption of waves."), Document(text="other")])
    engine = RetrieverQueryEngine.from_args(unified_retriever(index, similarity_top_k=2), llm=MockLLM())
    answer = engine.query("What is there?")
    assert "A caption of waves." in str(answer)
    assert any(isinstance(hit.node, ImageNode) for hit in answer.source_nodes)


@pytest.mark.parametrize("use_async", [False, True])
def test_a_multi_modal_index_takes_the_same_object_twice(
    embedding: VllmJinaEmbedding, files: list[Path], rows: np.ndarray, use_async: bool
) -> None:
    """MultiModalVectorStoreIndex: its texts and its images, asked by text and by image."""
    nodes = [TextNode(text=text) for text in TEXTS] + [image_node(path, caption="an image") for path in files]
    with pytest.warns(UserWarning, match="texts stand for images"):  # it embeds captions beside images
        index = MultiModalVectorStoreIndex(
            nodes, embed_model=embedding, image_embed_model=embedding, use_async=use_async
        )
    retriever = index.as_retriever(image_similarity_top_k=3)
    (first, *_) = retriever.image_to_image_retrieve(str(files[1]))
    assert first.node.image_path == str(files[1])
    assert first.score == pytest.approx(1, abs=1e-5)
    order = ranked(rows[5:], embedding.get_query_embedding("a red circle"))
    hits = retriever.text_to_image_retrieve("a red circle")
    assert [str([str(path) for path in files].index(hit.node.image_path)) for hit in hits] == order


async def test_pipelines_and_other_embeddings_stay_apart(embedding: VllmJinaEmbedding) -> None:
    """Two embeddings in one process do not mix: the transformation decides."""
    nodes = await IngestionPipeline(transformations=[embedding]).arun(nodes=[TextNode(text=text) for text in TEXTS])
    others = await IngestionPipeline(transformations=[MockEmbedding(embed_dim=3)]).arun(nodes=[TextNode(text="x")])
    assert np.allclose([node.embedding for node in nodes], embedding.get_text_embedding_batch(TEXTS), atol=1e-5)
    assert len(others[0].embedding) == 3
