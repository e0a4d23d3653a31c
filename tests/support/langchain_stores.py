"""Every vector store of LangChain that the tests fill, empty in a folder, and how each is opened again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

from tests.support.postgres import postgres_server


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a store lies.

    Attributes:
        make: Gives the store, empty the first time.
        save: Writes the store to its place, or closes it, where it does not do so by itself.
        keeps: Whether ``make`` finds again what was there.
        by_vector: Gives the documents nearest to a vector; None where the store has no such call.
        deletes: Whether the store can delete by ids.
        awaits: Whether what ``make`` gives can be asked by ``ainvoke``, which asks from another thread.
    """

    make: Callable[[], Any]
    save: Callable[[Any], None] = lambda store: None
    keeps: bool = True
    by_vector: Callable[[Any, list[float], int], list[Document]] | None = lambda store, vector, k: (
        store.similarity_search_by_vector(vector, k=k)
    )
    deletes: bool = True
    awaits: bool = True


def memory(folder: Path, embeddings: Embeddings) -> Place:
    file = folder / "store.json"

    def make() -> Any:
        if file.exists():
            return InMemoryVectorStore.load(str(file), embeddings)
        return InMemoryVectorStore(embeddings)

    return Place(make=make, save=lambda store: store.dump(str(file)))


def chroma_in_memory(folder: Path, embeddings: Embeddings) -> Place:
    import chromadb
    from langchain_chroma import Chroma

    client = chromadb.EphemeralClient()
    return Place(make=lambda: Chroma(f"items-{folder.parent.name}", embeddings, client=client), keeps=False)


def chroma(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_chroma import Chroma

    return Place(make=lambda: Chroma("items", embeddings, persist_directory=str(folder)))


def qdrant_in_memory(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_qdrant import QdrantVectorStore

    def make() -> Any:
        return QdrantVectorStore.construct_instance(embeddings, client_options={"location": ":memory:"})

    return Place(make=make, keeps=False, by_vector=_qdrant_by_vector)


def qdrant(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_qdrant import QdrantVectorStore

    def make() -> Any:
        return QdrantVectorStore.construct_instance(
            embeddings, client_options={"path": str(folder)}, collection_name="items"
        )

    return Place(make=make, save=lambda store: store.client.close(), by_vector=_qdrant_by_vector)


def _qdrant_by_vector(store: Any, vector: list[float], k: int) -> list[Document]:
    return [document for document, _ in store.similarity_search_with_score_by_vector(vector, k=k)]


def faiss(folder: Path, embeddings: Embeddings) -> Place:
    from faiss import IndexFlatIP
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.vectorstores import FAISS
    from langchain_community.vectorstores.utils import DistanceStrategy

    def make() -> Any:
        strategy = DistanceStrategy.MAX_INNER_PRODUCT
        if folder.exists():
            return FAISS.load_local(
                str(folder), embeddings, allow_dangerous_deserialization=True, distance_strategy=strategy
            )
        index = IndexFlatIP(len(embeddings.embed_query("length")))
        return FAISS(embeddings, index, InMemoryDocstore(), {}, distance_strategy=strategy)

    return Place(make=make, save=lambda store: store.save_local(str(folder)))


def lancedb(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_community.vectorstores import LanceDB

    return Place(make=lambda: LanceDB(uri=str(folder), embedding=embeddings, table_name="items"))


def postgres(folder: Path, embeddings: Embeddings) -> Place:
    from langchain_postgres import PGVector

    uri = postgres_server().get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    return Place(make=lambda: PGVector(embeddings, connection=uri, collection_name="items"), awaits=False)


def sqlite_vec(folder: Path, embeddings: Embeddings) -> Place:
    import sqlite_vec as extension
    from langchain_community.vectorstores import SQLiteVec

    # Some builds of Python cannot load extensions; pysqlite3 has no wheel for every machine.
    can_extend = hasattr(sqlite3.Connection, "enable_load_extension")
    library = sqlite3 if can_extend else pytest.importorskip("pysqlite3", reason="this SQLite loads no extensions")
    folder.mkdir()

    def make() -> Any:
        connection = library.connect(folder / "store.db")
        connection.row_factory = library.Row
        connection.enable_load_extension(True)
        extension.load(connection)
        return SQLiteVec("items", connection, embeddings)

    return Place(make=make, deletes=False, awaits=False)


STORES = {
    "memory": (memory, "langchain_core"),
    "chroma_in_memory": (chroma_in_memory, "langchain_chroma"),
    "chroma": (chroma, "langchain_chroma"),
    "qdrant_in_memory": (qdrant_in_memory, "langchain_qdrant"),
    "qdrant": (qdrant, "langchain_qdrant"),
    "faiss": (faiss, "faiss"),
    "lancedb": (lancedb, "lancedb"),
    "postgres": (postgres, "langchain_postgres"),
    "sqlite_vec": (sqlite_vec, "sqlite_vec"),
}
