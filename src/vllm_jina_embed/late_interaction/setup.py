"""The parts of an index: an embedder that computes both kinds of vector, and the collection that holds them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._closing import Closing
from .._forks import fork_safe_lock
from ..embedding.calls import Calls
from ..errors import ConfigError
from . import qdrant_messages
from .qdrant_client import Caller
from .storage import Storage
from .vectors import TwoKinds

if TYPE_CHECKING:
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
            dimensions: Matryoshka size of the embeddings; None takes the embedder's.
            task: For all items and queries; None takes the embedder's.
            storage: How the vectors are stored; None stores float32 of every token.

        Raises:
            ConfigError: A setting that the checkpoint cannot honour, or two that exclude each other.
            MissingExtraError: qdrant-client is not installed.
        """
        if not isinstance(embedder, Calls):
            raise ConfigError(f"got a {type(embedder).__name__} as embedder; expected a JinaEmbedder.")
        settings = embedder.settings.for_call(dimensions=dimensions, task=task)
        self._caller = Caller(client=client, async_client=async_client, path=path, url=url, api_key=api_key)
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
        self._vectors = TwoKinds(embedder=embedder, dimensions=settings.dimensions, task=settings.task)
        self._lock = fork_safe_lock(self)
        self._is_ready = False

    def _ready(self) -> None:
        """Create the collection, or check the existing one; only the first call asks Qdrant."""
        with self._lock:
            if self._is_ready:
                return
            if not self._caller.call("collection_exists", collection_name=self.name):
                self._caller.call(
                    "create_collection", **qdrant_messages.creation(self.name, facts=self._facts, storage=self.storage)
                )
            info = self._caller.call("get_collection", collection_name=self.name)
            qdrant_messages.check(self.name, info, self._facts)
            self._is_ready = True

    # --- life -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the client if it was created here; the embedder stays open."""
        self._caller.close()

    async def aclose(self) -> None:
        """Await ``close``."""
        await self._caller.aclose()

    def __repr__(self) -> str:
        """Return the embedder and the name."""
        return f"LateInteractionIndex({self.embedder!r}, {self.name!r})"
