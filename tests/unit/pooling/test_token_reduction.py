"""Token pooling is Ward's clustering, by a reference that tries every pair at every step."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.unit.scoring.test_maxsim import multi_vectors
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.pooling import token_reduction
from vllm_jina_embed.pooling.token_reduction import pool_tokens


def by_definition(rows: np.ndarray, clusters: int) -> np.ndarray:
    """Merge the two clusters whose union adds least to the squared distances from the means, again and again."""
    groups = [[number] for number in range(len(rows))]

    def scatter(group: list[int]) -> float:
        part = rows[group].astype(np.float64)
        return float(((part - part.mean(0)) ** 2).sum())

    while len(groups) > clusters:
        pairs = [(a, b) for a in range(len(groups)) for b in range(a)]
        added = [scatter(groups[a] + groups[b]) - scatter(groups[a]) - scatter(groups[b]) for a, b in pairs]
        a, b = pairs[int(np.argmin(added))]
        groups[b] += groups.pop(a)
    means = np.stack([rows[group].mean(0) for group in sorted(groups, key=min)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


@pytest.mark.parametrize("factor", [2, 3, 5, 40])
@pytest.mark.parametrize("tokens", [2, 7, 24])
def test_clusters_are_those_of_wards_method(tokens: int, factor: int) -> None:
    (rows,) = multi_vectors([tokens], seed=tokens)
    pooled = pool_tokens(rows, factor)
    assert pooled.dtype == np.float32
    assert pooled == pytest.approx(by_definition(rows, -(-tokens // factor)), abs=1e-5)


def test_equal_tokens_become_one_and_nothing_is_lost() -> None:
    """Three tokens four times each, in any order, by a factor of 4."""
    (rows,) = multi_vectors([3], seed=1)
    mixed = rows[[0, 1, 0, 2, 1, 0, 2, 2, 1, 0, 1, 2]]
    assert pool_tokens(mixed, 4) == pytest.approx(rows, abs=1e-6)


def test_one_keeps_every_token() -> None:
    (rows,) = multi_vectors([9], seed=2)
    assert pool_tokens(rows, 1) is rows


def test_long_texts_are_pooled_window_by_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_reduction, "WINDOW", 8)
    (rows,) = multi_vectors([20], seed=3)
    expected = np.concatenate([by_definition(rows[:8], 3), by_definition(rows[8:16], 3), by_definition(rows[16:], 2)])
    assert pool_tokens(rows, 3) == pytest.approx(expected, abs=1e-5)


def test_a_page_takes_a_moment() -> None:
    """768 tokens of 128 numbers; the plain algorithm takes minutes."""
    (rows,) = multi_vectors([768], seed=4, dimensions=128)
    start = time.thread_time()  # other work counts for nothing
    assert pool_tokens(rows, 3).shape == (256, 128)
    assert time.thread_time() - start < 2


@pytest.mark.parametrize("factor", [0, -1, 1.5, True, "2"])
def test_a_wrong_factor_is_named(factor: object) -> None:
    with pytest.raises(ConfigError, match=f"pool_factor={factor!r}"):
        pool_tokens(np.ones((3, 4), np.float32), factor)  # type: ignore[arg-type]
