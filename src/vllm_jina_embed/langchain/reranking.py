"""A second look at retrieved documents as LangChain's ``BaseDocumentCompressor``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.stores import BaseStore

from ..frameworks.reranking import MaxSimFields, RankingFields, RerankerFields
from ..scoring.ranking import Ranked
from .cache import ByteStoreCache
from .documents import contents, listed_documents

SCORE_KEY = "relevance_score"
"""Where LangChain's rerankers keep a document's score in its metadata."""


class Compressor(RerankerFields, BaseDocumentCompressor):
    """Reorders documents by the scores of a reranker; a subclass says which."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return the ``top_n`` documents that answer a query best, best first.

        Args:
            documents: Texts, and images with or without a text as ``image_document`` makes them.
            query: A text; or an image, where all of it is an image's data URI or reference.
            callbacks: Get one run named like this class, with its inputs and results.

        Returns:
            Copies, with the score as ``relevance_score`` in their metadata. With ``on_error="skip"``, documents that
            cannot be read are left out and a warning names them.

        Raises:
            InputError: The query, or a document, cannot be read; names it.
        """
        documents = listed_documents(documents)
        run = CallbackManager.configure(callbacks).on_chain_start(None, _inputs(query, documents), name=self._name)
        try:
            best = self._reranker.rerank(query, contents(documents), self.top_n) if documents else []
            found = _documents(documents, best)
        except BaseException as error:
            run.on_chain_error(error)
            raise
        run.on_chain_end({"documents": found})
        return found

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Await ``compress_documents``."""
        documents = listed_documents(documents)
        manager = AsyncCallbackManager.configure(callbacks)
        run = await manager.on_chain_start(None, _inputs(query, documents), name=self._name)
        try:
            best = await self._reranker.arerank(query, contents(documents), self.top_n) if documents else []
            found = _documents(documents, best)
        except BaseException as error:
            await run.on_chain_error(error)
            raise
        await run.on_chain_end({"documents": found})
        return found

    @property
    def _name(self) -> str:
        return type(self).__name__


class MaxSimReranker(MaxSimFields, Compressor):
    """Reorder the documents of any retriever on any store by MaxSim over all their tokens: texts, images and both.

    The second look needs no other model and no store of multi-vectors: the candidates are embedded per token when they
    were found, with the engine that embedded the store, or taken from ``cache``.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,langchain]' langchain-classic``

    Use:
        ```python
        from langchain_classic.retrievers import ContextualCompressionRetriever
        from vllm_jina_embed.langchain import MaxSimReranker, VllmJinaEmbeddings

        embeddings = VllmJinaEmbeddings(model=model)
        found = store.as_retriever(search_kwargs={"k": 50})  # any store with these embeddings
        reranker = MaxSimReranker(embedder=embeddings, top_n=5)
        retriever = ContextualCompressionRetriever(base_retriever=found, base_compressor=reranker)
        retriever.invoke("a question")
        ```

    Attributes:
        embedder: A ``JinaEmbedder``, or ``VllmJinaEmbeddings``; or pass ``model`` and settings for one of its own.
        cache: Keeps the multi-vectors: a path for an SQLite file, a ``ByteStore``, or ``get_many`` and ``put_many``.
        top_n: Documents per answer; None keeps all.
    """

    @staticmethod
    def _as_store(store: Any) -> Any:
        return ByteStoreCache(store) if isinstance(store, BaseStore) else store


class VllmJinaReranker(RankingFields, Compressor):
    """Reorder the documents of any retriever on any store by a reranker, which reads a query and a document together.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,langchain]' langchain-classic``

    Use:
        ```python
        from langchain_classic.retrievers import ContextualCompressionRetriever
        from vllm_jina_embed.langchain import VllmJinaReranker

        found = store.as_retriever(search_kwargs={"k": 50})  # any store with any embeddings
        reranker = VllmJinaReranker(model="Qwen/Qwen3-VL-Reranker-2B", top_n=5)
        retriever = ContextualCompressionRetriever(base_retriever=found, base_compressor=reranker)
        retriever.invoke("a question")
        ```

    Attributes:
        reranker: A ``JinaReranker``; or pass ``model`` and settings for one of its own.
        instruction: What makes a document relevant, in one sentence; None takes that of the model.
        top_n: Documents per answer; None keeps all.
    """


def _inputs(query: str, documents: Sequence[Document]) -> dict[str, Any]:
    return {"query": query, "documents": list(documents)}


def _documents(documents: Sequence[Document], best: Sequence[Ranked]) -> list[Document]:
    """Return copies of the best documents with their scores; the caller's stay as they are."""
    return [
        found.model_copy(update={"metadata": {**(found.metadata or {}), SCORE_KEY: one.score}})
        for one in best
        for found in [documents[one.position]]
    ]
