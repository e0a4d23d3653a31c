"""Search a ``LateInteractionIndex`` as a LangChain retriever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from ..errors import InputError
from ..inputs.images import MediaPolicy
from ..inputs.metadata import HASH_KEY
from ..inputs.references import both_parts, strict_image
from ..late_interaction import Hit, LateInteractionIndex, Rerank
from .documents import contents, listed_documents
from .reranking import SCORE_KEY

CONTENT_KEY, METADATA_KEY = "page_content", "metadata"
"""Payload keys, the same as langchain-qdrant's; filters use names such as ``metadata.source``."""

STAGE_SCORES_KEY = "stage_scores"


class LateInteractionRetriever(BaseRetriever):
    """Retrieve the texts and images that answer a query best, ranked by all their tokens.

    A query that is nothing but the content of a document that ``image_document`` makes is that image, or that text with
    its image.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,langchain,qdrant]'``

    Use:
        ```python
        from vllm_jina_embed import JinaEmbedder
        from vllm_jina_embed.late_interaction import LateInteractionIndex
        from vllm_jina_embed.langchain import LateInteractionRetriever, image_document

        index = LateInteractionIndex(JinaEmbedder(model), url="http://localhost:6333")
        retriever = LateInteractionRetriever(index=index, k=5)
        retriever.add_documents([Document("A report."), image_document("chart.png")])
        retriever.invoke("a question")
        retriever.invoke("a question", k=20, filter=models.Filter(...))
        retriever.invoke("a question", stages=["embedding"])
        ```
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    index: LateInteractionIndex = Field(description="The index to search; whoever made it closes it.")
    k: int = Field(default=4, gt=0, description="Documents per answer.")
    candidates: int | None = Field(
        default=None, description="Documents that MaxSim ranks; None uses the index's setting."
    )
    filter: Any = Field(
        default=None, description="A qdrant_client.models.Filter over page_content and metadata, or LanceDB's SQL."
    )
    stages: Sequence[str] | None = Field(
        default=None, description="Which of embedding, maxsim and rerank there are; None takes all."
    )
    reranker: Any = Field(
        default=None, description="Anything with rerank(query, items, top_n) and arerank, which ranks the best again."
    )
    rerank_candidates: int = Field(default=50, gt=0, description="Documents that the reranker ranks.")
    with_scores: bool = Field(
        default=False, description="Whether metadata holds relevance_score, and stage_scores of every stage."
    )

    @property
    def media(self) -> MediaPolicy:
        """Limits for images: those of the index's embedder."""
        return self.index.embedder.settings.media

    def add_documents(self, documents: Sequence[Document], **options: Any) -> list[str]:
        """Add documents to the index and return their ids; see ``LateInteractionIndex.add`` for options and errors.

        A document replaces the one with the same id; equal documents without an id get the same one.
        """
        return self.index.add(**_add_arguments(documents), **options)

    async def aadd_documents(self, documents: Sequence[Document], **options: Any) -> list[str]:
        """Await ``add_documents``."""
        return await self.index.aadd(**_add_arguments(documents), **options)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove the documents with these ids; unknown ids are ignored."""
        self.index.delete(ids)

    async def adelete(self, ids: Sequence[str]) -> None:
        """Await ``delete``."""
        await self.index.adelete(ids)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        return [self._document(hit) for hit in self.index.search(query, **self._limits(overrides))]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        return [self._document(hit) for hit in await self.index.asearch(query, **self._limits(overrides))]

    def _limits(self, overrides: dict[str, Any]) -> dict[str, Any]:
        own = {"k": self.k, "candidates": self.candidates, "filter": self.filter, "stages": self.stages}
        if self.reranker is not None:
            own["rerank"] = Rerank(
                reranker=self.reranker,
                item_of=lambda payload: payload[CONTENT_KEY],
                candidates=self.rerank_candidates,
            )
        return {**own, **overrides}

    def _document(self, hit: Hit) -> Document:
        metadata = hit.payload[METADATA_KEY] or {}
        if self.with_scores:
            metadata = {**metadata, SCORE_KEY: hit.score, STAGE_SCORES_KEY: dict(hit.scores)}
        return Document(page_content=hit.payload[CONTENT_KEY], metadata=metadata, id=hit.id)


def _add_arguments(documents: Sequence[Document]) -> dict[str, Any]:
    """Return documents as keyword arguments of ``LateInteractionIndex.add``.

    Raises:
        InputError: A document has an image's metadata, but its content is not a whole image.
    """
    documents = listed_documents(documents)
    items = contents(documents)
    payloads: list[dict[str, Any]] = []
    ids: list[str | None] = []
    for position, (document, item) in enumerate(zip(documents, items, strict=True)):
        if isinstance(item, InputError):  # not a document: a bad item, like an empty text
            payloads.append({})
            ids.append(None)
            continue
        content = document.page_content
        if HASH_KEY in document.metadata and strict_image(content) is None and both_parts(content) is None:
            raise InputError(
                f"documents[{position}] has an image's metadata ({HASH_KEY}) and its content is not a whole image: "
                "a text splitter cut it. Split the texts alone, and add image documents after that.",
                positions=[position],
            )
        payloads.append({CONTENT_KEY: document.page_content, METADATA_KEY: document.metadata})
        ids.append(document.id)
    return {"items": items, "payloads": payloads, "ids": ids}
