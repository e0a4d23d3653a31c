"""Which rows of a step are averaged, against a loop over its tokens."""

from __future__ import annotations

import numpy as np
import pytest

from vllm_jina_embed.checkpoints.row import Pooling
from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.plugin.pooling_step import Step, before
from vllm_jina_embed.plugin.token_choice import Spans, find_spans, one_span
from vllm_jina_embed.pooling import single_vector

START, END = 7, 9
POOLINGS: tuple[Pooling, ...] = ("vision_span_mean", "mean", "first_token", "last_token")


def counted(pooling: Pooling, ids: np.ndarray) -> list[int]:
    """Return the tokens of a prompt that are averaged."""
    if pooling == "first_token":
        return [0]
    if pooling == "last_token":
        return [len(ids) - 1]
    if pooling == "mean":
        return list(range(len(ids)))
    try:
        mask = single_vector.vision_mask(ids.tolist(), vision_start=START, vision_end=END)
    except EngineError:
        return []
    return np.flatnonzero(mask).tolist()


def spans_of(pooling: Pooling, prompts: list[np.ndarray]) -> Spans:
    if pooling == "vision_span_mean":
        return find_spans(prompts, vision_start=START, vision_end=END)
    return one_span(pooling, np.array([len(ids) for ids in prompts]))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("seed", range(40))
def test_rows_are_those_of_a_loop(pooling: Pooling, seed: int) -> None:
    """Random prompts, whole, at their beginning, their end, or somewhere between."""
    random = np.random.default_rng(seed)
    prompts = [random.choice([1, 2, 3, 4, START, END], size=random.integers(1, 12)) for _ in range(20)]
    begins = np.array([random.integers(len(ids)) * random.integers(2) for ids in prompts])
    counts = np.array([random.integers(1, len(ids) - begin + 1) for ids, begin in zip(prompts, begins, strict=True)])
    lengths = np.array([len(ids) for ids in prompts])
    step = Step(counts=counts, offsets=before(counts), begins=begins, finished=begins + counts == lengths)
    spans = spans_of(pooling, prompts)
    expected = [counted(pooling, ids) for ids in prompts]
    assert spans.tokens().tolist() == [len(places) for places in expected]
    assert spans.paired.tolist() == [bool(places) for places in expected]
    rows, sizes = spans.rows(step)
    here = [
        [int(offset + place - begin) for place in places if begin <= place < begin + count]
        for places, offset, begin, count in zip(expected, step.offsets, begins, counts, strict=True)
    ]
    assert sizes.tolist() == [len(places) for places in here]
    assert rows.tolist() == [row for places in here for row in places]
