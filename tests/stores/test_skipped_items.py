"""Three texts, one of them bad, with on_error="skip", in every store: the good ones arrive, and a second run heals.

The demo checkpoint on the real engine, asked by an embedder of its own, which shares that engine.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import ImageNode, TextNode
from llama_index.core.vector_stores import SimpleVectorStore

from vllm_jina_embed import JinaEmbedder
from vllm_jina_embed.langchain import VllmJinaEmbeddings
from vllm_jina_embed.llama_index import VllmJinaEmbedding

pytestmark = [pytest.mark.real, pytest.mark.fire, pytest.mark.wide]
BAD = "data:image/png;base64,AAAA"
TEXTS = {"good": "a red circle", "bad": BAD, "other": "a blue star"}
MENDED = "a green square"


@pytest.fixture
def lenient(demo_embedder: JinaEmbedder) -> Iterator[JinaEmbedder]:
    with JinaEmbedder("demo", on_error="skip") as embedder:
        yield embedder


def faiss(embeddings: Any, folder: Path, kind: str) -> Any:
    import faiss as library
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS

    index = getattr(library, kind)(embeddings.dimension)
    return FAISS(embeddings, index, InMemoryDocstore(), {})


def chroma(embeddings: Any, folder: Path, space: str) -> Any:
    import chromadb
    from langchain_chroma import Chroma

    client = chromadb.PersistentClient(str(folder))
    return Chroma("items", embeddings, client=client, collection_metadata={"hnsw:space": space})


def qdrant(embeddings: Any, folder: Path, distance: str) -> Any:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client.models import Distance

    return QdrantVectorStore.construct_instance(
        embeddings, client_options={"location": ":memory:"}, distance=Distance[distance]
    )


def lancedb(embeddings: Any, folder: Path, distance: str) -> Any:
    from langchain_community.vectorstores import LanceDB

    # Its own default replaces the table at each add.
    return LanceDB(uri=str(folder), embedding=embeddings, table_name="items", distance=distance, mode="append")


LANGCHAIN: dict[str, Callable[[Any, Path], Any]] = {
    "memory": lambda embeddings, folder: InMemoryVectorStore(embeddings),
    "faiss-dot": lambda embeddings, folder: faiss(embeddings, folder, "IndexFlatIP"),
    "faiss-l2": lambda embeddings, folder: faiss(embeddings, folder, "IndexFlatL2"),
    "chroma-cosine": lambda embeddings, folder: chroma(embeddings, folder, "cosine"),
    "chroma-l2": lambda embeddings, folder: chroma(embeddings, folder, "l2"),
    "qdrant-cosine": lambda embeddings, folder: qdrant(embeddings, folder, "COSINE"),
    "qdrant-dot": lambda embeddings, folder: qdrant(embeddings, folder, "DOT"),
    "qdrant-l2": lambda embeddings, folder: qdrant(embeddings, folder, "EUCLID"),
    "lancedb-l2": lambda embeddings, folder: lancedb(embeddings, folder, "l2"),
    "lancedb-cosine": lambda embeddings, folder: lancedb(embeddings, folder, "cosine"),
}


def found(store: Any, question: str) -> list[str]:
    """Return the contents that a question finds, best first."""
    if type(store).__name__ == "FAISS" and type(store.index).__name__ == "IndexFlatIP":
        scores, rows = store.index.search(np.array([store.embedding_function.embed_query(question)], np.float32), 10)
        ids = [store.index_to_docstore_id[row] for row in rows[0] if row >= 0]
        assert np.isfinite(scores[0, : len(ids)]).all()
        return [store.docstore.search(name).page_content for name in ids]
    return [document.page_content for document in store.similarity_search(question, k=10)]


def documents(**changes: str) -> list[Document]:
    return [Document(text, id=name) for name, text in {**TEXTS, **changes}.items()]


@pytest.mark.parametrize("kind", LANGCHAIN)
def test_langchain_stores(lenient: JinaEmbedder, tmp_path: Path, kind: str) -> None:
    """As it comes: the placeholder stands for the bad one, behind what fits, until it is replaced."""
    embeddings = VllmJinaEmbeddings(embedder=lenient)
    store = LANGCHAIN[kind](embeddings, tmp_path / "store")
    ids = ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"]
    ids.append("00000000-0000-0000-0000-000000000003")
    with pytest.warns(UserWarning, match=r"placeholder.*items\[1\]"):
        store.add_documents([document.model_copy(update={"id": None}) for document in documents()], ids=ids)
    assert len(found(store, "a red circle")) == 3
    assert found(store, "a red circle")[0] == "a red circle"
    assert found(store, "a blue star")[0] == "a blue star"
    store.delete(ids[1:2])
    store.add_documents([Document(MENDED)], ids=ids[1:2])
    assert found(store, MENDED)[0] == MENDED
    assert sorted(found(store, "a red circle")) == sorted(["a red circle", "a blue star", MENDED])


@pytest.mark.parametrize("kind", LANGCHAIN)
def test_langchain_stores_behind_transform_documents(lenient: JinaEmbedder, tmp_path: Path, kind: str) -> None:
    """The clean way: nothing stands for the bad one, and the second run takes in what was mended."""
    embeddings = VllmJinaEmbeddings(embedder=lenient)
    store = LANGCHAIN[kind](embeddings, tmp_path / "store")
    with pytest.warns(UserWarning, match=r"left out: items\[1\]"):
        good = embeddings.transform_documents(documents())
    store.add_documents([document.model_copy(update={"id": None}) for document in good])
    assert found(store, "a red circle") == ["a red circle", "a blue star"]
    mended = embeddings.transform_documents(documents(bad=MENDED))
    store.add_documents([document.model_copy(update={"id": None}) for document in mended[1:2]])
    assert found(store, MENDED)[0] == MENDED
    assert len(found(store, MENDED)) == 3


def simple(folder: Path) -> Any:
    return SimpleVectorStore()


def llama_chroma(folder: Path) -> Any:
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    return ChromaVectorStore(chromadb.PersistentClient(str(folder)).create_collection("items"))


def llama_qdrant(folder: Path) -> Any:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    return QdrantVectorStore("items", client=QdrantClient(":memory:"))


def nodes(**changes: str) -> list[TextNode]:
    ids = {name: f"00000000-0000-0000-0000-00000000000{number}" for number, name in enumerate(TEXTS)}
    return [TextNode(text=text, id_=ids[name]) for name, text in {**TEXTS, **changes}.items()]


def ranked(index: VectorStoreIndex, question: str) -> list[tuple[str, float]]:
    hits = index.as_retriever(similarity_top_k=10).retrieve(question)
    assert np.isfinite([hit.score for hit in hits]).all()
    return [(hit.node.get_content(), hit.score or 0.0) for hit in hits]


@pytest.mark.parametrize("make", [simple, llama_chroma, llama_qdrant])
def test_llama_index_stores(lenient: JinaEmbedder, tmp_path: Path, make: Callable[[Path], Any]) -> None:
    """As embed_model alone, where NaN stood before the best hit; and as a transformation."""
    embedding = VllmJinaEmbedding(embedder=lenient)
    context = StorageContext.from_defaults(vector_store=make(tmp_path / "store"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        index = VectorStoreIndex(nodes(), embed_model=embedding, storage_context=context)
    assert [w for w in caught if "placeholder" in str(w.message)]
    assert ranked(index, "a red circle")[0][0] == "a red circle"
    assert ranked(index, "a blue star")[0][0] == "a blue star"
    assert len(ranked(index, "a red circle")) == 3
    index.delete_nodes([nodes()[1].node_id])
    index.insert_nodes(nodes(bad=MENDED)[1:2])
    assert ranked(index, MENDED)[0][0] == MENDED

    other = StorageContext.from_defaults(vector_store=make(tmp_path / "other"))
    broken = ImageNode(id_=nodes()[1].node_id, image="AAAA", text="a caption")
    with pytest.warns(UserWarning, match="left out"):
        index = VectorStoreIndex(
            embedding([nodes()[0], broken, nodes()[2]]), embed_model=embedding, storage_context=other
        )
    assert [text for text, _ in ranked(index, "a red circle")] == ["a red circle", "a blue star"]
    index.insert_nodes(embedding(nodes(bad=MENDED)[1:2]))
    assert ranked(index, MENDED)[0][0] == MENDED
