"""Write the rows of a corpus into a Chroma collection, as LangChain's store of Chroma keeps documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._extras import require
from ..errors import ConfigError
from .batched import JSON_BYTES, BatchedTable
from .documents import document_of
from .parquet_parts import Shape
from .store_errors import WritingStore
from .work import Result

BATCH = 256
"""Rows that are written together at most."""
SHARD = "shard"
"""Key of the metadata with the number of a row's shard."""
SETTINGS = {"hnsw": {"space": "cosine", "ef_construction": 200, "ef_search": 200, "max_neighbors": 32}}
"""Of the index: twice Chroma's own neighbours, so that it finds what a comparison with every vector finds."""
_LARGEST = 2**63


class ChromaCollection(BatchedTable):
    """A record for each row: its embedding, document and flat metadata; see ``Destination``."""

    def __init__(self, name: str, shape: Shape, *, path: str | None = None, address: str | None = None) -> None:
        """Connect; the collection is made with the first rows.

        Args:
            name: Of the collection.
            shape: What the rows hold.
            path: Folder of an embedded Chroma.
            address: Host and port of a server.

        Raises:
            ConfigError: Chroma has no such vectors, or a kept column has the name of the shard's.
            MissingExtraError: chromadb is not installed.
            WriteError: There can be no database, or the server does not answer.
        """
        if shape.token_dimensions is not None:
            raise ConfigError(
                "Chroma has no multi-vectors: embed with vectors='embedding', or into Parquet, LanceDB, Qdrant or "
                "PostgreSQL."
            )
        if shape.dtype != "float32":
            raise ConfigError(f"dtype={shape.dtype!r}: Chroma stores float32 alone. Leave it out.")
        if SHARD in shape.kept:
            raise ConfigError(f"keep={SHARD!r}: the metadata has a key of that name. Rename it in the source.")
        self.place = f"chroma://{path or address}/{name}"
        super().__init__(shape, most=BATCH, number_bytes=JSON_BYTES)
        self._name = name
        self._collection: Any = None
        with WritingStore(self.place):
            self._client = client_of(path, address)
            if name in names_of(self._client):
                self._collection = self._client.get_collection(name, embedding_function=None)

    def check(self, *, is_known: bool) -> None:
        """Check that a collection is this corpus's own.

        Raises:
            ConfigError: There is one and the journal knows of none.
        """
        if not is_known and self._collection is not None:
            raise ConfigError(f"{self.place!r} exists, and another program made it. Choose another name.")

    def clear(self) -> None:
        """Remove the collection."""
        if self._collection is not None:
            with WritingStore(self.place):
                self._client.delete_collection(self._name)
            self._collection = None

    def is_there(self, number: int, record: Mapping[str, Any]) -> bool:
        """See ``Destination``."""
        return len(self._ids(number)) == record.get("rows")

    def remove(self, number: int) -> None:
        """See ``Destination``."""
        ids = self._ids(number)
        with WritingStore(self.place):
            for first in range(0, len(ids), BATCH):
                self._collection.delete(ids=ids[first : first + BATCH])

    def _ids(self, number: int) -> list[str]:
        if self._collection is None:
            return []
        with WritingStore(self.place):
            found: list[str] = self._collection.get(where={SHARD: number}, include=[])["ids"]
        return found

    def _write(self, rows: Sequence[Result]) -> None:
        documents = [document_of(row, self._shape) for row in rows]
        with WritingStore(self.place):
            if self._collection is None:
                self._collection = self._made()
            self._collection.upsert(
                ids=[row.entry.id for row in rows],
                embeddings=np.stack([np.asarray(row.embedding, dtype=np.float32) for row in rows]),
                documents=[content for content, _ in documents],
                metadatas=[{**flat(metadata), SHARD: self._number} for _, metadata in documents],
            )

    def _made(self) -> Any:
        options: dict[str, Any] = {"embedding_function": None, "configuration": SETTINGS}
        try:
            return self._client.get_or_create_collection(self._name, **options)
        except Exception:
            if self._name not in names_of(self._client):
                raise
            return self._client.get_collection(self._name, embedding_function=None)  # another process made it meanwhile


def client_of(path: str | None, address: str | None) -> Any:
    """Return a client of an embedded Chroma or of a server.

    Raises:
        MissingExtraError: chromadb is not installed.
    """
    require("chroma", "chromadb")
    import chromadb

    if address is None:
        return chromadb.PersistentClient(str(path))
    host, _, port = address.rpartition(":")
    return chromadb.HttpClient(host, int(port))


def names_of(client: Any) -> set[str]:
    """Return the names of a database's collections."""
    return {collection.name for collection in client.list_collections()}


def flat(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as Chroma takes it: lists and objects are JSON, and so are numbers past 64 bits."""
    return {
        name: value if _is_flat(value) else json.dumps(value, ensure_ascii=False) for name, value in metadata.items()
    }


def _is_flat(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return -_LARGEST <= value < _LARGEST
    return isinstance(value, bool | float | str)
