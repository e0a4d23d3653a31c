"""Token states to embeddings, against sums written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.pooling import single_vector

START, END, PAD = 7, 8, 9


def mask(ids: list[int]) -> list[int]:
    """Return the positions that are averaged."""
    found = single_vector.vision_mask(ids, vision_start=START, vision_end=END)
    assert found.dtype == bool
    assert found.shape == (len(ids),)
    return [int(position) for position in np.flatnonzero(found)]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, 2, 3], [0, 1, 2]),
        ([1, PAD, 3], [0, 1, 2]),
        ([1, 2, START, PAD, PAD, END, 3], [2, 3, 4, 5]),
        ([START, END], [0, 1]),
        ([1, START, PAD, END, START, PAD, PAD, END, 2], [1, 2, 3, 4, 5, 6, 7]),
        ([START, PAD, END, 5, 5, START, PAD, END], [0, 1, 2, 5, 6, 7]),
        ([1, END, 2], [0, 1, 2]),
    ],
)
def test_the_mask_is_the_union_of_spans_with_their_markers(ids: list[int], expected: list[int]) -> None:
    """All tokens where there is no span."""
    assert mask(ids) == expected


@pytest.mark.parametrize(
    "ids", [[START, PAD], [END, START], [START, START, END, END], [START, END, START], [START, END, END]]
)
def test_a_span_that_is_not_closed_is_an_error(ids: list[int]) -> None:
    """Cut by truncation, or nested: no guess is made."""
    with pytest.raises(EngineError, match="expected closed spans"):
        mask(ids)


def test_the_mean_takes_masked_rows_only() -> None:
    """Raw rows, never normalised: the long row weighs more."""
    states = np.array([[3.0, 0.0], [0.0, 1.0], [9.0, 9.0]], dtype=np.float32)
    got = single_vector.mean(states, np.array([True, True, False]))
    np.testing.assert_array_equal(got, [1.5, 0.5])
    assert got.dtype == np.float32


def test_the_mean_is_summed_in_float64() -> None:
    """30,000 tokens in float16 or float32 lose nothing to the sum."""
    states = np.full((30_000, 2), 0.1, dtype=np.float16)
    expected = np.float32(np.float64(np.float16(0.1)))
    np.testing.assert_array_equal(single_vector.mean(states, np.ones(30_000, bool)), [expected, expected])


def test_states_and_mask_must_have_one_length() -> None:
    """A prompt whose ids and states differ would be pooled wrongly."""
    with pytest.raises(EngineError, match="2 token states for 3 tokens"):
        single_vector.mean(np.zeros((2, 4), np.float32), np.ones(3, bool))


def test_finish_cuts_first_and_normalises_then() -> None:
    """The reference's Matryoshka order; works on one row and on many."""
    pooled = np.array([3.0, 4.0, 12.0])
    np.testing.assert_allclose(single_vector.finish(pooled, 2), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(single_vector.finish(pooled, 3), pooled / 13, rtol=1e-6)
    both = single_vector.finish(np.stack([pooled, pooled]), 2)
    assert both.shape == (2, 2)
    assert both.dtype == np.float32


def test_a_zero_vector_stays_zero() -> None:
    """As torch's normalize, with its epsilon: no division by zero."""
    np.testing.assert_array_equal(single_vector.normalize(np.zeros((2, 3), np.float32)), np.zeros((2, 3)))
    tiny = np.array([1e-13, 0.0], np.float32)
    np.testing.assert_allclose(single_vector.normalize(tiny), tiny / 1e-12, rtol=1e-5)


STATES = np.array([[1.0, 2.0, 3.0], [10.0, 0.0, 2.0], [-5.0, 4.0, 7.0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("first_token", [1, 2, 3]),
        ("last_token", [-5, 4, 7]),
        ("mean", [2, 2, 4]),
        ("vision_span_mean", [2, 2, 4]),
    ],
)
def test_each_pooling_takes_its_tokens(kind: str, expected: list[float]) -> None:
    got = single_vector.pooled(STATES, kind)
    np.testing.assert_array_equal(got, np.float32(expected))
    assert got.dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "expected"), [("first_token", [10, 0, 2]), ("last_token", [-5, 4, 7]), ("mean", [2.5, 2, 4.5])]
)
def test_what_is_masked_does_not_count(kind: str, expected: list[float]) -> None:
    """The first and the last token too are those of the mask."""
    mask = np.array([False, True, True])
    np.testing.assert_array_equal(single_vector.pooled(STATES, kind, mask=mask), np.float32(expected))


def test_the_layer_norm_is_that_of_torch() -> None:
    """By its formula, with the biased variance and 1e-5 under the root; of the whole vector, before any cut."""
    got = single_vector.pooled(STATES, "first_token", layer_norm=True)
    expected = np.array([-1.0, 0.0, 1.0]) / np.sqrt(2 / 3 + 1e-5)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    cut_before = single_vector.finish(single_vector.layer_normed(STATES[0, :2]), 2)
    assert 1 - cut_before @ single_vector.finish(got, 2) > 1e-3


@pytest.mark.parametrize(
    ("kind", "mask", "match"),
    [
        ("max", None, "got the pooling 'max'"),
        ("mean", np.ones(2, dtype=bool), "got 3 token states for 2 tokens"),
        ("last_token", np.zeros(3, dtype=bool), "none is pooled"),
    ],
)
def test_what_cannot_be_pooled_is_an_error(kind: str, mask: np.ndarray | None, match: str) -> None:
    with pytest.raises(EngineError, match=match):
        single_vector.pooled(STATES, kind, mask=mask)
