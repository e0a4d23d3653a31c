"""An index in Qdrant over texts and pictures that is asked in two stages.

Enters: items, and queries by text or picture. Leaves: hits, ranked by MaxSim over all tokens. This file refuses to
know frameworks and how vectors are computed.
"""

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
"""Items that the first stage hands to the second, unless ten times the wanted number is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An item that was found.

    Attributes:
        id: As it was given to ``add``, or returned by it.
        score: MaxSim: the sum over the query's tokens of the best dot product with one of the item's tokens.
        payload: As it was given to ``add``.
    """

    id: str
    score: float
    payload: Mapping[str, Any]


class LateInteractionIndex(Base):
    """Texts and pictures in a Qdrant collection, found by their embeddings and ranked by all their tokens.

    A point has two vectors: the embedding, over which Qdrant keeps a graph, and the multi-vector, which ranks the
    candidates that the graph gives; both happen in one query. Every call has its a-twin; any thread and event loop may
    call. The collection is made by the first call, and one that is there must have been made with the same settings.
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
        """Put items into the index; one whose id is there is replaced.

        All three are read as they are needed, in batches of 64: an index of any size is filled in constant memory.
        While one batch is written, the next one is embedded. What came before an error is in the index, and adding it
        again changes nothing.

        Args:
            items: Texts and pictures, mixed, as in ``JinaEmbedder.embed``.
            payloads: What comes back with each hit, as JSON takes it; filters look into it.
            ids: One per item; without, or where it is None, equal items with equal payloads have one id.
            show_progress: Whether to draw a bar on stderr; None does as the embedder does.

        Returns:
            The ids of what was added, in order; with ``on_error="skip"``, bad items are left out and a warning names
            them, so that adding them again once they are mended puts them in.

        Raises:
            InputError: Names every bad position of the first batch that has some.
            ConfigError: The collection was made with other settings.
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
                    found = await self._vectors.aembed(batch.items, "passage")
                    rows = await asyncio.to_thread(self._rows, batch, found)
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
        """Remove the items of these ids, or all that Qdrant's ``filter`` lets through; unknown ids are no error."""
        self._ready()
        what = qdrant_messages.selector(ids, filter)
        self._caller.call("delete", collection_name=self.name, points_selector=what, wait=True)

    async def adelete(
        self,
        ids: Iterable[str] | None = None,
        *,
        filter: models.Filter | None = None,  # noqa: A002
    ) -> None:
        """Await ``delete``."""
        await asyncio.to_thread(self._ready)
        what = qdrant_messages.selector(ids, filter)
        await self._caller.acall("delete", collection_name=self.name, points_selector=what, wait=True)

    # --- reading ----------------------------------------------------------------------------------------------------

    def search(
        self,
        query: EmbedInput,
        k: int = 10,
        *,
        candidates: int | None = None,
        filter: models.Filter | None = None,  # noqa: A002 - Qdrant's and the stores' word
    ) -> list[Hit]:
        """Return the items that answer a query best, best first, by one Qdrant query.

        Args:
            query: A text, which gets the query prefix, or a picture, as in ``JinaEmbedder.embed``.
            k: Most hits.
            candidates: Items that the embeddings select and MaxSim ranks; more find more and take longer. None takes
                400, or ``10 * k`` where that is more.
            filter: Qdrant's filter over payloads, for both stages.

        Raises:
            InputError: The query cannot be embedded.
            ConfigError: ``k`` is no whole number over 0, or there are fewer ``candidates``; or the collection was made
                with other settings.
        """
        limits = _limits(k, candidates)
        self._ready()
        found = self._vectors.embed(inputs.mixed([query], name="queries"), "query", on_error="raise")
        return _hits(self._caller.call("query_points", **self._query(found, limits, filter)))

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
        found = await self._vectors.aembed(inputs.mixed([query], name="queries"), "query", on_error="raise")
        return _hits(await self._caller.acall("query_points", **self._query(found, limits, filter)))

    def count(self) -> int:
        """Return the number of items."""
        self._ready()
        return int(self._caller.call("count", collection_name=self.name).count)

    async def acount(self) -> int:
        """Await ``count``."""
        await asyncio.to_thread(self._ready)
        return int((await self._caller.acall("count", collection_name=self.name)).count)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _rows(self, batch: Batch, found: Pair) -> Rows:
        rows, errors = rows_of(batch, *found, self.storage.pool_factor)
        too_large = Outcome(embeddings=found[1], errors=errors)
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

    def _query(self, found: Pair, limits: tuple[int, int], only: models.Filter | None) -> dict[str, Any]:
        (embedding,), (rows,) = found
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
        raise ConfigError(f"candidates={candidates!r} are fewer than k={k}; MaxSim ranks what is handed to it.")
    return k, candidates


def _hits(found: models.QueryResponse) -> list[Hit]:
    hits = []
    for point in found.points:
        payload = dict(point.payload or {})
        hits.append(Hit(id=payload.pop(qdrant_messages.ID_KEY, str(point.id)), score=point.score, payload=payload))
    return hits
