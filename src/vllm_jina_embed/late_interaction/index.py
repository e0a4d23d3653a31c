"""An index in Qdrant over texts and images, searched in two stages: embeddings, then MaxSim over all tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..embedding.outcomes import Outcome
from ..embedding.progress import progress_bar
from ..errors import ConfigError
from ..inputs import items as inputs
from ..inputs.items import EmbedInput
from . import qdrant_messages
from .batches import Batch, Payload, Rows, batches, rows_of
from .setup import Base
from .vectors import Pair

if TYPE_CHECKING:
    from qdrant_client import models

CANDIDATES = 400
"""Items that the first stage hands to the second, unless ten times ``k`` is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One result of a search.

    Attributes:
        id: As passed to ``add``, or returned by it.
        score: MaxSim: the sum over the query's tokens of the best dot product with one of the item's tokens.
        payload: As passed to ``add``.
    """

    id: str
    score: float
    payload: Mapping[str, Any]


class LateInteractionIndex(Base):
    """Texts and images in a Qdrant collection, found by their embeddings and ranked by all their tokens.

    A point has two vectors: the embedding, over which Qdrant keeps a graph, and the multi-vector, which ranks the
    candidates that the graph gives; both happen in one query. Every call has its a-twin; any thread and event loop may
    call. The first call creates the collection; an existing one must have been created with the same settings.
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
                writing = writer.submit(self._write, rows)
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
                    writing = asyncio.create_task(self._awrite(rows))
                    added += rows.ids
                    bar.update(len(batch.items))
            finally:
                if writing is not None:
                    await writing
        return added

    def delete(self, ids: Iterable[str] | None = None, *, filter: models.Filter | None = None) -> None:  # noqa: A002
        """Remove the items of these ids, or all that match Qdrant's ``filter``; unknown ids are ignored."""
        self._ready()
        points = qdrant_messages.selector(ids, filter)
        self._caller.call("delete", collection_name=self.name, points_selector=points, wait=True)

    async def adelete(
        self,
        ids: Iterable[str] | None = None,
        *,
        filter: models.Filter | None = None,  # noqa: A002
    ) -> None:
        """Await ``delete``."""
        await asyncio.to_thread(self._ready)
        points = qdrant_messages.selector(ids, filter)
        await self._caller.acall("delete", collection_name=self.name, points_selector=points, wait=True)

    # --- reading ----------------------------------------------------------------------------------------------------

    def search(
        self,
        query: EmbedInput,
        k: int = 10,
        *,
        candidates: int | None = None,
        filter: models.Filter | None = None,  # noqa: A002 - Qdrant's and the stores' word
    ) -> list[Hit]:
        """Return the items that answer a query best, best first; one Qdrant query.

        Args:
            query: A text, which gets the query prefix, or an image, as in ``JinaEmbedder.embed``.
            k: Number of hits.
            candidates: Items that the embeddings select and MaxSim ranks; more are slower and miss less. None takes
                400, or ``10 * k`` where that is more.
            filter: Qdrant's filter over payloads, for both stages.

        Raises:
            InputError: The query cannot be embedded.
            ConfigError: ``k`` is not a whole number over 0, ``candidates`` is smaller, or the collection was created
                with other settings.
        """
        limits = _limits(k, candidates)
        self._ready()
        pair = self._vectors.embed(inputs.mixed([query], name="queries"), "query", on_error="raise")
        return _hits(self._caller.call("query_points", **self._query(pair, limits, filter)))

    async def asearch(
        self,
        query: EmbedInput,
        k: int = 10,
        *,
        candidates: int | None = None,
        filter: models.Filter | None = None,  # noqa: A002
    ) -> list[Hit]:
        """Await ``search``."""
        limits = _limits(k, candidates)
        if not self._is_ready:
            await asyncio.to_thread(self._ready)
        pair = await self._vectors.aembed(inputs.mixed([query], name="queries"), "query", on_error="raise")
        return _hits(await self._caller.acall("query_points", **self._query(pair, limits, filter)))

    def count(self) -> int:
        """Return the number of items."""
        self._ready()
        return int(self._caller.call("count", collection_name=self.name).count)

    async def acount(self) -> int:
        """Await ``count``."""
        await asyncio.to_thread(self._ready)
        return int((await self._caller.acall("count", collection_name=self.name)).count)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _rows(self, batch: Batch, pair: Pair) -> Rows:
        rows, errors = rows_of(batch, *pair, self.storage.pool_factor)
        too_large = Outcome(embeddings=pair[1], errors=errors)
        too_large.checked(self.embedder.settings, skipped="left out")
        return rows

    def _write(self, rows: Rows) -> None:
        for part in rows.parts():
            self._caller.call("upsert", **self._points(part))

    async def _awrite(self, rows: Rows) -> None:
        for part in rows.parts():
            await self._caller.acall("upsert", **self._points(part))

    def _points(self, rows: Rows) -> dict[str, Any]:
        points = qdrant_messages.points(rows.ids, rows.payloads, rows.embeddings, rows.multi_vectors)
        return {"collection_name": self.name, "points": points, "wait": True}

    def _query(self, pair: Pair, limits: tuple[int, int], only: models.Filter | None) -> dict[str, Any]:
        (embedding,), (rows,) = pair
        count, candidates = limits
        return qdrant_messages.query(
            self.name,
            embedding=embedding,
            multi_vector=rows,
            count=count,
            candidates=candidates,
            only=only,
            storage=self.storage,
        )


def _limits(k: int, candidates: int | None) -> tuple[int, int]:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ConfigError(f"k={k!r} must be a whole number over 0.")
    if candidates is None:
        return k, max(CANDIDATES, 10 * k)
    if isinstance(candidates, bool) or not isinstance(candidates, int):
        raise ConfigError(f"candidates={candidates!r} must be a whole number.")
    if candidates < k:
        raise ConfigError(f"candidates={candidates!r} are fewer than k={k}; MaxSim ranks only the candidates.")
    return k, candidates


def _hits(response: models.QueryResponse) -> list[Hit]:
    hits = []
    for point in response.points:
        payload = dict(point.payload or {})
        hits.append(Hit(id=payload.pop(qdrant_messages.ID_KEY, str(point.id)), score=point.score, payload=payload))
    return hits
