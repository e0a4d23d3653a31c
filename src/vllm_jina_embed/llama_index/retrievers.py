"""A retriever that sees every node of an index."""

from __future__ import annotations

from typing import Any

from llama_index.core.indices import VectorStoreIndex
from llama_index.core.indices.vector_store.retrievers import VectorIndexRetriever


def unified_retriever(index: VectorStoreIndex, **keywords: Any) -> VectorIndexRetriever:
    """Return a retriever over texts and pictures alike, on any vector store.

    ``index.as_retriever()`` asks for the nodes that the index notes itself: where the store keeps the texts, these are
    the pictures alone, and Qdrant, LanceDB and others then never return a text.

    Args:
        index: An index of texts and pictures.
        **keywords: Those of ``VectorIndexRetriever``, for example ``similarity_top_k``.
    """
    return VectorIndexRetriever(
        index,
        node_ids=None,
        callback_manager=index._callback_manager,
        object_map=index._object_map,
        **keywords,
    )
