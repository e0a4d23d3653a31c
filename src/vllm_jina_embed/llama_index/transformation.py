"""The embedding as a transformation of nodes: pictures as pictures, texts as texts, in one call.

Enters: nodes. Leaves: the nodes with their embeddings. This file refuses to know how an embedding is computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llama_index.core.schema import BaseNode

from .._adapter import vectors
from ..errors import SHOWN, InputError
from ..inputs import EmbedInput
from .events import achunks_of, chunks_of, embedding_event
from .nodes import items_of, storable, warn_of_unnamed, whole
from .picture_methods import PictureMethods


class NodeTransformation(PictureMethods):
    """``__call__`` and ``acall`` of ``VllmJinaEmbedding``, which IngestionPipeline and indexes call."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Embed every node in one call: one with a picture as that picture, any other as its text.

        As last of ``transformations`` it makes texts and pictures one ranked list in an ordinary ``VectorStoreIndex``.

        Args:
            nodes: Nodes or documents of every kind.
            **kwargs: ``show_progress``; LlamaIndex's further keywords are ignored.

        Returns:
            The nodes with their embeddings, in order. Copies that a splitter made of a document's picture are one
            node, an ``ImageDocument`` is an ``ImageNode``; with ``on_error="skip"``, bad nodes are left out.

        Raises:
            InputError: Names every node that cannot be embedded; nodes are counted after copies were joined.
        """
        nodes, items = _prepared(nodes)
        if not items:
            return []
        chunks = chunks_of(self, items, self._media, texts=True)
        with embedding_event(self, chunks) as rows, _naming(nodes):
            rows += vectors(self._core.embed(items, show_progress=kwargs.get("show_progress")))
        return _with_embeddings(nodes, rows)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Await ``__call__``."""
        nodes, items = _prepared(nodes)
        if not items:
            return []
        chunks = await achunks_of(self, items, self._media, texts=True)
        with embedding_event(self, chunks) as rows, _naming(nodes):
            rows += vectors(await self._core.aembed(items, show_progress=kwargs.get("show_progress")))
        return _with_embeddings(nodes, rows)


def _prepared(nodes: Sequence[BaseNode]) -> tuple[list[BaseNode], list[EmbedInput]]:
    nodes = whole(nodes)
    items: list[EmbedInput] = [*items_of(nodes)]
    warn_of_unnamed(nodes)
    return [storable(node) for node in nodes], items


@contextmanager
def _naming(nodes: Sequence[BaseNode]) -> Iterator[None]:
    """Add the nodes' ids to an error that names positions."""
    try:
        yield
    except InputError as error:
        bad = [f"items[{position}] is node {nodes[position].node_id!r}" for position in error.positions[:SHOWN]]
        error.add_note("; ".join(bad))
        raise


def _with_embeddings(nodes: Sequence[BaseNode], rows: list[list[float]]) -> list[BaseNode]:
    """Set the embeddings; nodes that could not be embedded (``on_error="skip"``) are left out."""
    kept: list[BaseNode] = []
    for node, row in zip(nodes, rows, strict=True):
        if not math.isnan(row[0]):
            node.embedding = row
            kept.append(node)
    return kept
