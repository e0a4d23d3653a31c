"""Search a corpus as a LangChain retriever."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from ..corpus import Corpus, Row, search_corpus
from ..inputs.policy import MediaPolicy
from ..inputs.references import strict_image
from .documents import image_document
from .reranking import SCORE_KEY


class CorpusRetriever(BaseRetriever):
    """Retrieve the texts and images of a corpus that answer a query best; every vector is compared.

    A query that is nothing but an image's data URI or reference is that image.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,langchain,corpus]'``

    Use:
        ```python
        from vllm_jina_embed.corpus import embedder_of, open_corpus
        from vllm_jina_embed.langchain import CorpusRetriever

        corpus = open_corpus("corpus")
        retriever = CorpusRetriever(corpus=corpus, embedder=embedder_of(corpus), k=5)
        retriever.invoke("a question")
        ```
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    corpus: Corpus = Field(description="What open_corpus returns.")
    embedder: Any = Field(description="What embedder_of returns; whoever made it closes it.")
    k: int = Field(default=4, gt=0, description="Documents per answer.")
    with_scores: bool = Field(default=False, description="Whether metadata holds relevance_score.")
    with_images: bool = Field(
        default=True, description="Whether an image's document holds the image, opened from where it came."
    )

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        count = overrides.pop("k", self.k)
        image = strict_image(query)
        given = {"query": query} if image is None else {"image": image}
        rows = search_corpus(self.corpus, embedder=self.embedder, count=count, **given, **overrides)
        return [self._document(row) for row in rows]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        return await asyncio.to_thread(
            self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **overrides
        )

    def _document(self, row: Row) -> Document:
        media = self.embedder.settings.media
        found = document_of(self.corpus, row, media=media, with_image=self.with_images)
        if self.with_scores:
            found.metadata[SCORE_KEY] = row.score
        return found


def document_of(corpus: Corpus, row: Row, *, media: MediaPolicy | None, with_image: bool = True) -> Document:
    """Return a row as a document; an image's holds the image.

    Raises:
        InputError: The image cannot be opened, see ``Corpus.image``.
    """
    image = corpus.image_input(row, media=media) if with_image else None
    if image is None:
        return Document(page_content=row.text, metadata=row.metadata, id=row.id)
    text = row.text if row.kind == "both" else None
    caption = row.text if row.kind == "image" else None
    return image_document(image, text=text, caption=caption, metadata=row.metadata, id=row.id)
