"""Token ids that say which of several adapters computes a prompt, for weights that hold all of them stacked.

vLLM gives a model the token ids of many requests at once, and nothing else of a request. So each id of a prompt carries
the adapter in the bits above the vocabulary: the number of the adapter plus one, as vLLM itself does with the types of
tokens. Ids without it are those of a client that does not know which adapter it asks for, and get no vector.
"""

from __future__ import annotations

from collections.abc import Iterable

VOCABULARY_BITS = 20
"""Bits of an id that name the token: over a million of them, four times the largest vocabulary."""


def adapted(ids: Iterable[int], adapter: int) -> tuple[int, ...]:
    """Return the ids of a prompt with the number of its adapter."""
    return tuple(((adapter + 1) << VOCABULARY_BITS) + one for one in ids)


def vocabulary_size(adapters: Iterable[int]) -> int:
    """Return how many ids there are with those of all ``adapters``, which vLLM checks ids against."""
    return (max(adapters) + 2) << VOCABULARY_BITS
