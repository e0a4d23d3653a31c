"""A retriever that sees every node of an index, and asks by a picture where the query names one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.indices import VectorStoreIndex
from llama_index.core.indices.vector_store.retrievers import VectorIndexRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from ..errors import InputError


def unified_retriever(index: VectorStoreIndex, **keywords: Any) -> VectorIndexRetriever:
    """Return a retriever over texts and pictures alike, on any vector store.

    ``index.as_retriever()`` asks for the nodes that the index notes itself: where the store keeps the texts, these are
    the pictures alone, and Qdrant, LanceDB and others then never return a text. It also passes over the ``image_path``
    of a ``QueryBundle``; this one asks by that picture, and leaves ``query_str`` to rerankers and chat models.

    Args:
        index: An index of texts and pictures.
        **keywords: Those of ``VectorIndexRetriever``, for example ``similarity_top_k``.
    """
    return UnifiedRetriever(
        index,
        node_ids=None,
        callback_manager=index._callback_manager,
        object_map=index._object_map,
        **keywords,
    )


class UnifiedRetriever(VectorIndexRetriever):
    """Made by ``unified_retriever``."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        model = self._model_for(query_bundle)
        if model is not None:
            query_bundle = replace(query_bundle, embedding=model.get_image_embedding(str(query_bundle.image_path)))
        return super()._retrieve(query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        model = self._model_for(query_bundle)
        if model is not None:
            embedding = await model.aget_image_embedding(str(query_bundle.image_path))
            query_bundle = replace(query_bundle, embedding=embedding)
        return await super()._aretrieve(query_bundle)

    def _model_for(self, query: QueryBundle) -> MultiModalEmbedding | None:
        """Return what embeds the query's picture; None where it has none, or its embedding already.

        Raises:
            InputError: The picture cannot be used here, or the query is empty.
        """
        if query.embedding is not None:
            return None
        if not self._needs_embedding():
            if query.image_path is not None:
                raise InputError(
                    f"the query has the picture {query.image_path[:200]!r}, and this retriever searches by words alone "
                    f"(vector_store_query_mode={self._vector_store_query_mode.value!r}). Use the default mode."
                )
            return None
        if query.image_path is None:
            if not query.embedding_strs:
                raise InputError("the query is empty: give it words, or a picture by embedding.image_query(picture).")
            return None
        if not isinstance(self._embed_model, MultiModalEmbedding):
            raise InputError(
                f"the query has the picture {query.image_path[:200]!r}, and the index's "
                f"{self._embed_model.class_name()} embeds texts alone. Give it a VllmJinaEmbedding as embed_model."
            )
        return self._embed_model
