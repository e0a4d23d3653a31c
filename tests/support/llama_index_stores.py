"""Every vector store of LlamaIndex that the tests fill, empty in a folder, and how an index is opened again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.vector_stores import SimpleVectorStore

from tests.support.postgres import postgres_server
from vllm_jina_embed.llama_index import VllmJinaEmbedding


@dataclass(frozen=True)
class Place:
    """Where a store lies.

    Attributes:
        make: Gives a new, empty store.
        reopen: Gives the index again after everything was forgotten; None where the store does not persist.
        delete: Removes a document by its id.
        awaits: Whether what ``make`` gives can be asked by ``aretrieve``; Qdrant wants a client of its own for that,
            and two embedded ones share nothing.
    """

    make: Callable[[], Any]
    reopen: Callable[[VectorStoreIndex, VllmJinaEmbedding], VectorStoreIndex] | None
    delete: Callable[[VectorStoreIndex, str], None] = lambda index, document: index.delete_ref_doc(
        document, delete_from_docstore=True
    )
    awaits: bool = True


def from_store(make: Callable[[], Any]) -> Callable[[VectorStoreIndex, VllmJinaEmbedding], VectorStoreIndex]:
    """A store that keeps texts needs nothing else."""

    def reopen(index: VectorStoreIndex, embedding: VllmJinaEmbedding) -> VectorStoreIndex:
        return VectorStoreIndex.from_vector_store(make(), embed_model=embedding)

    return reopen


def from_folder(
    folder: Path, load: Callable[[str], Any]
) -> Callable[[VectorStoreIndex, VllmJinaEmbedding], VectorStoreIndex]:
    """A store that keeps vectors alone is persisted with LlamaIndex's docstore and index store."""

    def reopen(index: VectorStoreIndex, embedding: VllmJinaEmbedding) -> VectorStoreIndex:
        index.storage_context.persist(str(folder))
        storage = StorageContext.from_defaults(vector_store=load(str(folder)), persist_dir=str(folder))
        return load_index_from_storage(storage, embed_model=embedding)

    return reopen


def simple(folder: Path, dimension: int) -> Place:
    return Place(SimpleVectorStore, from_folder(folder, SimpleVectorStore.from_persist_dir))


def faiss(folder: Path, dimension: int) -> Place:
    import faiss as library
    from llama_index.vector_stores.faiss import FaissMapVectorStore

    def make() -> Any:
        return FaissMapVectorStore(library.IndexIDMap2(library.IndexFlatIP(dimension)))

    def delete(index: VectorStoreIndex, document: str) -> None:  # this store knows the ids of nodes alone
        index.delete_nodes(index.docstore.get_ref_doc_info(document).node_ids, delete_from_docstore=True)

    return Place(make, from_folder(folder, FaissMapVectorStore.from_persist_dir), delete)


def qdrant(folder: Path, dimension: int) -> Place:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    return Place(lambda: QdrantVectorStore("items", client=QdrantClient(":memory:")), None, awaits=False)


def qdrant_on_disk(folder: Path, dimension: int) -> Place:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    def make() -> Any:
        return QdrantVectorStore("items", client=QdrantClient(path=str(folder)))

    def reopen(index: VectorStoreIndex, embedding: VllmJinaEmbedding) -> VectorStoreIndex:
        index.vector_store.client.close()
        return from_store(make)(index, embedding)

    return Place(make, reopen, awaits=False)


def chroma(folder: Path, dimension: int) -> Place:
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    def make() -> Any:
        client = chromadb.PersistentClient(str(folder))
        return ChromaVectorStore(client.get_or_create_collection("items", configuration={"hnsw": {"space": "cosine"}}))

    return Place(make, from_store(make))


def lancedb(folder: Path, dimension: int) -> Place:
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    def make() -> Any:
        return LanceDBVectorStore(uri=str(folder), table_name="items", mode="create")

    def delete(index: VectorStoreIndex, document: str) -> None:
        # llama-index-vector-stores-lancedb 0.6.0 quotes values with ", which lancedb 0.40 reads as a column's name:
        # index.delete_ref_doc raises "No field named". Remove when it quotes with '.
        index.vector_store.table.delete(f"doc_id = '{document}'")

    return Place(make, from_store(make), delete)


def postgres(folder: Path, dimension: int) -> Place:
    from llama_index.vector_stores.postgres import PGVectorStore

    server = postgres_server()
    server.psql("create extension if not exists vector")

    def make() -> Any:
        uri = server.get_uri()
        return PGVectorStore.from_params(
            connection_string=uri.replace("postgresql://", "postgresql+psycopg2://", 1),
            async_connection_string=uri.replace("postgresql://", "postgresql+asyncpg://", 1),
            table_name="items",
            embed_dim=dimension,
        )

    return Place(make, from_store(make))


STORES = {
    "simple": (simple, "llama_index.core"),
    "faiss": (faiss, "llama_index.vector_stores.faiss"),
    "qdrant": (qdrant, "llama_index.vector_stores.qdrant"),
    "qdrant_on_disk": (qdrant_on_disk, "llama_index.vector_stores.qdrant"),
    "chroma": (chroma, "llama_index.vector_stores.chroma"),
    "lancedb": (lancedb, "llama_index.vector_stores.lancedb"),
    "postgres": (postgres, "llama_index.vector_stores.postgres"),
}
if sys.version_info >= (3, 13):
    del STORES["postgres"]  # pgserver, which carries the server, has no wheels for it
