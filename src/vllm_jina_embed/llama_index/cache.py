"""Use a LlamaIndex key-value store as the store of a cache."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.storage.kvstore.types import BaseKVStore

from ..errors import ConfigError

COLLECTION = "vllm_jina_embed"
_FIELD = "base64"


class KVStoreCache:
    """A ``BaseKVStore`` (memory, Redis, PostgreSQL, ...) with the methods that ``CachedEmbedder`` calls."""

    def __init__(self, store: BaseKVStore) -> None:
        self.store = store

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key, in order; None for a missing key."""
        return [_bytes(self.store.get(key, collection=COLLECTION)) for key in keys]

    def put_many(self, values: Mapping[str, bytes]) -> None:
        """Store the values; existing ones are replaced."""
        for key, value in values.items():
            self.store.put(key, {_FIELD: base64.b64encode(value).decode("ascii")}, collection=COLLECTION)


def as_store(store: Any) -> Any:
    """Wrap a store of LlamaIndex for the cache; return any other as it is."""
    return KVStoreCache(store) if isinstance(store, BaseKVStore) else store


def refuse_embeddings_cache(value: object) -> None:
    """Check the field ``embeddings_cache``.

    Raises:
        ConfigError: It is set. LlamaIndex's keys are the text alone, so a query would get a passage's vector, and one
            configuration the vector of another.
    """
    if value is not None:
        raise ConfigError(
            "embeddings_cache would answer a query with a passage's vector, since LlamaIndex's keys hold the text "
            "alone. Use VllmJinaEmbedding(...).cached(store), which takes the same stores and caches images too."
        )


def _bytes(value: dict[str, Any] | None) -> bytes | None:
    """Return the stored bytes; None for anything else, which is then computed again."""
    try:
        return base64.b64decode((value or {})[_FIELD], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
