"""Shorten multi-vectors: similar tokens become one row, so that an index takes a fraction of the space.

Only items are shortened; a query keeps all its tokens.
Source: Clavie, Chaffin, Adams, "Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via
Token Pooling", arXiv:2409.14683: hierarchical clustering by Ward's method, then the mean of each cluster.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .._arrays import Floats
from ..errors import ConfigError
from .single_vector import normalize

WINDOW = 1024
"""Neighbouring tokens that are clustered together, in 8 MB: a page is one window, a long text several."""


def check_factor(factor: int) -> int:
    """Return ``factor``.

    Raises:
        ConfigError: It is not a whole number over 0.
    """
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
        raise ConfigError(f"pool_factor={factor!r} must be a whole number over 0; 1 keeps every token.")
    return factor


def pool_tokens(multi_vector: npt.NDArray[np.floating], factor: int) -> Floats:
    """Return the multi-vector with about one row for every ``factor`` tokens.

    Args:
        multi_vector: Shape ``(n_tokens, token_dimensions)``, rows of L2 norm 1.
        factor: 1 keeps every token.

    Returns:
        float32, shape ``(m, token_dimensions)``, rows of L2 norm 1: the mean of each cluster, in the order of their
        first tokens; ``m`` is ``n_tokens / factor``, rounded up in every ``WINDOW`` of tokens.

    Raises:
        ConfigError: ``factor`` is not a whole number over 0.
    """
    rows = np.asarray(multi_vector, dtype=np.float32)
    if check_factor(factor) == 1 or len(rows) < 2:
        return rows
    windows = [rows[start : start + WINDOW] for start in range(0, len(rows), WINDOW)]
    return np.concatenate([_pooled(window, -(-len(window) // factor)) for window in windows])


def _pooled(rows: Floats, clusters: int) -> Floats:
    labels = _cut(_merges(rows), len(rows), clusters)
    sums = np.zeros((clusters, rows.shape[1]), dtype=np.float32)
    np.add.at(sums, labels, rows)
    return normalize(sums)


def _merges(rows: Floats) -> list[tuple[float, int, int]]:
    """Return every merge of Ward's method as ``(cost, row, row of the other cluster)``, by the nearest-neighbour chain.

    Source: Murtagh, Contreras, "Algorithms for hierarchical clustering", arXiv:1105.0121.
    """
    distances = np.asarray(2 - 2 * (rows @ rows.T), dtype=np.float64)
    np.fill_diagonal(distances, np.inf)
    sizes = np.ones(len(rows))
    merges: list[tuple[float, int, int]] = []
    chain: list[int] = []
    while len(merges) < len(rows) - 1:
        if not chain:
            chain.append(int(np.flatnonzero(sizes)[0]))
        end = chain[-1]
        nearest = int(distances[end].argmin())
        if len(chain) > 1 and distances[end, chain[-2]] <= distances[end, nearest]:
            chain, other = chain[:-2], chain[-2]
            merges.append((float(distances[end, other]), end, other))
            _merge(distances, sizes, end, other)
        else:
            chain.append(nearest)
    return merges


def _merge(distances: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], left: int, right: int) -> None:
    """Merge cluster ``right`` into ``left``, in place (the formula of Lance and Williams for Ward's method)."""
    both = sizes[left] + sizes[right]
    row = (sizes + sizes[left]) * distances[left] + (sizes + sizes[right]) * distances[right]
    row = (row - sizes * distances[left, right]) / (sizes + both)
    row[[left, right]] = np.inf
    distances[left] = distances[:, left] = row
    distances[right] = distances[:, right] = np.inf
    sizes[left], sizes[right] = both, 0


def _cut(merges: list[tuple[float, int, int]], count: int, clusters: int) -> npt.NDArray[np.intp]:
    """Return each row's cluster after the ``count - clusters`` cheapest merges, numbered by their first rows."""
    owner = np.arange(count)
    for _, left, right in sorted(merges)[: count - clusters]:
        owner[owner == owner[right]] = owner[left]
    _, first, inverse = np.unique(owner, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
