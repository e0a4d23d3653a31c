"""Open a corpus that is in a store by LlamaIndex's own class for that store."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQuery, VectorStoreQueryResult

from ..corpus import Corpus
from ..corpus.chroma_rows import ChromaRows
from ..corpus.lance import METADATA
from ..corpus.lance_rows import LanceRows
from ..corpus.postgres_rows import PostgresRows
from ..corpus.qdrant_rows import QdrantRows
from ..errors import ConfigError
from ..frameworks.integrations import integration
from ..inputs.policy import MediaPolicy
from .corpus import node_of

PACKAGE = "llama-index-vector-stores-"


def corpus_store(corpus: Corpus, *, media: MediaPolicy | None = None) -> BasePydanticVectorStore:
    """Return LlamaIndex's store over a corpus, for ``VectorStoreIndex.from_vector_store``.

    It is ``ChromaVectorStore``, ``QdrantVectorStore``, ``PGVectorStore`` or ``LanceDBVectorStore``, whose answers are
    nodes with the texts, images and metadata of the corpus; an image is opened from where it came, or from the corpus
    with ``--keep image``. It is for searches: write by ``embed_corpus``, whose journal knows every row.

    Args:
        corpus: What ``open_corpus`` returns; it stays open while the store is used.
        media: Limits for images.

    Raises:
        ConfigError: The corpus is in Parquet, which ``CorpusRetriever`` searches, or has no float embeddings; or the
            package of the store is not installed.
    """
    settings = corpus.settings
    if settings["dimensions"] is None or settings["dtype"] not in ("float32", "float16"):
        raise ConfigError(f"the corpus {str(corpus.folder)!r} has no embeddings of floats to search by.")
    kind, own = _own(corpus)

    class CorpusStore(kind):  # type: ignore[misc, valid-type]
        def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
            found = super().query(query, **kwargs)
            nodes = [node_of(corpus, row, media=media) for row in corpus.store.get(found.ids)]
            return VectorStoreQueryResult(
                nodes=nodes, similarities=found.similarities, ids=[node.node_id for node in nodes]
            )

        async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
            return await asyncio.to_thread(self.query, query, **kwargs)

    store: BasePydanticVectorStore = CorpusStore(**own)
    return store


def _own(corpus: Corpus) -> tuple[Any, dict[str, Any]]:
    """Return LlamaIndex's class and what it is made with."""
    store = corpus.store
    if isinstance(store, QdrantRows):
        module = integration("llama_index.vector_stores.qdrant", f"{PACKAGE}qdrant")
        return module.QdrantVectorStore, {
            "collection_name": store.name,
            "client": store.client,
            "dense_vector_name": "embedding",
            "text_key": "page_content",
        }
    if isinstance(store, ChromaRows):
        module = integration("llama_index.vector_stores.chroma", f"{PACKAGE}chroma")
        return module.ChromaVectorStore, {"chroma_collection": store.collection}
    if isinstance(store, PostgresRows):
        return _postgres(corpus, store)
    if isinstance(store, LanceRows):
        module = integration("llama_index.vector_stores.lancedb", f"{PACKAGE}lancedb")
        if METADATA not in store.table.schema.names:
            raise ConfigError(f"{store.place!r} has no column {METADATA!r}; embed it again with --overwrite.")
        return module.LanceDBVectorStore, {
            "connection": store.connection,
            "table": store.table,
            "table_name": store.name,
            "vector_column_name": "embedding",
            "doc_id_key": "id",
            "text_key": "id",  # its nodes are replaced, and it cannot read a text that is null, which an image has
        }
    raise ConfigError(f"the corpus {str(corpus.folder)!r} is in Parquet: search it by CorpusRetriever.")


def _postgres(corpus: Corpus, store: PostgresRows) -> tuple[Any, dict[str, Any]]:
    """Return the class over the view ``data_TABLE``, which nothing is set up for."""
    module = integration("llama_index.vector_stores.postgres", f"{PACKAGE}postgres")
    return module.PGVectorStore, {
        "connection_string": store.sqlalchemy_url,
        "async_connection_string": store.sqlalchemy_url,
        "table_name": store.name,
        "schema_name": "public",
        "embed_dim": corpus.settings["dimensions"],
        "use_halfvec": corpus.settings["dtype"] == "float16",
        "perform_setup": False,
    }
