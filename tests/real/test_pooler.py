"""The pooler that runs inside vLLM, step by step, against the plain numpy reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from vllm import PoolingParams
from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates

from vllm_jina_embed import EngineError
from vllm_jina_embed.plugin.span_pooler import SpanPooler
from vllm_jina_embed.pooling import single_vector

START, PAD, END, HIDDEN = 7, 8, 9, 32
TEXT = [20, 21, 22, 23, 24]
IMAGE = [1, 2, START, PAD, PAD, PAD, END, 3, 4]
TWO_IMAGES = [1, START, PAD, PAD, END, START, PAD, END, 3]


@dataclass
class Request:
    """One request in vLLM's books: its tokens, their states, and what it has kept between steps."""

    ids: list[int]
    states: torch.Tensor
    kept: PoolingStates
    done: int = 0

    def expected(self, dimensions: int = HIDDEN) -> np.ndarray:
        mask = single_vector.vision_mask(self.ids, vision_start=START, vision_end=END)
        return single_vector.finish(single_vector.mean(self.states.float().numpy(), mask), dimensions)


def request(ids: list[int], seed: int = 0, dtype: torch.dtype = torch.float32) -> Request:
    """Return a fresh request with random states."""
    states = torch.randn(len(ids), HIDDEN, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return Request(ids=ids, states=states, kept=PoolingStates())


def step(pooler: SpanPooler, parts: list[tuple[Request, int]], dimensions: int | None = None) -> list[object]:
    """Run one engine step that schedules so many tokens of each request."""
    width = max(len(one.ids) for one, _ in parts)
    ids = torch.tensor([one.ids + [0] * (width - len(one.ids)) for one, _ in parts])
    metadata = PoolingMetadata(
        prompt_lens=torch.tensor([len(one.ids) for one, _ in parts]),
        prompt_token_ids=ids,
        prompt_token_ids_cpu=ids,
        pooling_params=[PoolingParams(task="embed", dimensions=dimensions) for _ in parts],
        pooling_states=[one.kept for one, _ in parts],
    )
    hidden = torch.cat([one.states[one.done : one.done + count] for one, count in parts])
    for one, count in parts:
        one.done += count
    metadata.build_pooling_cursor(
        np.array([count for _, count in parts]), torch.tensor([one.done for one, _ in parts]), hidden.device
    )
    return pooler(hidden, metadata)


@pytest.fixture
def pooler() -> SpanPooler:
    """The pooler under test."""
    return SpanPooler("vision_span_mean", START, END)


@pytest.mark.parametrize("ids", [TEXT, IMAGE, TWO_IMAGES])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_chunks_of_any_size_give_the_whole_mean(pooler: SpanPooler, ids: list[int], size: int) -> None:
    """A prompt that is computed in pieces is averaged once over all of them."""
    one = request(ids)
    results: list[object] = []
    while one.done < len(ids):
        results += step(pooler, [(one, min(size, len(ids) - one.done))])
    assert all(result is None for result in results[:-1])
    np.testing.assert_allclose(results[-1].numpy(), one.expected(), atol=1e-6)  # type: ignore[attr-defined]


def test_a_mixed_step_keeps_its_requests_apart(pooler: SpanPooler) -> None:
    """Whole texts and images beside one that is not finished."""
    parts = [request(TEXT, 1), request(IMAGE, 2), request(TWO_IMAGES, 3), request(TEXT, 4)]
    results = step(pooler, [(one, 3 if index == 2 else len(one.ids)) for index, one in enumerate(parts)])
    assert results[2] is None
    for index in (0, 1, 3):
        np.testing.assert_allclose(results[index].numpy(), parts[index].expected(), atol=1e-6)  # type: ignore[attr-defined]


def test_a_preempted_request_does_not_count_its_first_chunks_twice(pooler: SpanPooler) -> None:
    """vLLM starts a preempted request again at its first token and keeps its pooling state."""
    one = request(IMAGE)
    assert step(pooler, [(one, 5)]) == [None]
    one.done = 0
    assert step(pooler, [(one, 4)]) == [None]
    (result,) = step(pooler, [(one, 5)])
    np.testing.assert_allclose(result.numpy(), one.expected(), atol=1e-6)  # type: ignore[attr-defined]


@pytest.mark.fire
def test_a_request_whose_beginning_was_never_seen_gets_nan(pooler: SpanPooler) -> None:
    """As after a hit in the prefix cache: no wrong mean, in whatever steps the rest comes."""
    one = request(TEXT)
    one.done = 2
    assert step(pooler, [(one, 1)]) == [None]
    (result,) = step(pooler, [(one, 2)])
    assert result.shape == (HIDDEN,)  # type: ignore[attr-defined]
    assert result.isnan().all()  # type: ignore[attr-defined]


UNPAIRED = [
    [START], [1, START, 2], [END, START], [1, END, 2, START, 3], [START, START, END], [START, END, END],
    [START, PAD, START, PAD, END, END], [END, START, PAD, END], [0] * 4 + [START], [START] * 3000,
]  # fmt: skip


@pytest.mark.fire
@pytest.mark.parametrize("ids", UNPAIRED, ids=lambda ids: " ".join(map(str, ids[:6])))
@pytest.mark.parametrize("size", [1, 2, 4000])
def test_markers_without_a_partner_give_nan_and_the_rest_their_vectors(
    pooler: SpanPooler, ids: list[int], size: int
) -> None:
    """In one step with good requests, whole and in pieces: an error in the pooler would end vLLM for everybody."""
    bad, good, later = request(ids, 1), request(IMAGE, 2), request(TEXT, 3)
    first = min(size, len(ids))
    results = step(pooler, [(good, len(IMAGE)), (bad, first), (later, 2)])
    np.testing.assert_allclose(results[0].numpy(), good.expected(), atol=1e-6)  # type: ignore[attr-defined]
    result = results[1]
    for _ in range(min(8, len(ids))):
        if bad.done < len(ids):
            count = min(size, len(ids) - bad.done) if len(ids) < 100 else len(ids) - bad.done
            (result,) = step(pooler, [(bad, count)], dimensions=8)
    assert result.isnan().all()  # type: ignore[attr-defined]
    (rest,) = step(pooler, [(later, 3)])
    np.testing.assert_allclose(rest.numpy(), later.expected(), atol=1e-6)  # type: ignore[attr-defined]


@pytest.mark.fire
def test_a_profile_run_survives_where_token_0_opens_an_image() -> None:
    """vLLM's own run at the start has prompts of zeros."""
    (result,) = step(SpanPooler("vision_span_mean", 0, 1), [(request([0] * 64), 64)])
    assert result.shape == (HIDDEN,)  # type: ignore[attr-defined]


@pytest.mark.fire
@pytest.mark.parametrize("seed", range(20))
def test_random_markers_are_averaged_as_the_reference_does_or_not_at_all(pooler: SpanPooler, seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(50):
        one = request(random.choice([START, END, PAD, 1], size=random.integers(1, 9)).tolist(), seed)
        (result,) = step(pooler, [(one, len(one.ids))])
        try:
            expected = one.expected()
        except EngineError:
            assert result.isnan().all()  # type: ignore[attr-defined]
        else:
            np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)  # type: ignore[attr-defined]


def test_dimensions_are_cut_before_the_norm(pooler: SpanPooler) -> None:
    """A Matryoshka embedding has norm 1 as well."""
    one = request(IMAGE)
    (result,) = step(pooler, [(one, len(IMAGE))], dimensions=8)
    np.testing.assert_allclose(result.numpy(), one.expected(8), atol=1e-6)  # type: ignore[attr-defined]


def test_bfloat16_states_are_summed_in_float32(pooler: SpanPooler) -> None:
    """A sum of 5,000 states in bfloat16 would be wrong in the second digit."""
    one = request([20] * 5000, dtype=torch.bfloat16)
    (result,) = step(pooler, [(one, 5000)])
    assert result.dtype == torch.float32  # type: ignore[attr-defined]
    np.testing.assert_allclose(result.numpy(), one.expected(), atol=1e-5)  # type: ignore[attr-defined]


@pytest.mark.fire
@pytest.mark.parametrize("value", [0.0, 1e20, 3e38])
def test_states_without_a_norm_give_nan(pooler: SpanPooler, value: float) -> None:
    """Zeros would be a finite vector; so would the square of a large number, which overflows."""
    one = request(TEXT)
    one.states[:] = value
    (result,) = step(pooler, [(one, len(TEXT))])
    assert result.isnan().all()  # type: ignore[attr-defined]
