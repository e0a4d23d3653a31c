"""A corpus in every store, opened by LangChain's and LlamaIndex's own classes: order, texts, images and metadata."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import ImageNode

from tests.support.corpus_stores import STORES, Store
from tests.support.images import encoded, noise
from tests.support.in_memory import in_memory, write_folder
from vllm_jina_embed import ConfigError, JinaEmbedder
from vllm_jina_embed.corpus import Columns, Corpus, embed_corpus, open_corpus
from vllm_jina_embed.inputs.images import open_image
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.langchain import corpus_store as langchain_store
from vllm_jina_embed.llama_index import VllmJinaEmbedding, unified_retriever
from vllm_jina_embed.llama_index import corpus_store as llama_index_store

pytestmark = pytest.mark.wide

TEXTS = [f"text {number}" for number in range(20)]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JinaEmbedder]:
    with in_memory([])(write_folder(tmp_path_factory.mktemp("model")), dimensions=32) as embedder:
        yield embedder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [{"id": f"row {text}", "text": text, "year": 1990 + number} for number, text in enumerate(TEXTS)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for seed in range(8):
        (folder / f"{seed}.png").write_bytes(encoded(noise(40, 30, seed=seed)))
    return folder


@pytest.fixture
def chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal of a server's table lies in the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest,
    source: Path,
    embedder: JinaEmbedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Store:
    """A store with the corpus, images kept."""
    monkeypatch.chdir(tmp_path)
    store = STORES[request.param](tmp_path / "db")
    columns = Columns(keep=("text", "image", "year"))
    embed_corpus(source, store.out, embedder=embedder, columns=columns, rows_per_file=16)
    return store


@pytest.fixture
def corpus(store: Store) -> Iterator[Corpus]:
    with open_corpus(store.out) as corpus:
        yield corpus


def order_of(source: Path, embedder: JinaEmbedder, query: np.ndarray) -> list[str]:
    """Return the texts and the images' files, best first, by one product in numpy."""
    images = sorted(source.glob("*.png"))
    rows = np.concatenate([embedder.embed_passages(TEXTS), embedder.embed_images(images)])
    names = TEXTS + [path.name for path in images]
    return [names[at] for at in np.argsort(-(rows @ query))]


def image_of(number: str) -> bytes:
    return noise(40, 30, seed=int(number[0])).tobytes()


def checked_document(document: Document) -> str:
    """Check a document and return its text or its image's file."""
    metadata = document.metadata
    if metadata["kind"] == "text":
        number = TEXTS.index(document.page_content)
        assert (metadata["source"], metadata["year"]) == ("rows.jsonl", 1990 + number)
        return document.page_content
    assert metadata.get("year") is None
    assert open_image(document.page_content, MediaPolicy()).tobytes() == image_of(metadata["source"])
    return str(metadata["source"])


def test_langchain(corpus: Corpus, source: Path, embedder: JinaEmbedder) -> None:
    """The order of numpy, and every text, image and year; through its retriever too."""
    embedding = VllmJinaEmbeddings(embedder=embedder)
    store = langchain_store(corpus, embedding)
    found = store.similarity_search("which one?", k=20)
    expected = order_of(source, embedder, embedder.embed_queries(["which one?"])[0])
    assert [checked_document(document) for document in found] == expected[:20]
    (best,) = store.as_retriever(search_kwargs={"k": 1}).invoke("which one?")
    assert checked_document(best) == expected[0]


def checked_node(node: Any) -> str:
    """Check a node and return its text or its image's file."""
    metadata = node.metadata
    if metadata["kind"] == "text":
        assert node.node_id == f"row {node.text}"
        assert (metadata["source"], metadata["year"]) == ("rows.jsonl", 1990 + TEXTS.index(node.text))
        return str(node.text)
    assert isinstance(node, ImageNode)
    assert metadata.get("year") is None
    image = open_image(base64.b64decode(node.image) if node.image else node.image_path, MediaPolicy())
    assert image.tobytes() == image_of(metadata["source"])
    return str(metadata["source"])


