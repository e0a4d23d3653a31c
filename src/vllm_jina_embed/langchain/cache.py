"""Use a LangChain byte store as the store of a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langchain_core.stores import ByteStore


class ByteStoreCache:
    """A ``ByteStore`` (memory, files, Redis, ...) with the methods that ``CachedEmbedder`` calls."""

    def __init__(self, store: ByteStore) -> None:
        self.store = store

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, in order; None for a missing key."""
        return self.store.mget(keys)

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Store the values; existing ones are replaced."""
        self.store.mset(list(values.items()))
