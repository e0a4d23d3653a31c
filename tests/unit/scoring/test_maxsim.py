"""MaxSim by its definition: two loops over tokens, written apart from the package."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from vllm_jina_embed.errors import InputError
from vllm_jina_embed.scoring import maxsim as numpy_maxsim
from vllm_jina_embed.scoring.maxsim import maxsim


def multi_vectors(lengths: list[int], *, seed: int, dimensions: int = 16) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = [rng.normal(size=(length, dimensions)) for length in lengths]
    return [(part / np.linalg.norm(part, axis=1, keepdims=True)).astype(np.float32) for part in rows]


def by_definition(queries: list[np.ndarray], items: list[np.ndarray]) -> np.ndarray:
    scores = np.zeros((len(queries), len(items)))
    for q, query in enumerate(queries):
        for i, item in enumerate(items):
            for asked in query.astype(np.float64):
                scores[q, i] += max(float(asked @ told) for told in item.astype(np.float64))
    return scores


@pytest.mark.parametrize(("query_tokens", "item_tokens"), [(512, 8192), (3, 5), (1, 1), (7, 40)])
def test_scores_are_those_of_the_definition(
    query_tokens: int, item_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the blocks are cut."""
    monkeypatch.setattr(numpy_maxsim, "QUERY_TOKENS", query_tokens)
    monkeypatch.setattr(numpy_maxsim, "ITEM_TOKENS", item_tokens)
    queries = multi_vectors([1, 4, 9, 2, 30], seed=1)
    items = multi_vectors([3, 1, 50, 7, 7, 2, 19], seed=2)
    scores = maxsim(queries, items)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(by_definition(queries, items), abs=1e-5)


def test_float16_multi_vectors_are_compared_in_float32() -> None:
    queries, items = multi_vectors([3, 5], seed=3), multi_vectors([8, 2], seed=4)
    small = [item.astype(np.float16) for item in items]
    assert maxsim(queries, small) == pytest.approx(by_definition(queries, small), abs=1e-5)


@pytest.mark.parametrize(("queries", "items", "shape"), [(0, 2, (0, 2)), (2, 0, (2, 0)), (0, 0, (0, 0))])
def test_nothing_to_compare_gives_no_scores(queries: int, items: int, shape: tuple[int, int]) -> None:
    assert maxsim(multi_vectors([2] * queries, seed=1), multi_vectors([2] * items, seed=2)).shape == shape


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.empty((0, 16), np.float32), r"items\[2\]: got an empty multi-vector"),
        (np.ones(16, np.float32), r"items\[2\]: got an array of shape \(16,\)"),
        (np.ones((3, 8), np.float32), r"items\[2\]: got rows of 8 numbers where others have 16"),
    ],
)
def test_a_wrong_multi_vector_is_named(rows: np.ndarray, message: str) -> None:
    items = [*multi_vectors([2, 3], seed=5), rows]
    with pytest.raises(InputError, match=message) as caught:
        maxsim(multi_vectors([2], seed=6), items)
    assert caught.value.positions == (2,)


def test_memory_does_not_grow_with_the_products() -> None:
    """500 queries and 2000 items of 20 tokens: 1.6 GB of dot products, of which 16 MB are held at a time."""
    queries, items = multi_vectors([20] * 500, seed=7), multi_vectors([20] * 2000, seed=8)
    tracemalloc.start()
    try:
        maxsim(queries, items)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 60_000_000
