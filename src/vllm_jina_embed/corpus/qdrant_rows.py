"""Read the rows of a corpus from its Qdrant collection; its searches are exact, so that every vector is compared."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from ..late_interaction.qdrant_client import Caller
from .documents import row_of, types_of
from .parquet_parts import EMBEDDING, MULTI_VECTOR
from .qdrant import CONTENT, METADATA
from .stored import Query, Row

BATCH = 256
"""Points that are read together."""


class QdrantRows:
    """The points of a collection; see ``RowStore``. A row's key is the id of its point."""

    def __init__(
        self, name: str, manifest: Mapping[str, Any], *, path: str | None = None, url: str | None = None
    ) -> None:
        """Connect; an embedded Qdrant is open for this process alone.

        Args:
            name: Of the collection.
            manifest: Of the corpus.
            path: Folder of an embedded Qdrant.
            url: Of a server; its key is taken from ``QDRANT_API_KEY``.

        Raises:
            ConfigError: There is no such collection, or Qdrant cannot be used there.
            EngineError: The server does not answer.
            MissingExtraError: qdrant-client is not installed.
        """
        key = os.environ.get("QDRANT_API_KEY") if url is not None else None
        self.caller = Caller(client=None, async_client=None, path=path, url=url, api_key=key)
        self.name = name
        self._types = types_of(manifest)
        try:
            if not self._call("collection_exists"):
                raise ConfigError(f"there is no collection {name!r}; its journal says that there was one.")
        except BaseException:
            self.close()
            raise

    @property
    def client(self) -> Any:
        """The client of Qdrant; it is closed with this object."""
        return self.caller.client

    def count(self) -> int:
        """See ``RowStore``."""
        return int(self._call("count", exact=True).count)

    def rows(self) -> Iterator[Row]:
        """See ``RowStore``."""
        offset = None
        while True:
            points, offset = self._call("scroll", limit=BATCH, offset=offset, with_payload=True)
            yield from map(self._row, points)
            if offset is None:
                return

    def nearest(self, query: Query) -> list[Row]:
        """See ``RowStore``; both stages are one request."""
        from qdrant_client import models

        exact = models.SearchParams(exact=True)
        first: dict[str, Any] = {}
        if query.embedding is not None:
            first = {"query": query.embedding.tolist(), "using": EMBEDDING, "limit": query.selected}
        if query.multi_vector is None:
            asked = {**first, "search_params": exact}
        else:
            tokens = {"query": query.multi_vector.tolist(), "using": MULTI_VECTOR, "limit": query.count}
            prefetch = models.Prefetch(**first, params=exact) if first else None
            asked = {**tokens, "search_params": exact, "prefetch": prefetch}
        points = self._call("query_points", **asked, with_payload=True).points
        return [self._row(point, point.score) for point in points]

    def get(self, keys: Sequence[str]) -> list[Row]:
        """See ``RowStore``."""
        points = {str(point.id): point for point in self._call("retrieve", ids=list(keys), with_payload=True)}
        return [self._row(points[key]) for key in keys]

    def close(self) -> None:
        """See ``RowStore``."""
        self.caller.close()

    def _call(self, method: str, **arguments: Any) -> Any:
        return self.caller.call(method, collection_name=self.name, **arguments)

    def _row(self, point: Any, score: float | None = None) -> Row:
        payload = point.payload
        return row_of(payload["id"], payload[CONTENT], payload[METADATA], self._types, score)
