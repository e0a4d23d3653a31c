"""An index over texts and images, searched in stages: embeddings, MaxSim over all tokens, and a reranker."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..embedding.outcomes import Outcome
from ..embedding.progress import progress_bar
from ..inputs import items as inputs
from ..inputs.items import EmbedInput
from .batches import Batch, Payload, Rows, batches, rows_of
from .collection import Hit, Question
from .setup import Base
from .stages import Plan, Rerank
from .vectors import Asked, Pair

if TYPE_CHECKING:
    from qdrant_client import models


class LateInteractionIndex(Base):
    """Texts and images in a collection of Qdrant or LanceDB, found by their embeddings and ranked by all their tokens.

    An item has two vectors: the embedding, over which Qdrant keeps a graph, and the multi-vector, which ranks the
    candidates that the graph gives; in Qdrant both happen in one query. Every call has its a-twin; any thread and
    event loop may call. The first call creates the collection; an existing one must have been created with the same
    settings.
    """

    # --- writing ----------------------------------------------------------------------------------------------------

    def add(
        self,
        items: Iterable[EmbedInput],
        *,
        payloads: Iterable[Payload] | None = None,
        ids: Iterable[str | None] | None = None,
        show_progress: bool | None = None,
    ) -> list[str]:
        """Put items into the index; an item with the same id is replaced.

        All three are read as they are needed, in batches of 64: an index of any size is filled in constant memory.
        While one batch is written, the next one is embedded. Items before an error are in the index, and adding them
        again changes nothing.

        Args:
            items: Texts and images, mixed, as in ``JinaEmbedder.embed``.
            payloads: Returned with each hit and searched by filters; values that JSON can hold.
            ids: One per item; without them, or where one is None, equal items with equal payloads get the same id.
            show_progress: Whether to draw a bar on stderr; None does as the embedder does.

        Returns:
            The ids of the added items, in order; with ``on_error="skip"``, bad items are left out and a warning names
            them.

        Raises:
            InputError: A batch has bad items; names every position.
            ConfigError: The collection was created with other settings.
        """
        self._ready()
        added: list[str] = []
        with ThreadPoolExecutor(1) as writer, progress_bar(self.embedder.settings, None, show_progress) as bar:
            writing: Future[None] | None = None
            for batch in batches(items, payloads, ids, self.embedder.settings.media):
                rows = self._rows(batch, self._vectors.embed(batch.items, "passage"))
                if writing is not None:
                    writing.result()
                writing = writer.submit(self._collection.write, rows)
                added += rows.ids
                bar.update(len(batch.items))
            if writing is not None:
                writing.result()
        return added

    async def aadd(
        self,
        items: Iterable[EmbedInput],
        *,
        payloads: Iterable[Payload] | None = None,
        ids: Iterable[str | None] | None = None,
        show_progress: bool | None = None,
    ) -> list[str]:
        """Await ``add``."""
        await asyncio.to_thread(self._ready)
        added: list[str] = []
        rest = batches(items, payloads, ids, self.embedder.settings.media)
        writing: asyncio.Task[None] | None = None
        with progress_bar(self.embedder.settings, None, show_progress) as bar:
            try:
                while (batch := await asyncio.to_thread(next, rest, None)) is not None:
                    pair = await self._vectors.aembed(batch.items, "passage")
                    rows = await asyncio.to_thread(self._rows, batch, pair)
                    if writing is not None:
                        await writing
                    writing = asyncio.create_task(self._collection.awrite(rows))
                    added += rows.ids
                    bar.update(len(batch.items))
            finally:
                if writing is not None:
                    await writing
        return added

    def delete(self, ids: Iterable[str] | None = None, *, filter: models.Filter | str | None = None) -> None:  # noqa: A002
        """Remove the items of these ids, or all that match the store's ``filter``; unknown ids are ignored."""
        self._ready()
        self._collection.remove(ids, filter)

    async def adelete(
        self,
        ids: Iterable[str] | None = None,
        *,
        filter: models.Filter | str | None = None,  # noqa: A002
    ) -> None:
        """Await ``delete``."""
        await asyncio.to_thread(self._ready)
        await self._collection.aremove(ids, filter)

    # --- reading ----------------------------------------------------------------------------------------------------

    def search(
        self,
        query: EmbedInput,
        k: int = 10,
        *,
        candidates: int | None = None,
        filter: models.Filter | str | None = None,  # noqa: A002 - the stores' word
        stages: Collection[str] | None = None,
        rerank: Rerank | None = None,
    ) -> list[Hit]:
        """Return the items that answer a query best, best first; one query of Qdrant, or two of LanceDB.

        Args:
            query: A text, which gets the query prefix, or an image, as in ``JinaEmbedder.embed``.
            k: Number of hits.
            candidates: Items that the embeddings select and MaxSim ranks; more are slower and miss less. None takes
                400, or ``10 * k`` where that is more.
            filter: Over payloads, for both stages: a Qdrant filter, or LanceDB's SQL over the JSON ``payload``.
            stages: Which of ``embedding``, ``maxsim`` and ``rerank`` there are; None takes all. Without ``embedding``
                MaxSim ranks everything; without ``maxsim`` no multi-vector is compared.
            rerank: What ranks the best hits once more.

        Raises:
            InputError: The query cannot be embedded.
            ConfigError: ``k`` is not a whole number over 0, ``candidates`` is smaller, the ``stages`` make no search,
                or the collection was created with other settings.
        """
        plan = Plan.of(k, candidates, stages, rerank)
        self._ready()
        items = inputs.mixed([query], name="queries")
        asked = self._vectors.query(items, embedding=plan.embedding, multi=plan.maxsim)
        hits = self._collection.search(_question(asked, plan, filter))
        if plan.rerank is None or not hits:
            return hits
        return plan.ranked(hits, plan.rerank.reranker.rerank(query, plan.rerank.items(hits), k))

    async def asearch(
        self,
        query: EmbedInput,
        k: int = 10,
        *,
        candidates: int | None = None,
        filter: models.Filter | str | None = None,  # noqa: A002
        stages: Collection[str] | None = None,
        rerank: Rerank | None = None,
    ) -> list[Hit]:
        """Await ``search``."""
        plan = Plan.of(k, candidates, stages, rerank)
        if not self._is_ready:
            await asyncio.to_thread(self._ready)
        items = inputs.mixed([query], name="queries")
        asked = await self._vectors.aquery(items, embedding=plan.embedding, multi=plan.maxsim)
        hits = await self._collection.asearch(_question(asked, plan, filter))
        if plan.rerank is None or not hits:
            return hits
        return plan.ranked(hits, await plan.rerank.reranker.arerank(query, plan.rerank.items(hits), k))

    def filter_for(self, key: str, value: str) -> Any:
        """Return the store's filter for payloads whose ``key`` is ``value``."""
        return self._collection.having(key, value)

    def count(self) -> int:
        """Return the number of items."""
        self._ready()
        return self._collection.count()

    async def acount(self) -> int:
        """Await ``count``."""
        await asyncio.to_thread(self._ready)
        return await self._collection.acount()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _rows(self, batch: Batch, pair: Pair) -> Rows:
        rows, errors = rows_of(batch, *pair, self.storage.pool_factor, self._collection.most_numbers)
        too_large = Outcome(embeddings=pair[1], errors=errors)
        too_large.checked(self.embedder.settings, skipped="left out")
        return rows


def _question(asked: Asked, plan: Plan, only: Any) -> Question:
    embedding, rows = asked
    return Question(
        embedding=embedding, multi_vector=rows, count=plan.found, candidates=plan.candidates, only=only
    )  # fmt: skip
