"""An embedder with a cache in front of it."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from ..embedding.calls import Calls
from ..errors import ClosedError, ConfigError
from . import keys
from .backend import CacheBackend
from .stores import SQLiteStore, Store, open_store


class CachedEmbedder(Calls):
    """The calls of ``embedder``, answered from ``store`` where it can; safe to call from any thread and event loop.

    A hit is the stored vector, bit for bit. Images are keyed by their pixels, so an edited file is embedded again;
    they are opened under the embedder's ``MediaPolicy`` before the look-up, so a hit opens nothing that the policy
    refuses. Equal items of one call are embedded once. A damaged entry is computed again, and so is everything while
    the store cannot be read or written, with one warning.
    Multi-vectors are computed every time, unless ``multi_vectors=True``: one takes hundreds of times the space of an
    embedding.
    """

    def __init__(self, embedder: Calls, store: Store | str | os.PathLike[str], *, multi_vectors: bool = False) -> None:
        """Check that the keys of embeddings will always be unique.

        Args:
            embedder: Computes what is not stored; ``close`` closes it too.
            store: A path for an SQLite file, or an object with ``get_many`` and ``put_many``.
            multi_vectors: Whether multi-vectors are kept too; a page takes 400 KB with rows of 128 numbers.

        Raises:
            ConfigError: The checkpoint is a hub repository without a commit, or ``store`` is not a store.
        """
        if not isinstance(embedder, Calls):
            raise ConfigError(f"got a {type(embedder).__name__} to cache; expected a JinaEmbedder.")
        keys.identity(embedder.settings)
        self.embedder = embedder
        self.settings = embedder.settings
        self.store = open_store(store)
        self.multi_vectors = multi_vectors
        self.backend = CacheBackend(
            embedder.backend, self.store, self.settings, self._check_open, multi_vectors=multi_vectors
        )
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether this or the embedder behind it was closed."""
        return self._closed or self.embedder.closed

    def close(self) -> None:
        """Close the embedder, and the SQLite file if there is one; further calls do nothing."""
        self._closed = True
        self.embedder.close()
        if isinstance(self.store, SQLiteStore):
            self.store.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes an embedder with the same settings and store, a store of an application's if it pickles."""
        return partial(type(self), multi_vectors=self.multi_vectors), (self.embedder, self.store)

    def __repr__(self) -> str:
        """Return the call that makes an equal embedder."""
        multi = ", multi_vectors=True" if self.multi_vectors else ""
        return f"CachedEmbedder({self.embedder!r}, {self.store!r}{multi})"

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError(f"{self!r} is closed.")
