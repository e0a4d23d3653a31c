"""Embed LlamaIndex nodes in one call: images as images, texts as texts."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode

from ..embedding.calls import Calls
from ..errors import SHOWN, InputError, warn_of_items
from ..frameworks.base import vectors
from ..frameworks.skipping import Answer, answering, strictly
from .events import achunks_of, chunks_of, embedding_event
from .image_methods import ImageMethods
from .nodes import items_of, storable, warn_of_unnamed, whole

RUN_KEY = "run"


class NodeTransformation(ImageMethods):
    """``__call__`` and ``acall`` of ``VllmJinaEmbedding``, which IngestionPipeline and indexes call."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Embed every node in one call: a node with an image as that image, any other as its text.

        Where the model was trained for it, or with ``fusion``, a node with an image and a text is embedded as both.

        Put it last in ``transformations``: an ordinary ``VectorStoreIndex`` then ranks texts and images in one list.

        Args:
            nodes: Nodes or documents of any kind.
            **kwargs: ``show_progress``; LlamaIndex's further keywords are ignored.

        Returns:
            The nodes with their embeddings, in order. Copies of an image that a splitter made are joined, and an
            ``ImageDocument`` becomes an ``ImageNode``. With ``on_error="skip"``, bad nodes are left out and a warning
            names them.

        Raises:
            InputError: A node cannot be embedded; names each, counted after copies were joined.
        """
        nodes, items = self._prepared(nodes)
        if not items:
            return []
        chunks = chunks_of(self, items, self._media, texts=True)
        with embedding_event(self, chunks) as rows:
            with _naming(nodes), answering(self._mode) as answer:
                answer.rows = self._core.embed(items, **self._options(kwargs))
            rows += _take_embedded(answer, nodes, chunks)
        return _with_embeddings(nodes, rows)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Await ``__call__``."""
        nodes, items = self._prepared(nodes)
        if not items:
            return []
        chunks = await achunks_of(self, items, self._media, texts=True)
        with embedding_event(self, chunks) as rows:
            with _naming(nodes), answering(self._mode) as answer:
                answer.rows = await self._core.aembed(items, **self._options(kwargs))
            rows += _take_embedded(answer, nodes, chunks)
        return _with_embeddings(nodes, rows)

    def _prepared(self, nodes: Sequence[BaseNode]) -> tuple[list[BaseNode], list[Any]]:
        """Return the nodes as stores keep them, and the item to embed of each; an error for a bad node."""
        nodes = whole(nodes)
        items = items_of(nodes, together=self._core.settings.takes_both)
        lost = [item for item in items if isinstance(item, InputError)]
        if lost and not isinstance(self._core, Calls):
            raise InputError.collect(lost, total=len(items))
        is_good = [not isinstance(item, InputError) for item in items]
        warn_of_unnamed([node for node, good in zip(nodes, is_good, strict=True) if good])
        return [storable(node) if good else node for node, good in zip(nodes, is_good, strict=True)], items

    def _options(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {"show_progress": kwargs.get("show_progress"), **strictly(self._core, self._mode)}

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return the keywords, and with ``on_error="skip"`` a random number.

        ``IngestionPipeline`` keys its cache by this: without the number, every later run would repeat the answer of a
        run that left nodes out. With it, that cache never answers; ``cached(store)`` keeps the vectors.
        """
        fields = super().to_dict(**kwargs)
        return {**fields, RUN_KEY: uuid.uuid4().hex} if self._mode == "skip" else fields


@contextmanager
def _naming(nodes: Sequence[BaseNode]) -> Iterator[None]:
    """Add the nodes' ids to an error that names positions."""
    try:
        yield
    except InputError as error:
        error.add_note("; ".join(_names(nodes, error.positions)))
        raise


def _take_embedded(answer: Answer, nodes: list[BaseNode], chunks: list[str]) -> list[list[float]]:
    """Return the embeddings of the good nodes; remove the others from both lists, with one warning."""
    bad = answer.bad
    if bad:
        names = "; ".join(_names(nodes, bad))
        warn_of_items(f"nodes are left out: {answer.problem}\n{names}", answer.rows, stacklevel=3)
    for position in reversed(bad):
        del nodes[position], chunks[position]
    return vectors(np.delete(answer.rows, bad, axis=0))


def _names(nodes: Sequence[BaseNode], positions: Sequence[int]) -> list[str]:
    return [f"items[{position}] is node {nodes[position].node_id!r}" for position in positions[:SHOWN]]


def _with_embeddings(nodes: list[BaseNode], rows: list[list[float]]) -> list[BaseNode]:
    for node, row in zip(nodes, rows, strict=True):
        node.embedding = row
    return nodes
