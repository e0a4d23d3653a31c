"""The parts of an index: an embedder that computes both kinds of vector, and the collection that holds them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._closing import Closing
from .._forks import fork_safe_lock
from ..embedding.calls import Calls
from ..errors import ConfigError
from .collection import Collection
from .lance_collection import LanceCollection
from .qdrant_client import Caller
from .qdrant_collection import QdrantCollection
from .storage import Storage
from .vectors import TwoKinds

if TYPE_CHECKING:
    from lancedb import DBConnection
    from qdrant_client import AsyncQdrantClient, QdrantClient


class Base(Closing):
    """The settings of an index and its life; see ``LateInteractionIndex``."""

    def __init__(
        self,
        embedder: Calls,
        name: str = "items",
        *,
        client: QdrantClient | None = None,
        async_client: AsyncQdrantClient | None = None,
        path: str | os.PathLike[str] | None = None,
        url: str | None = None,
        api_key: str | None = None,
        lancedb: str | os.PathLike[str] | DBConnection | None = None,
        dimensions: int | None = None,
        task: str | None = None,
        storage: Storage | None = None,
    ) -> None:
        """Check the settings.

        Args:
            embedder: A ``JinaEmbedder`` or ``CachedEmbedder``; you close it.
            name: Name of the collection.
            client: A ``QdrantClient``; you close it.
            async_client: An ``AsyncQdrantClient`` to the same server, for the a-twins; without one they use threads.
            path: Instead, a folder for the Qdrant embedded in its client; for up to some 20,000 items.
            url: Instead, a Qdrant server. With neither, the index lives in this process's memory.
            api_key: For ``url``.
            lancedb: Instead, a LanceDB: a folder or URI, or a connection. Its filters are SQL over ``payload``.
            dimensions: Matryoshka size of the embeddings; None takes the embedder's.
            task: For all items and queries; None takes the embedder's.
            storage: How the vectors are stored; None stores float32 of every token.

        Raises:
            ConfigError: A setting that the checkpoint cannot honour, or two that exclude each other.
            MissingExtraError: qdrant-client, or lancedb for ``lancedb``, is not installed.
        """
        if not isinstance(embedder, Calls):
            raise ConfigError(f"got a {type(embedder).__name__} as embedder; expected a JinaEmbedder.")
        settings = embedder.settings.for_call(dimensions=dimensions, task=task)
        self.embedder = embedder
        self.name = name
        self.storage = storage or Storage()
        self._facts: dict[str, Any] = {
            "vectors": settings.checkpoint.row.vectors,
            "model": settings.checkpoint.label,
            "task": settings.task,
            "dimensions": settings.dimensions,
            "token_dimensions": settings.checkpoint.token_dimensions,
            "pool_factor": self.storage.pool_factor,
        }
        places = {"client": client, "async_client": async_client, "path": path, "url": url, "api_key": api_key}
        self._collection = _collection(name, facts=self._facts, storage=self.storage, lancedb=lancedb, places=places)
        self._vectors = TwoKinds(embedder=embedder, dimensions=settings.dimensions, task=settings.task)
        self._lock = fork_safe_lock(self)
        self._is_ready = False

    def _ready(self) -> None:
        """Create the collection, or check the existing one; only the first call asks the store."""
        with self._lock:
            if self._is_ready:
                return
            self._collection.ready()
            self._is_ready = True

    # --- life -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the client if it was created here; the embedder stays open."""
        self._collection.close()

    async def aclose(self) -> None:
        """Await ``close``."""
        await self._collection.aclose()

    def __repr__(self) -> str:
        """Return the embedder and the name."""
        return f"LateInteractionIndex({self.embedder!r}, {self.name!r})"


def _collection(
    name: str, *, facts: Mapping[str, Any], storage: Storage, lancedb: Any, places: Mapping[str, Any]
) -> Collection:
    """Return the collection in the store that the settings name.

    Raises:
        ConfigError: They name two.
    """
    if lancedb is None:
        return QdrantCollection(Caller(**places), name, facts=facts, storage=storage)
    others = [key for key, value in places.items() if value is not None]
    if others:
        raise ConfigError(f"lancedb and {' and '.join(others)} each say where the index is; pass one of them.")
    return LanceCollection(lancedb, name, facts=facts, storage=storage)