async def test_llama_index(corpus: Corpus, source: Path, embedder: JinaEmbedder) -> None:
    """By a text and by an image, awaited too."""
    embedding = VllmJinaEmbedding(embedder=embedder)
    index = VectorStoreIndex.from_vector_store(llama_index_store(corpus), embed_model=embedding)
    for retriever in (index.as_retriever(similarity_top_k=20), unified_retriever(index, similarity_top_k=20)):
        found = retriever.retrieve("which one?")
        expected = order_of(source, embedder, embedder.embed_queries(["which one?"])[0])
        assert [checked_node(hit.node) for hit in found] == expected[:20]
        scores = [hit.score or 0 for hit in found]
        assert scores == sorted(scores, reverse=True)
    query = embedding.image_query(str(source / "3.png"))
    (best,) = await unified_retriever(index, similarity_top_k=1).aretrieve(query)
    assert checked_node(best.node) == "3.png"


def lancedb_alone(out: str, embedding: Any, vector: list[float]) -> list[Document]:
    from langchain_community.vectorstores import LanceDB

    folder = out.removeprefix("lancedb://").removesuffix("/pages")
    store = LanceDB(uri=folder, embedding=embedding, table_name="pages", vector_key="embedding")
    return list(store.similarity_search_by_vector(vector, k=1))


def qdrant_alone(out: str, embedding: Any, vector: list[float]) -> list[Document]:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    client = QdrantClient(path=out.removeprefix("qdrant://").removesuffix("/pages"))
    store = QdrantVectorStore(client, "pages", embedding, vector_name="embedding")
    found = store.similarity_search_with_score_by_vector(vector, k=1)
    client.close()
    return [document for document, _ in found]


def chroma_alone(out: str, embedding: Any, vector: list[float]) -> list[Document]:
    from langchain_chroma import Chroma

    store = Chroma("pages", embedding, persist_directory=out.removeprefix("chroma://").removesuffix("/pages"))
    return list(store.similarity_search_by_vector(vector, k=1))


def postgres_alone(out: str, embedding: Any, vector: list[float]) -> list[Document]:
    from langchain_postgres import PGEngine, PGVectorStore

    url = out.replace("postgresql", "postgresql+psycopg", 1).replace("/pages?", "?", 1)
    engine = PGEngine.from_connection_string(url=url)
    store = PGVectorStore.create_sync(engine, embedding, "pages", id_column="id", metadata_json_column="metadata")
    return list(store.similarity_search_by_vector(vector, k=1))


ALONE = {"lancedb": lancedb_alone, "qdrant": qdrant_alone, "chroma": chroma_alone, "postgresql": postgres_alone}
"""LangChain's class of each store, opened by its own means."""


def test_langchains_own_class_opens_it_alone(store: Store, embedder: JinaEmbedder) -> None:
    """Nothing of this package but the embeddings: a text comes back with its metadata."""
    vector = embedder.embed_passages(["text 7"])[0].tolist()
    alone = ALONE[store.out.partition(":")[0]]
    (found,) = alone(store.out, VllmJinaEmbeddings(embedder=embedder), vector)
    assert (found.page_content, found.metadata["source"], found.metadata["year"]) == ("text 7", "rows.jsonl", 1997)


def test_a_corpus_in_files_names_its_retriever(source: Path, embedder: JinaEmbedder, tmp_path: Path) -> None:
    embed_corpus(source, tmp_path / "files", embedder=embedder)
    corpus = open_corpus(tmp_path / "files")
    with pytest.raises(ConfigError, match="is in Parquet: search it by CorpusRetriever"):
        langchain_store(corpus, VllmJinaEmbeddings(embedder=embedder))
    with pytest.raises(ConfigError, match="is in Parquet: search it by CorpusRetriever"):
        llama_index_store(corpus)
