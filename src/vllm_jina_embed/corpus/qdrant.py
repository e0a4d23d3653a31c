"""Write the rows of a corpus into a Qdrant collection, as LangChain's store of Qdrant keeps documents."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, EngineError, WriteError
from ..late_interaction.qdrant_client import Caller
from .batched import JSON_BYTES, BatchedTable
from .documents import document_of
from .parquet_parts import EMBEDDING, MULTI_VECTOR, Shape
from .work import Result

BATCH = 256
"""Points that are written together at most."""
SERVER_BYTES = 32 * 1024 * 1024
"""Longest request of a server, as Qdrant sets it by default."""
SHARD = "shard"
CONTENT, METADATA = "page_content", "metadata"
"""Keys of the payload, the same as langchain-qdrant's; filters use names such as ``metadata.source``."""
_SPACE = uuid.UUID("6b0f3f0e-0f61-4d5c-9a53-0f1f4f6c2a11")


class QdrantPoints(BatchedTable):
    """A point for each row, with the named vectors ``embedding`` and ``multi_vector``; see ``Destination``."""

    def __init__(self, name: str, shape: Shape, *, path: str | None = None, url: str | None = None) -> None:
        """Connect; the collection is made with the first rows.

        Args:
            name: Of the collection.
            shape: What the rows hold.
            path: Folder of an embedded Qdrant.
            url: Of a server; its key is taken from ``QDRANT_API_KEY``.

        Raises:
            ConfigError: Qdrant cannot be used there, or has no numbers of this type.
            MissingExtraError: qdrant-client is not installed.
        """
        if shape.dtype not in ("float32", "float16"):
            raise ConfigError(f"dtype={shape.dtype!r}: Qdrant makes such numbers itself. Leave it out.")
        key = os.environ.get("QDRANT_API_KEY") if url is not None else None
        self._caller = Caller(client=None, async_client=None, path=path, url=url, api_key=key)
        self._has_indexes = url is not None
        super().__init__(shape, most=BATCH, number_bytes=JSON_BYTES)
        self._name = name

    def check(self, *, is_known: bool) -> None:
        """Check that a collection is this corpus's own.

        Raises:
            ConfigError: There is one and the journal knows of none.
        """
        if not is_known and self._exists():
            raise ConfigError(f"collection {self._name!r} exists, and another program made it. Choose another name.")

    def clear(self) -> None:
        """Remove the collection."""
        self._call("delete_collection", collection_name=self._name)

    def begin(self, number: int) -> None:
        """See ``Destination``; points of an earlier try go."""
        if not self._exists():
            self._create()
        super().begin(number)

    def is_there(self, number: int, record: Mapping[str, Any]) -> bool:
        """See ``Destination``."""
        if not self._exists():
            return not record.get("rows")
        found = self._call("count", collection_name=self._name, count_filter=_of_shard(number), exact=True)
        return bool(found.count == record.get("rows"))

    def remove(self, number: int) -> None:
        """See ``Destination``."""
        self._call("delete", collection_name=self._name, points_selector=_of_shard(number), wait=True)

    def _release(self) -> None:
        self._caller.close()

    def _exists(self) -> bool:
        return bool(self._call("collection_exists", collection_name=self._name))

    def _create(self) -> None:
        from qdrant_client import models

        vectors: dict[str, models.VectorParams] = {}
        if self._shape.dimensions is not None:
            vectors[EMBEDDING] = models.VectorParams(
                size=self._shape.dimensions,
                distance=models.Distance.COSINE,
                datatype=models.Datatype(self._shape.dtype),
            )
        if self._shape.token_dimensions is not None:
            vectors[MULTI_VECTOR] = models.VectorParams(
                size=self._shape.token_dimensions,
                distance=models.Distance.COSINE,
                datatype=models.Datatype(self._shape.token_dtype),
                hnsw_config=models.HnswConfigDiff(m=0),  # it ranks candidates; a graph over tokens is never asked
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            )
        try:
            self._call("create_collection", collection_name=self._name, vectors_config=vectors)
        except WriteError:
            if not self._exists():  # another process with --shard K/N made it
                raise
        if self._has_indexes:
            index = models.PayloadSchemaType.INTEGER
            self._call("create_payload_index", collection_name=self._name, field_name=SHARD, field_schema=index)

    def _write(self, rows: Sequence[Result]) -> None:
        from qdrant_client import models

        points = [
            models.PointStruct(id=point_id(row.entry.id), vector=_vectors(row), payload=self._payload(row))
            for row in rows
        ]
        try:
            self._call("upsert", collection_name=self._name, points=points, wait=True)
        except WriteError as error:
            if (size := self.written_bytes(rows[0])) < SERVER_BYTES or len(rows) > 1:
                raise
            raise WriteError(
                f"item {rows[0].entry.id!r} has about {size / 1e6:.0f} MB with its vectors, and Qdrant's server takes "
                f"{SERVER_BYTES / 1e6:.0f} MB unless its max_request_size_mb says more: raise that, leave --keep image "
                f"out, or shorten multi-vectors by --pool-factor. {error}"
            ) from error

    def _payload(self, row: Result) -> dict[str, Any]:
        content, metadata = document_of(row, self._shape)
        return {"id": row.entry.id, SHARD: self._number, CONTENT: content, METADATA: metadata}

    def _call(self, method: str, **arguments: Any) -> Any:
        try:
            return self._caller.call(method, **arguments)
        except EngineError as error:
            raise WriteError(
                f"{str(error).rstrip('.')}. Every finished shard is kept; run the same command again."
            ) from error


def point_id(name: str) -> str:
    """Return the id of a row's point, which Qdrant wants to be a UUID."""
    return str(uuid.uuid5(_SPACE, name))


def _vectors(row: Result) -> dict[str, Any]:
    found = {EMBEDDING: row.embedding, MULTI_VECTOR: row.multi_vector}
    return {name: np.asarray(rows).tolist() for name, rows in found.items() if rows is not None}


def _of_shard(number: int) -> Any:
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key=SHARD, match=models.MatchValue(value=number))])
