"""Search a corpus as a LlamaIndex retriever."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, TextNode

from ..corpus import Corpus, Row, search_corpus
from ..inputs.policy import MediaPolicy
from ..inputs.references import strict_image
from .image_nodes import image_node
from .queries import image_of


class CorpusRetriever(BaseRetriever):
    """Retrieve the nodes of a corpus that answer a query best; every vector is compared.

    A query string that is nothing but an image's data URI or reference is that image, and so is the ``image_path`` of
    a ``QueryBundle``.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,llama-index,corpus]'``

    Use:
        ```python
        from vllm_jina_embed.corpus import embedder_of, open_corpus
        from vllm_jina_embed.llama_index import CorpusRetriever

        corpus = open_corpus("corpus")
        retriever = CorpusRetriever(corpus, embedder=embedder_of(corpus), similarity_top_k=5)
        retriever.retrieve("a question")
        ```
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        embedder: Any,
        similarity_top_k: int = 4,
        with_images: bool = True,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        """Set what is searched.

        Args:
            corpus: What ``open_corpus`` returns.
            embedder: What ``embedder_of`` returns; whoever made it closes it.
            similarity_top_k: Nodes per answer.
            with_images: Whether an image's node holds the image, opened from where it came.
            callback_manager: As in every retriever.
            verbose: As in every retriever.
        """
        super().__init__(callback_manager=callback_manager, verbose=verbose)
        self.corpus, self.embedder = corpus, embedder
        self.similarity_top_k, self.with_images = similarity_top_k, with_images

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        image: Any = image_of(query_bundle)
        if image is None:
            image = strict_image(query_bundle.query_str)
        given: dict[str, Any] = {"query": query_bundle.query_str} if image is None else {"image": image}
        rows = search_corpus(self.corpus, embedder=self.embedder, count=self.similarity_top_k, **given)
        return [NodeWithScore(node=self._node(row), score=row.score) for row in rows]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    def _node(self, row: Row) -> BaseNode:
        return node_of(self.corpus, row, media=self.embedder.settings.media, with_image=self.with_images)


def node_of(corpus: Corpus, row: Row, *, media: MediaPolicy | None, with_image: bool = True) -> BaseNode:
    """Return a row as a node; an image's holds the image.

    Raises:
        InputError: The image cannot be opened, see ``Corpus.image``.
    """
    image = corpus.image_input(row, media=media) if with_image else None
    if image is None:
        return TextNode(text=row.text, metadata=row.metadata, id_=row.id)
    text = row.text if row.kind == "both" else None
    caption = row.text if row.kind == "image" else None
    return image_node(image, text=text, caption=caption, metadata=row.metadata, id_=row.id)
