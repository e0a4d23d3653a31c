"""One ranking of dropped items and places of a corpus: the cosine selects candidates, MaxSim ranks them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._arrays import Floats
from ..mcp.places import Place
from ..scoring.maxsim import maxsim
from .shelf import Item, Shelf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hit:
    """An item with its scores.

    Attributes:
        source: What was dropped, or a place of the corpus.
        cosine: Of the embeddings; None where the model or the corpus has none.
        cosine_rank: Its place by the cosine, from 1.
        maxsim: Of the multi-vectors; None where there was no second look at it.
    """

    source: Item | Place
    cosine: float | None = None
    cosine_rank: int | None = None
    maxsim: float | None = None

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"item:{self.source.key}" if isinstance(self.source, Item) else f"place:{self.source.id}"


def dropped(shelf: Shelf, embedding: Floats) -> list[Hit]:
    """Return every item of a shelf with its cosine."""
    keys = [key for key in shelf.items if key in shelf.embeddings]
    if not keys:
        return []
    query = unit(embedding)
    cosines = np.stack([unit(shelf.embeddings[key]) for key in keys]) @ query
    return [Hit(source=shelf.items[key], cosine=float(cosine)) for key, cosine in zip(keys, cosines, strict=True)]


def unit(vector: Floats) -> Floats:
    """Return a vector with L2 norm 1."""
    row = np.asarray(vector, dtype=np.float32)
    return np.asarray(row / max(1e-12, float(np.linalg.norm(row))), dtype=np.float32)


def candidates(hits: Sequence[Hit], most: int) -> list[Hit]:
    """Return the best by the cosine, each with its place."""
    compared = [hit for hit in hits if hit.cosine is not None and np.isfinite(hit.cosine)]
    best = sorted(compared, key=lambda hit: -(hit.cosine or 0.0))[:most]
    return [replace(hit, cosine_rank=number) for number, hit in enumerate(best, 1)]


def looked_at_again(hits: Sequence[Hit], query: Floats, tokens: Mapping[str, Floats]) -> list[Hit]:
    """Return the hits by MaxSim; those without multi-vectors follow in their old order.

    Args:
        hits: Candidates.
        query: The multi-vector of the question, float32 ``(n_tokens, token_dimensions)``.
        tokens: Multi-vectors by the keys of the hits.
    """
    seen = [hit for hit in hits if hit.key in tokens]
    scores = maxsim([query], [tokens[hit.key] for hit in seen])[0] if seen else []
    scored = [replace(hit, maxsim=float(score)) for hit, score in zip(seen, scores, strict=True)]
    scored.sort(key=lambda hit: -(hit.maxsim or 0.0))
    return [*scored, *(hit for hit in hits if hit.key not in tokens)]
