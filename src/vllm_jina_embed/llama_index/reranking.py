"""A second look at retrieved nodes as LlamaIndex's ``BaseNodePostprocessor``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # not in its __all__
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from ..errors import InputError
from ..frameworks.reranking import MaxSimFields, RankingFields, RerankerFields
from ..inputs.items import EmbedInput
from ..scoring.ranking import Ranked
from .cache import as_store
from .events import chunks_of
from .nodes import items_of
from .queries import question_of

_dispatcher = get_dispatcher(__name__)


class Postprocessor(RerankerFields, BaseNodePostprocessor):
    """Reorders nodes by the scores of a reranker; a subclass says which."""

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serialises this class under."""
        return cls.__name__

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        _check_nodes(nodes)
        if not nodes:
            return []
        with self._event(query, nodes) as found:
            found += _best(nodes, self._reranker.rerank(query, self._items(nodes), self.top_n))
        return found

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        _check_nodes(nodes)
        if not nodes:
            return []
        items = await asyncio.to_thread(self._items, nodes)
        with self._event(query, nodes) as found:
            found += _best(nodes, await self._reranker.arerank(query, items, self.top_n))
        return found

    def _items(self, nodes: Sequence[NodeWithScore]) -> list[Any]:
        together = self._reranker.settings.checkpoint.row.takes_both
        return items_of([found.node for found in nodes], together=together)

    @contextmanager
    def _event(self, query: EmbedInput, nodes: list[NodeWithScore]) -> Iterator[list[NodeWithScore]]:
        """Send the start and end events of a call; the caller adds the best nodes to the list that is yielded."""
        settings = self._reranker.settings
        (shown,) = chunks_of(self, [query], settings.media, texts=True)
        count, name = self.top_n or len(nodes), settings.checkpoint.label
        _dispatcher.event(ReRankStartEvent(query=shown, nodes=nodes, top_n=count, model_name=name))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: shown,
            EventPayload.TOP_K: count,
        }
        found: list[NodeWithScore] = []
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield found
            event.on_end(payload={EventPayload.NODES: found})
        _dispatcher.event(ReRankEndEvent(nodes=found))


class MaxSimReranker(MaxSimFields, Postprocessor):
    """Reorder the nodes of any retriever on any store by MaxSim over all their tokens: texts, images and both.

    The second look needs no other model and no store of multi-vectors: the candidates are embedded per token when they
    were found, with the engine that embedded the index, or taken from ``cache``.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,llama-index]'``

    Use:
        ```python
        from vllm_jina_embed.llama_index import MaxSimReranker, VllmJinaEmbedding, unified_retriever

        embedding = VllmJinaEmbedding(model)
        reranker = MaxSimReranker(embedder=embedding, top_n=5)
        retriever = unified_retriever(index, similarity_top_k=50)  # any store with this embedding
        engine = RetrieverQueryEngine.from_args(retriever, node_postprocessors=[reranker])
        ```

    Attributes:
        embedder: A ``JinaEmbedder``, or a ``VllmJinaEmbedding``; or pass ``model`` and settings for one of its own.
        cache: Keeps the multi-vectors: a path for an SQLite file, a key-value store of LlamaIndex, or ``get_many`` and
            ``put_many``.
        top_n: Nodes per answer; None keeps all.
    """

    @staticmethod
    def _as_store(store: Any) -> Any:
        return as_store(store)


class VllmJinaReranker(RankingFields, Postprocessor):
    """Reorder the nodes of any retriever on any store by a reranker, which reads a query and a node together.

    Setup:
        ``pip install 'vllm-jina-embed[vllm,llama-index]'``

    Use:
        ```python
        from vllm_jina_embed.llama_index import VllmJinaReranker, unified_retriever

        reranker = VllmJinaReranker(model="Qwen/Qwen3-VL-Reranker-2B", top_n=5)
        retriever = unified_retriever(index, similarity_top_k=50)  # any store with any embeddings
        engine = RetrieverQueryEngine.from_args(retriever, node_postprocessors=[reranker])
        ```

    Attributes:
        reranker: A ``JinaReranker``; or pass ``model`` and settings for one of its own.
        instruction: What makes a node relevant, in one sentence; None takes that of the model.
        top_n: Nodes per answer; None keeps all.
    """


def _query(bundle: QueryBundle | None) -> EmbedInput:
    """Return the text or image that the nodes are to answer.

    Raises:
        InputError: There is none.
    """
    if bundle is None:
        raise InputError("the nodes came without a query; pass query_bundle=... or query_str=...")
    return question_of(bundle)


def _check_nodes(nodes: Sequence[Any]) -> None:
    """Check that nodes came with their scores, as a retriever returns them.

    Raises:
        InputError: Something else is among them; names its position.
    """
    for position, found in enumerate(nodes):
        if not isinstance(found, NodeWithScore):
            raise InputError(
                f"got {type(found).__name__}; expected a NodeWithScore: wrap a node as NodeWithScore(node=node).",
                where=f"nodes[{position}]",
                positions=[position],
            )


def _best(nodes: Sequence[NodeWithScore], best: Sequence[Ranked]) -> list[NodeWithScore]:
    """Return the best nodes with their new scores; the caller's keep theirs."""
    return [NodeWithScore(node=nodes[one.position].node, score=one.score) for one in best]
