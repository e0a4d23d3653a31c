"""A retriever that searches every node of an index, and by image if the query has one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.indices import VectorStoreIndex
from llama_index.core.indices.vector_store.retrievers import VectorIndexRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from ..errors import InputError
from .events import spanless
from .image_methods import ImageMethods


def unified_retriever(index: VectorStoreIndex, **keywords: Any) -> VectorIndexRetriever:
    """Return a retriever over both texts and images, on any vector store.

    ``index.as_retriever()`` searches only the nodes that the index itself records. If the store keeps the texts, these
    are the images alone, so Qdrant, LanceDB and others never return a text. It also ignores the ``image_path`` of a
    ``QueryBundle``; this retriever searches by that image, and leaves ``query_str`` to rerankers and chat models.

    Args:
        index: An index of texts and images.
        **keywords: Keyword arguments of ``VectorIndexRetriever``, for example ``similarity_top_k``.
    """
    return UnifiedRetriever(
        index,
        node_ids=None,
        callback_manager=index._callback_manager,
        object_map=index._object_map,
        **keywords,
    )


class UnifiedRetriever(VectorIndexRetriever):
    """The retriever that ``unified_retriever`` returns."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        model = self._model_for(query_bundle)
        if model is not None:
            path = str(query_bundle.image_path)
            asked = model.image_query(path) if isinstance(model, ImageMethods) else None  # with the prompt of a query
            embedding = model.get_image_embedding(path) if asked is None else asked.embedding
            query_bundle = replace(query_bundle, embedding=embedding)
        return spanless(super()._retrieve)(query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        model = self._model_for(query_bundle)
        if model is not None:
            path = str(query_bundle.image_path)
            asked = await model.aimage_query(path) if isinstance(model, ImageMethods) else None
            embedding = await model.aget_image_embedding(path) if asked is None else asked.embedding
            query_bundle = replace(query_bundle, embedding=embedding)
        return await spanless(super()._aretrieve)(query_bundle)

    def _model_for(self, query: QueryBundle) -> MultiModalEmbedding | None:
        """Return the model to embed the query's image with; None without an image, or with an embedding.

        Raises:
            InputError: The image cannot be used here, or the query is empty.
        """
        if query.embedding is not None:
            return None
        if not self._needs_embedding():
            if query.image_path is not None:
                raise InputError(
                    f"the query has the image {query.image_path[:200]!r}, but this retriever searches by words alone "
                    f"(vector_store_query_mode={self._vector_store_query_mode.value!r}). Use the default mode."
                )
            return None
        if query.image_path is None:
            if not query.embedding_strs:
                raise InputError("the query is empty: give it words, or an image by embedding.image_query(image).")
            return None
        if not isinstance(self._embed_model, MultiModalEmbedding):
            raise InputError(
                f"the query has the image {query.image_path[:200]!r}, but the index's "
                f"{self._embed_model.class_name()} embeds texts alone. Give it a VllmJinaEmbedding as embed_model."
            )
        return self._embed_model
