"""MaxSim on torch tensors, on their own device: for corpora that are scored on a GPU.

Torch is imported by the first call. ``scoring.maxsim`` is the reference and gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .maxsim import blocks, check_multi_vectors

if TYPE_CHECKING:
    import torch

QUERY_TOKENS, ITEM_TOKENS = 2048, 65_536
"""Tokens whose dot products are held together: 0.5 GB, more only where one item has more tokens."""


def maxsim(queries: Sequence[torch.Tensor], items: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return how well each item answers each query, by late interaction.

    Args:
        queries: Multi-vectors ``(n_tokens, token_dimensions)`` of any floating type, each of at least one row.
        items: Multi-vectors of the same ``token_dimensions``, on the same device.

    Returns:
        float32 on that device, shape ``(n_queries, n_items)``; see ``scoring.maxsim``.

    Raises:
        InputError: A multi-vector is empty or its rows have another length; names its position.
    """
    import torch

    check_multi_vectors(queries, items)
    if not queries or not items:
        return torch.zeros((len(queries), len(items)))
    device = queries[0].device
    scores = torch.zeros((len(queries), len(items)), device=device)
    query_rows = torch.cat([query.float() for query in queries])
    query_owners = _owners(queries, device)
    for first, last in blocks([len(item) for item in items], ITEM_TOKENS):
        item_rows = torch.cat([item.float() for item in items[first:last]])
        item_owners = _owners(items[first:last], device)
        for start in range(0, len(query_rows), QUERY_TOKENS):
            products = query_rows[start : start + QUERY_TOKENS] @ item_rows.T
            best = torch.full((len(products), last - first), -torch.inf, device=device)
            best.scatter_reduce_(1, item_owners.expand_as(products), products, "amax")
            scores[:, first:last].index_add_(0, query_owners[start : start + QUERY_TOKENS], best)
    return scores


def _owners(multi_vectors: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Return, for each row of all multi-vectors, the index of its multi-vector."""
    import torch

    lengths = torch.tensor([len(rows) for rows in multi_vectors], device=device)
    return torch.repeat_interleave(torch.arange(len(multi_vectors), device=device), lengths)
