"""What an index is made of: an embedder that gives both kinds of vector, and a collection that holds them.

Enters: settings. Leaves: vectors, and a collection that is there. This file refuses to know what is asked of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._closing import Closing
from .._forks import fork_safe_lock
from ..embedding.calls import Calls
from ..errors import ConfigError
from ..settings import VECTORS
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
            embedder: A ``JinaEmbedder``, or one that is cached; its maker closes it.
            name: Of the collection.
            client: Where Qdrant is: a ``QdrantClient``, which its maker closes.
            async_client: An ``AsyncQdrantClient`` to the same server, for the a-twins; without one they use threads.
            path: Instead, a folder for the Qdrant that is embedded in its client; for up to some 20,000 items.
            url: Instead, a Qdrant server. With neither, the index lives in this process's memory.
            api_key: For ``url``.
            dimensions: Matryoshka size of the embeddings; None takes the embedder's.
            task: For all items and queries; None takes the embedder's.
            storage: How the vectors are kept; None keeps float32 of every token.

        Raises:
            ConfigError: A setting that the checkpoint cannot honour, or two that exclude each other.
            MissingExtraError: qdrant-client is not installed.
        """
        if not isinstance(embedder, Calls):
            raise ConfigError(f"got a {type(embedder).__name__} as embedder; expected a JinaEmbedder.")
        wanted = embedder.settings.for_call(dimensions=dimensions, task=task)
        self._caller = Caller(client=client, async_client=async_client, path=path, url=url, api_key=api_key)
        self.embedder = embedder
        self.name = name
        self.storage = storage or Storage()
        self._facts: dict[str, Any] = {
            "vectors": VECTORS,
            "model": wanted.checkpoint.label,
            "task": wanted.task,
            "dimensions": wanted.dimensions,
            "token_dimensions": wanted.checkpoint.token_dimensions,
            "pool_factor": self.storage.pool_factor,
        }
        self._vectors = TwoKinds(embedder=embedder, dimensions=wanted.dimensions, task=wanted.task)
        self._lock = fork_safe_lock(self)
        self._is_ready = False

    def _ready(self) -> None:
        """Make the collection, or check the one that is there; only the first call asks Qdrant."""
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
        """Close the client if it was made here; the embedder stays open."""
        self._caller.close()

    async def aclose(self) -> None:
        """Await ``close``."""
        await self._caller.aclose()

    def __repr__(self) -> str:
        """Return what it is made of."""
        return f"LateInteractionIndex({self.embedder!r}, {self.name!r})"
