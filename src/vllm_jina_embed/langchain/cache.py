"""LangChain's byte stores as stores of a cache: a translation of names.

Enters: any ``langchain_core.stores.ByteStore``: in memory, files, Redis, ... Leaves: ``get_many`` and ``put_many``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langchain_core.stores import ByteStore


class ByteStoreCache:
    """``mget`` and ``mset`` under the names that ``CachedEmbedder`` calls."""

    def __init__(self, store: ByteStore) -> None:
        self.store = store

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, None for what is not there, order kept."""
        return self.store.mget(keys)

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Keep the values; existing ones are replaced."""
        self.store.mset(list(values.items()))
