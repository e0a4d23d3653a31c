"""Open a corpus that is in a store by LangChain's own class for that store."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from ..corpus import Corpus
from ..corpus.chroma_rows import ChromaRows
from ..corpus.lance_rows import LanceRows
from ..corpus.postgres_rows import PostgresRows
from ..corpus.qdrant_rows import QdrantRows
from ..errors import ConfigError
from ..frameworks.integrations import integration
from ..inputs.policy import MediaPolicy
from .corpus import document_of


def corpus_store(corpus: Corpus, embedding: Embeddings, *, media: MediaPolicy | None = None) -> VectorStore:
    """Return LangChain's store over a corpus: ``Chroma``, ``QdrantVectorStore``, ``PGVectorStore`` or ``LanceDB``.

    It is for searches: write by ``embed_corpus``, whose journal knows every row. An image's document holds the image as
    a data URI where the corpus was made with ``--keep image``; ``LanceDB``'s opens it from where it came, too.

    Args:
        corpus: What ``open_corpus`` returns; it stays open while the store is used.
        embedding: A ``VllmJinaEmbeddings`` with the settings of the corpus.
        media: Limits for images that ``LanceDB`` opens.

    Raises:
        ConfigError: The corpus is in Parquet, which ``CorpusRetriever`` searches, or has no float embeddings; or the
            package of the store is not installed.
    """
    settings = corpus.settings
    if settings["dimensions"] is None or settings["dtype"] not in ("float32", "float16"):
        raise ConfigError(f"the corpus {str(corpus.folder)!r} has no embeddings of floats to search by.")
    store = corpus.store
    if isinstance(store, QdrantRows):
        return _qdrant(store, embedding)
    if isinstance(store, ChromaRows):
        module = integration("langchain_chroma", "langchain-chroma")
        found: VectorStore = module.Chroma(store.name, embedding, client=store.client)
        return found
    if isinstance(store, PostgresRows):
        return _postgres(store, embedding)
    if isinstance(store, LanceRows):
        return _lancedb(corpus, store, embedding, media)
    raise ConfigError(f"the corpus {str(corpus.folder)!r} is in Parquet: search it by CorpusRetriever.")


def _qdrant(store: QdrantRows, embedding: Embeddings) -> VectorStore:
    module = integration("langchain_qdrant", "langchain-qdrant")
    found: VectorStore = module.QdrantVectorStore(
        store.client, store.name, embedding, vector_name="embedding", validate_collection_config=False
    )
    return found


def _postgres(store: PostgresRows, embedding: Embeddings) -> VectorStore:
    module = integration("langchain_postgres", "langchain-postgres")
    engine = module.PGEngine.from_connection_string(url=store.sqlalchemy_url)
    found: VectorStore = module.PGVectorStore.create_sync(
        engine, embedding, store.name, id_column="id", metadata_json_column="metadata"
    )
    return found


def _lancedb(corpus: Corpus, store: LanceRows, embedding: Embeddings, media: MediaPolicy | None) -> VectorStore:
    """Return a LanceDB store whose documents are made of the table's columns; its own class knows no images."""
    module = integration("langchain_community.vectorstores", "langchain-community")

    class CorpusLanceDB(module.LanceDB):  # type: ignore[misc, name-defined]
        def results_to_docs(self, results: Any, score: bool = False) -> Any:
            rows = [(store.row(values), values.get("_distance")) for values in results.to_pylist()]
            documents: list[Document] = [document_of(corpus, row, media=media) for row, _ in rows]
            if not score:
                return documents
            return [(document, far) for document, (_, far) in zip(documents, rows, strict=True)]

    found: VectorStore = CorpusLanceDB(
        store.connection, embedding, vector_key="embedding", table=store.table, table_name=store.name
    )
    return found
