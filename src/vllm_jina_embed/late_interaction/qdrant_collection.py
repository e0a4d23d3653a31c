"""A Qdrant collection of both kinds of vector, searched in one query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import Floats
from . import batches, qdrant_messages
from .batches import Rows
from .collection import EMBEDDING, Hit, Question
from .qdrant_client import Caller
from .storage import Storage

if TYPE_CHECKING:
    from qdrant_client import models


class QdrantCollection:
    """See ``Collection``."""

    def __init__(self, caller: Caller, name: str, *, facts: Mapping[str, Any], storage: Storage) -> None:
        """Keep the parts; nothing is asked."""
        self._caller, self._name = caller, name
        self._facts, self._storage = facts, storage

    @property
    def most_numbers(self) -> int | None:
        """See ``Collection``."""
        return batches.MOST_NUMBERS

    def ready(self) -> None:
        """See ``Collection``."""
        if not self._caller.call("collection_exists", collection_name=self._name):
            creation = qdrant_messages.creation(self._name, facts=self._facts, storage=self._storage)
            self._caller.call("create_collection", **creation)
        info = self._caller.call("get_collection", collection_name=self._name)
        qdrant_messages.check(self._name, info, self._facts)

    def write(self, rows: Rows) -> None:
        """See ``Collection``."""
        for part in rows.parts():
            self._caller.call("upsert", **self._points(part))

    async def awrite(self, rows: Rows) -> None:
        """Await ``write``."""
        for part in rows.parts():
            await self._caller.acall("upsert", **self._points(part))

    def remove(self, ids: Iterable[str] | None, only: Any) -> None:
        """See ``Collection``."""
        points = qdrant_messages.selector(ids, only)
        self._caller.call("delete", collection_name=self._name, points_selector=points, wait=True)

    async def aremove(self, ids: Iterable[str] | None, only: Any) -> None:
        """Await ``remove``."""
        points = qdrant_messages.selector(ids, only)
        await self._caller.acall("delete", collection_name=self._name, points_selector=points, wait=True)

    def search(self, question: Question) -> list[Hit]:
        """See ``Collection``."""
        arguments = qdrant_messages.query(self._name, question, storage=self._storage)
        return _hits(self._caller.call("query_points", **arguments), question)

    async def asearch(self, question: Question) -> list[Hit]:
        """Await ``search``."""
        arguments = qdrant_messages.query(self._name, question, storage=self._storage)
        return _hits(await self._caller.acall("query_points", **arguments), question)

    def count(self) -> int:
        """See ``Collection``."""
        return int(self._caller.call("count", collection_name=self._name).count)

    async def acount(self) -> int:
        """Await ``count``."""
        return int((await self._caller.acall("count", collection_name=self._name)).count)

    def having(self, key: str, value: str) -> Any:
        """See ``Collection``."""
        return qdrant_messages.having(key, value)

    def close(self) -> None:
        """See ``Collection``."""
        self._caller.close()

    async def aclose(self) -> None:
        """Await ``close``."""
        await self._caller.aclose()

    def _points(self, rows: Rows) -> dict[str, Any]:
        points = qdrant_messages.points(rows.ids, rows.payloads, rows.embeddings, rows.multi_vectors)
        return {"collection_name": self._name, "points": points, "wait": True}


def _hits(response: models.QueryResponse, question: Question) -> list[Hit]:
    hits = []
    for point in response.points:
        payload = dict(point.payload or {})
        scores = {EMBEDDING: point.score} if question.multi_vector is None else {"maxsim": point.score}
        stored = (point.vector or {}).get(EMBEDDING) if isinstance(point.vector, Mapping) else None
        if stored is not None and question.embedding is not None:
            scores = {EMBEDDING: _cosine(question.embedding, np.asarray(stored)), **scores}
        name = payload.pop(qdrant_messages.ID_KEY, str(point.id))
        hits.append(Hit(id=name, score=point.score, payload=payload, scores=scores))
    return hits


def _cosine(query: Floats, stored: Any) -> float:
    """Return the cosine; by sums, since the last digits of a dot product depend on where its arrays lie in memory."""
    left, right = query.astype(np.float64), stored.astype(np.float64)
    return float((left * right).sum() / np.sqrt((left * left).sum() * (right * right).sum()))
