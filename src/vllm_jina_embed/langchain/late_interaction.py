"""Two-stage retrieval as a LangChain retriever.

Enters: documents, and queries as strings. Leaves: documents, best first. This file refuses to embed and to rank:
``LateInteractionIndex`` does both.
"""

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
from ..inputs.references import strict_image
from ..late_interaction import Hit, LateInteractionIndex
from .documents import contents, listed_documents

CONTENT_KEY, METADATA_KEY = "page_content", "metadata"
"""Payload keys, those of langchain-qdrant: filters name ``metadata.source`` and its like."""


class LateInteractionRetriever(BaseRetriever):
    """Documents of text and of pictures that answer a query best, ranked by all their tokens.

    A query that is wholly a picture's data URI or reference, as ``image_document`` makes them, is that picture.

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
        ```
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    index: LateInteractionIndex = Field(description="What is searched; its maker closes it.")
    k: int = Field(default=4, gt=0, description="Documents per answer.")
    candidates: int | None = Field(default=None, description="Documents that MaxSim ranks; None takes the index's.")
    filter: Any = Field(default=None, description="A qdrant_client.models.Filter over page_content and metadata.")

    @property
    def media(self) -> MediaPolicy:
        """Limits for pictures, those of the index's embedder."""
        return self.index.embedder.settings.media

    def add_documents(self, documents: Sequence[Document], **options: Any) -> list[str]:
        """Put documents into the index and return their ids; see ``LateInteractionIndex.add`` for options and errors.

        A document with an id replaces the one of that id; equal documents without have one id.
        """
        return self.index.add(**_given(documents), **options)

    async def aadd_documents(self, documents: Sequence[Document], **options: Any) -> list[str]:
        """Await ``add_documents``."""
        return await self.index.aadd(**_given(documents), **options)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove the documents of these ids; unknown ones are no error."""
        self.index.delete(ids)

    async def adelete(self, ids: Sequence[str]) -> None:
        """Await ``delete``."""
        await self.index.adelete(ids)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        return [_document(hit) for hit in self.index.search(query, **self._limits(overrides))]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        return [_document(hit) for hit in await self.index.asearch(query, **self._limits(overrides))]

    def _limits(self, overrides: dict[str, Any]) -> dict[str, Any]:
        return {"k": self.k, "candidates": self.candidates, "filter": self.filter, **overrides}


def _given(documents: Sequence[Document]) -> dict[str, Any]:
    """Return documents as ``LateInteractionIndex.add`` takes them.

    Raises:
        InputError: One has a picture's metadata and no whole picture.
    """
    documents = listed_documents(documents)
    items = contents(documents)
    payloads: list[dict[str, Any]] = []
    ids: list[str | None] = []
    for position, (document, item) in enumerate(zip(documents, items, strict=True)):
        if isinstance(item, InputError):  # not a document: a bad item, as an empty text is
            payloads.append({})
            ids.append(None)
            continue
        if HASH_KEY in document.metadata and strict_image(document.page_content) is None:
            raise InputError(
                f"documents[{position}] has a picture's metadata ({HASH_KEY}) and its content is not a whole picture: "
                "a text splitter cut it. Split the texts alone, and add image documents after that.",
                positions=[position],
            )
        payloads.append({CONTENT_KEY: document.page_content, METADATA_KEY: document.metadata})
        ids.append(document.id)
    return {"items": items, "payloads": payloads, "ids": ids}


def _document(hit: Hit) -> Document:
    return Document(page_content=hit.payload[CONTENT_KEY], metadata=hit.payload[METADATA_KEY] or {}, id=hit.id)
