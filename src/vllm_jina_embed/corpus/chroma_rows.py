"""Read the rows of a corpus from its Chroma collection, whose index answers the searches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from .chroma import client_of, names_of
from .documents import row_of, types_of
from .store_errors import ReadingStore
from .stored import Query, Row

BATCH = 256
"""Records that are read together."""
MORE = 100
"""So many results the index is asked for at least: it looks at more of its graph for them."""


class ChromaRows:
    """The records of a collection; see ``RowStore``. A row's key is its id."""

    def __init__(
        self, name: str, manifest: Mapping[str, Any], *, path: str | None = None, address: str | None = None
    ) -> None:
        """Open the collection.

        Args:
            name: Of the collection.
            manifest: Of the corpus.
            path: Folder of an embedded Chroma.
            address: Host and port of a server.

        Raises:
            ConfigError: There is no such collection.
            EngineError: The server does not answer.
            MissingExtraError: chromadb is not installed.
        """
        self.name, self.place = name, f"chroma://{path or address}/{name}"
        self._types = types_of(manifest)
        with ReadingStore(self.place):
            self.client = client_of(path, address)
            if name not in names_of(self.client):
                raise ConfigError(f"there is no collection {self.place!r}; its journal says that there was one.")
            self.collection: Any = self.client.get_collection(name, embedding_function=None)

    def count(self) -> int:
        """See ``RowStore``."""
        with ReadingStore(self.place):
            return int(self.collection.count())

    def rows(self) -> Iterator[Row]:
        """See ``RowStore``."""
        first = 0
        while True:
            with ReadingStore(self.place):
                found = self.collection.get(limit=BATCH, offset=first, include=["documents", "metadatas"])
            yield from map(self._row, found["ids"], found["documents"], found["metadatas"])
            first += BATCH
            if len(found["ids"]) < BATCH:
                return

    def nearest(self, query: Query) -> list[Row]:
        """See ``RowStore``; the index is approximate."""
        assert query.embedding is not None
        with ReadingStore(self.place):
            most = min(self.collection.count(), max(MORE, 4 * query.count))
            found = self.collection.query(
                query_embeddings=[query.embedding], n_results=most, include=["documents", "metadatas", "distances"]
            )
        columns = zip(*(found[name][0] for name in ("ids", "documents", "metadatas", "distances")), strict=True)
        best = sorted(columns, key=lambda one: float(one[3]))[: query.count]
        return [self._row(name, document, metadata, 1 - float(far)) for name, document, metadata, far in best]

    def get(self, keys: Sequence[str]) -> list[Row]:
        """See ``RowStore``."""
        if not keys:
            return []
        with ReadingStore(self.place):
            found = self.collection.get(ids=list(keys), include=["documents", "metadatas"])
        rows = map(self._row, found["ids"], found["documents"], found["metadatas"])
        by_id = {row.id: row for row in rows}
        return [by_id[key] for key in keys]

    def close(self) -> None:
        """See ``RowStore``; Chroma's clients of one folder share what is open."""

    def _row(self, name: str, document: str, metadata: Mapping[str, Any], score: float | None = None) -> Row:
        import pyarrow as pa

        values = dict(metadata)
        for column, kind in self._types.items():
            if pa.types.is_nested(kind) and isinstance(values.get(column), str):
                values[column] = json.loads(values[column])
        return row_of(name, document or "", values, self._types, score)
