"""Search a ``LateInteractionIndex`` as a LlamaIndex retriever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.callbacks import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from ..errors import InputError
from ..frameworks.renamed import renamed
from ..inputs.images import ImageInput, MediaPolicy
from ..inputs.items import EmbedInput
from ..late_interaction import Hit, LateInteractionIndex, Rerank
from ..late_interaction.stages import Reranker
from .nodes import items_of, storable, whole
from .queries import ImageQuery, file_or_image, image_of

DOCUMENT_KEY = "ref_doc_id"
"""LlamaIndex's payload key of the document that a node comes from; the metadata stands beside it."""

STAGE_SCORES_KEY = "stage_scores"


class LateInteractionRetriever(BaseRetriever):
    """Retrieve the nodes of texts and images that answer a query best, ranked by all their tokens.

    A query string that is nothing but an image's data URI or reference is that image, and so is the ``image_path`` of
    a ``QueryBundle``.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,llama-index,qdrant]'``

    Use:
        ```python
        from vllm_jina_embed import JinaEmbedder
        from vllm_jina_embed.late_interaction import LateInteractionIndex
        from vllm_jina_embed.llama_index import LateInteractionRetriever, image_node

        index = LateInteractionIndex(JinaEmbedder(model), url="http://localhost:6333")
        retriever = LateInteractionRetriever(index, similarity_top_k=5)
        retriever.insert_nodes([TextNode(text="A report."), image_node("chart.png")])
        retriever.retrieve("a question")
        retriever.retrieve(retriever.image_query("photo.jpg"))
        ```
    """

    def __init__(
        self,
        index: LateInteractionIndex,
        *,
        similarity_top_k: int = 4,
        candidates: int | None = None,
        filter: Any = None,  # noqa: A002 - the stores' word
        stages: Sequence[str] | None = None,
        reranker: Reranker | None = None,
        rerank_candidates: int = 50,
        with_scores: bool = False,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        """Set what is searched, and how.

        Args:
            index: The index to search; whoever made it closes it.
            similarity_top_k: Nodes per answer.
            candidates: Nodes that MaxSim ranks; None uses the index's setting.
            filter: A ``qdrant_client.models.Filter`` over the nodes' metadata, or LanceDB's SQL.
            stages: Which of ``embedding``, ``maxsim`` and ``rerank`` there are; None takes all.
            reranker: Anything with ``rerank(query, items, top_n)`` and ``arerank``, which ranks the best nodes again.
            rerank_candidates: Nodes that the reranker ranks.
            with_scores: Whether the nodes' metadata holds ``stage_scores``, which no model reads.
            callback_manager: As in every retriever.
            verbose: As in every retriever.
        """
        super().__init__(callback_manager=callback_manager, verbose=verbose)
        self.index = index
        self.similarity_top_k = similarity_top_k
        self.candidates = candidates
        self.filter = filter
        self.stages = stages
        self.with_scores = with_scores
        self.rerank = (
            None if reranker is None else Rerank(reranker=reranker, item_of=self._item, candidates=rerank_candidates)
        )

    @property
    def media(self) -> MediaPolicy:
        """Limits for images, those of the index's embedder."""
        return self.index.embedder.settings.media

    def insert_nodes(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """Add nodes to the index and return their ids; a node replaces the one with the same id.

        A node with an image is embedded as that image, as by ``VllmJinaEmbedding``. See
        ``LateInteractionIndex.add`` for options and errors.
        """
        return self.index.add(**_add_arguments(nodes, together=self._together), **options)

    async def ainsert_nodes(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """Await ``insert_nodes``."""
        return await self.index.aadd(**_add_arguments(nodes, together=self._together), **options)

    def delete_nodes(self, node_ids: Sequence[str]) -> None:
        """Remove the nodes with these ids; unknown ids are ignored."""
        self.index.delete(node_ids)

    async def adelete_nodes(self, node_ids: Sequence[str]) -> None:
        """Await ``delete_nodes``."""
        await self.index.adelete(node_ids)

    def delete_ref_doc(self, ref_doc_id: str) -> None:
        """Remove all nodes of a document."""
        self.index.delete(filter=self.index.filter_for(DOCUMENT_KEY, ref_doc_id))

    async def adelete_ref_doc(self, ref_doc_id: str) -> None:
        """Await ``delete_ref_doc``."""
        await self.index.adelete(filter=self.index.filter_for(DOCUMENT_KEY, ref_doc_id))

    @renamed(picture="image")
    def image_query(self, image: ImageInput, query_str: str = "") -> ImageQuery:
        """Return a query by image: path, data URI, encoded bytes, ``BytesIO``, PIL image or uint8 array."""
        return ImageQuery(query_str, image=file_or_image(image))

    @renamed(picture="image")
    async def aimage_query(self, image: ImageInput, query_str: str = "") -> ImageQuery:
        """Return ``image_query``; nothing is computed before retrieval."""
        return self.image_query(image, query_str)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [self._node(hit) for hit in self.index.search(_query(query_bundle), **self._limits)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [self._node(hit) for hit in await self.index.asearch(_query(query_bundle), **self._limits)]

    @property
    def _together(self) -> bool:
        return self.index.embedder.settings.checkpoint.row.takes_both  # a mean has no multi-vectors

    @property
    def _limits(self) -> dict[str, Any]:
        return {
            "k": self.similarity_top_k,
            "candidates": self.candidates,
            "filter": self.filter,
            "stages": self.stages,
            "rerank": self.rerank,
        }

    def _item(self, payload: Mapping[str, Any]) -> Any:
        """Return what the reranker compares of a node in the index; an error for an image that is gone.

        A reranker of ours says whether it takes a text with its image; any other gets what the embedder takes.
        """
        assert self.rerank is not None
        settings = getattr(self.rerank.reranker, "settings", None)
        together = self._together if settings is None else settings.checkpoint.row.takes_both
        (item,) = items_of([metadata_dict_to_node(dict(payload))], together=together)
        return item

    def _node(self, hit: Hit) -> NodeWithScore:
        node = metadata_dict_to_node(dict(hit.payload))
        if self.with_scores:
            node.metadata[STAGE_SCORES_KEY] = dict(hit.scores)
            node.excluded_embed_metadata_keys.append(STAGE_SCORES_KEY)
            node.excluded_llm_metadata_keys.append(STAGE_SCORES_KEY)
        return NodeWithScore(node=node, score=hit.score)


def _add_arguments(nodes: Sequence[BaseNode], *, together: bool) -> dict[str, Any]:
    """Return nodes as keyword arguments of ``LateInteractionIndex.add``."""
    nodes = whole(nodes)
    items = items_of(nodes, together=together)
    payloads = [
        {} if isinstance(item, InputError) else node_to_metadata_dict(storable(node), remove_text=False)
        for node, item in zip(nodes, items, strict=True)
    ]
    return {"items": items, "payloads": payloads, "ids": [node.node_id for node in nodes]}


def _query(bundle: QueryBundle) -> EmbedInput:
    """Return the text or image to search by.

    Raises:
        InputError: The query has neither, or several texts.
    """
    image = image_of(bundle)
    if image is not None:
        return image
    texts = bundle.embedding_strs
    if len(texts) == 1:
        return texts[0]
    what = f"{len(texts)} texts" if texts else "neither text nor image (its embedding is not used)"
    raise InputError(
        f"the query has {what}; expected one text or image, whose tokens are compared. For an image, pass "
        "retriever.image_query(image)."
    )
