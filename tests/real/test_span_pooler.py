"""Every pooling, with a layer norm or without, against sentence-transformers' formulas; planted faults fall outside."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vllm import PoolingParams

from tests.real.test_pooler_operators import (
    END,
    HIDDEN,
    LIMIT,
    START,
    Request,
    bits,
    image,
    request,
    requests,
    run,
    sizes,
    text,
    with_earlier_chunks,
)
from vllm_jina_embed.checkpoints.row import Pooling
from vllm_jina_embed.plugin.pooled import pooler_of
from vllm_jina_embed.plugin.span_pooler import SpanPooler
from vllm_jina_embed.plugin.token_choice import Spans
from vllm_jina_embed.pooling import single_vector

pytestmark = pytest.mark.wide

POOLINGS: tuple[Pooling, ...] = ("vision_span_mean", "mean", "first_token", "last_token")
EACH = pytest.mark.parametrize("pooling", POOLINGS)
NORMED = pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "layer norm"])
FAR = 1e-3
"""Distance that a fault must have: the limit of the check at the start of an engine."""


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def made(pooling: Pooling, layer_norm: bool = False) -> SpanPooler:
    return SpanPooler(pooling, START, END, layer_norm=layer_norm)


def formula(one: Request, pooling: Pooling, layer_norm: bool) -> torch.Tensor:
    """Return a request's embedding in torch alone, in float64.

    Source: sentence_transformers/models/Pooling.py (cls, mean over the attention mask, last token by its position);
    get_single_vector_embeddings in modeling_jina_embeddings_v4.py; the code on the card of nomic-embed-text-v1.5.
    """
    states = one.states.double()[None]
    ids = torch.tensor([one.ids])
    mask = torch.ones_like(ids)
    if pooling == "vision_span_mean" and START in one.ids:
        inside = torch.zeros_like(ids)
        for start, end in zip((ids[0] == START).nonzero(), (ids[0] == END).nonzero(), strict=True):
            inside[0, start : end + 1] = 1
        mask = inside
    if pooling == "first_token":
        pooled = states[:, 0]
    elif pooling == "last_token":
        places = mask.flip(1).argmax(1)  # the padding behind the last token that is attended
        pooled = states[torch.arange(1), mask.shape[1] - 1 - places]
    else:
        expanded = mask.unsqueeze(-1).expand(states.size()).double()
        pooled = (states * expanded).sum(1) / torch.clamp(expanded.sum(1), min=1e-9)
    if layer_norm:
        pooled = torch.nn.functional.layer_norm(pooled, normalized_shape=(pooled.shape[1],))
    return torch.nn.functional.normalize(pooled[:, : one.params.dimensions], p=2, dim=1)[0]


def reference(one: Request, pooling: Pooling, layer_norm: bool) -> np.ndarray:
    mask = None
    if pooling == "vision_span_mean":
        mask = single_vector.vision_mask(one.ids, vision_start=START, vision_end=END)
    pooled = single_vector.pooled(one.states.float().numpy(), pooling, mask=mask, layer_norm=layer_norm)
    return single_vector.finish(pooled, one.params.dimensions or HIDDEN)


def distance(got: Any, expected: Any) -> float:
    """Return half the squared distance: 1 - cosine of two unit vectors, more where one has another norm."""
    difference = np.asarray(got, dtype=np.float64) - np.asarray(expected, dtype=np.float64)
    return float(np.square(difference).sum() / 2)


def batch(dimensions: Sequence[int | None] = (None, 8, 16)) -> list[Request]:
    """Return texts and images of 1 to 300 tokens that ask for different sizes."""
    prompts = [text(1), text(2), image(5), text(63), text(64), text(65), image(40, spans=2), text(300), image(120)]
    asked = [dimensions[index % len(dimensions)] for index in range(len(prompts))]
    return [request(i, ids, task="embed", dimensions=asked[i]) for i, ids in enumerate(prompts)]


def in_chunks(pooler: SpanPooler, whole: list[Request], size: int) -> list[torch.Tensor]:
    """Return the embeddings of requests that are computed ``size`` tokens at a time, side by side."""
    outputs: dict[int, torch.Tensor] = {}
    for begin in range(0, max(len(one.ids) for one in whole), size):
        members = [index for index, one in enumerate(whole) if begin < len(one.ids)]
        parts = [
            Request(one.ids, one.params, one.states, begin, min(size, len(one.ids) - begin), one.kept)
            for one in (whole[index] for index in members)
        ]
        results, _ = run(pooler, parts)
        outputs |= {index: result for index, result in zip(members, results, strict=True) if result is not None}
    return [outputs[index] for index in range(len(whole))]


# --- the right numbers ------------------------------------------------------------------------------------------------


@EACH
@NORMED
@pytest.mark.parametrize("size", [1000, 64, 7], ids=["whole", "64", "7"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embeddings_are_those_of_the_formulas_and_of_the_reference(
    pooling: Pooling, layer_norm: bool, size: int, dtype: torch.dtype
) -> None:
    """However the prompts are cut."""
    whole = batch()
    for one in whole:
        one.states = one.states.to(dtype)
    for one, got in zip(whole, in_chunks(made(pooling, layer_norm), whole, size), strict=True):
        assert got.dtype == torch.float32
        np.testing.assert_allclose(got.numpy(), formula(one, pooling, layer_norm).numpy(), rtol=0, atol=1e-6)
        np.testing.assert_allclose(got.numpy(), reference(one, pooling, layer_norm), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_poolings_differ_from_one_another(layer_norm: bool) -> None:
    """So that one in place of another would show in every test here."""
    one = request(1, image(40), task="embed")
    found = [run(made(pooling, layer_norm), [copy.deepcopy(one)])[0][0] for pooling in POOLINGS]
    assert all(distance(left, right) > FAR for i, left in enumerate(found) for right in found[:i])


@pytest.mark.parametrize("pooling", ["first_token", "last_token"])
def test_a_token_is_taken_as_it_is(pooling: Pooling) -> None:
    """Bit for bit the state of that token, whole or in chunks."""
    params = PoolingParams(task="embed", use_activation=False)
    whole = [Request(one.ids, params, one.states) for one in batch()]
    place = 0 if pooling == "first_token" else -1
    for size in (1000, 16):
        outputs = in_chunks(made(pooling), copy.deepcopy(whole), size)
        assert bits(outputs) == bits([one.states[place] for one in whole])


# --- planted faults ---------------------------------------------------------------------------------------------------


class OneBefore(SpanPooler):
    """Takes the token before the right one."""

    def spans(self, metadata: Any, requests: Any) -> Spans:
        spans = super().spans(metadata, requests)
        return Spans(spans.owners, spans.firsts - 1, spans.lasts - 1, spans.paired)


class LostChunk(SpanPooler):
    """Forgets what earlier chunks summed, and divides by all tokens all the same."""

    def forward(self, hidden_states: torch.Tensor, pooling_metadata: Any) -> Any:
        for state in pooling_metadata.pooling_states:
            state.hidden_states_cache[:] = [torch.zeros_like(row) for row in state.hidden_states_cache]
        return super().forward(hidden_states, pooling_metadata)


class NormAfterCut(SpanPooler):
    """Cuts, then applies the layer norm."""

    def _embeddings(self, means: torch.Tensor, sizes: Any, cut: torch.Tensor, active: Any) -> torch.Tensor:
        return super()._embeddings(means[:, : max(sizes)], sizes, cut, active)


class CutAfterNorm(SpanPooler):
    """Normalises, then cuts."""

    def _embeddings(self, means: torch.Tensor, sizes: Any, cut: torch.Tensor, active: Any) -> torch.Tensor:
        return super()._embeddings(means, [means.shape[-1]], cut, active)[:, : max(sizes)]


FAULTS = {
    "one before": (OneBefore, "last_token", False, 1000),
    "one before, in chunks": (OneBefore, "last_token", False, 16),
    "lost chunk": (LostChunk, "mean", False, 16),
    "lost chunk of a first token": (LostChunk, "first_token", True, 16),
    "layer norm after the cut": (NormAfterCut, "mean", True, 1000),
    "cut after the norm": (CutAfterNorm, "mean", False, 1000),
    "no layer norm": (lambda pooling, **_: SpanPooler(pooling), "mean", True, 1000),
}


@pytest.mark.parametrize(("fault", "pooling", "layer_norm", "size"), FAULTS.values(), ids=FAULTS.keys())
def test_planted_faults_fall_outside(fault: Any, pooling: Pooling, layer_norm: bool, size: int) -> None:
    whole = [one for one in batch(dimensions=[8]) if len(one.ids) > 16]
    right = in_chunks(made(pooling, layer_norm), copy.deepcopy(whole), size)
    wrong = in_chunks(fault(pooling, layer_norm=layer_norm), copy.deepcopy(whole), size)
    for one, good, bad in zip(whole, right, wrong, strict=True):
        expected = formula(one, pooling, layer_norm)
        assert distance(good, expected) < 1e-10
        assert not distance(bad, expected) <= FAR


# --- what is launched -------------------------------------------------------------------------------------------------


@EACH
@NORMED
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "chunked"])
def test_operators_do_not_grow_with_the_step(pooling: Pooling, layer_norm: bool, device: str, cut: bool) -> None:
    """Different sizes, normalised or not; on ``meta``, where no number exists, whatever would look at one fails."""
    counts = []
    for n in (1, 64, 1024):
        pooler = made(pooling, layer_norm)
        if cut:
            step = with_earlier_chunks(pooler, requests(n, sizes), device)
        else:
            step = [request(i, text(9 + i % 5), **sizes(i)) for i in range(n)]
        _, operators = run(pooler, step, device)
        assert operators.copies <= 1
        counts.append(operators.total)
    assert max(counts) <= LIMIT
    assert counts[1] == counts[2]


def test_a_step_that_reaches_no_token_that_counts() -> None:
    """First chunks of prompts whose last token comes later: nothing is summed."""
    chunks = [request(i, text(50), 0, 10 + i, task="embed") for i in range(3)]
    assert run(made("last_token"), chunks)[0] == [None] * 3
    assert all(one.kept.hidden_states_cache == [] for one in chunks)


@EACH
@NORMED
def test_the_same_bits_in_any_order_and_beside_any_other(pooling: Pooling, layer_norm: bool) -> None:
    pooler, whole = made(pooling, layer_norm), batch()
    for size in (1000, 16):
        first = bits(in_chunks(pooler, copy.deepcopy(whole), size))
        assert bits(in_chunks(pooler, copy.deepcopy(whole), size)) == first
        assert bits(in_chunks(pooler, copy.deepcopy(whole)[::-1], size))[::-1] == first
    alone = [run(pooler, [copy.deepcopy(one)])[0][0] for one in whole]
    assert bits(run(pooler, copy.deepcopy(whole))[0]) == bits(alone)


# --- what cannot be pooled --------------------------------------------------------------------------------------------


@EACH
@NORMED
def test_only_a_last_token_needs_no_beginning(pooling: Pooling, layer_norm: bool) -> None:
    """After a hit in the prefix cache; the others get NaN, normalised or not, and the one beside them its vector."""
    for active in (None, False):
        params = {"task": "embed", "use_activation": active}
        unseen, good = request(1, text(60), 16, **params), request(2, text(60), **params)
        (output, beside), _ = run(made(pooling, layer_norm), [unseen, good])
        assert beside.isfinite().all()
        if pooling == "last_token":
            (expected,), _ = run(made(pooling, layer_norm), [request(1, text(60), **params)])
            assert bits([output]) == bits([expected])
        else:
            assert output.isnan().all()


@EACH
@NORMED
@pytest.mark.parametrize("value", [0.0, 1e30, float("nan"), float("inf")])
def test_a_vector_without_a_direction_is_nan(pooling: Pooling, layer_norm: bool, value: float) -> None:
    bad, good = request(1, text(9), task="embed"), request(2, text(9), task="embed")
    bad.states = torch.full_like(bad.states, value)
    outputs, _ = run(made(pooling, layer_norm), [bad, good])
    assert outputs[0].isnan().all()
    assert distance(outputs[1], formula(good, pooling, layer_norm)) < 1e-10


@EACH
def test_a_request_that_starts_again_forgets_its_first_chunk(pooling: Pooling) -> None:
    """As after a preemption, with other states, so that what was kept would show."""
    again, new = request(1, text(60), task="embed"), request(1, text(60), task="embed")
    run(made(pooling), [Request(again.ids, again.params, again.states + 9, 0, 20, again.kept)])
    assert bits(run(made(pooling), [again])[0]) == bits(run(made(pooling), [new])[0])
    assert again.kept.hidden_states_cache == []


# --- what a request and a checkpoint ask for --------------------------------------------------------------------------


@NORMED
def test_a_request_may_ask_for_a_vector_that_is_not_normalised(layer_norm: bool) -> None:
    """Beside others that do not: theirs are as ever."""
    plain = [request(i, text(30), task="embed", dimensions=8) for i in range(3)]
    mixed = copy.deepcopy(plain)
    mixed[1].params.use_activation = False
    usual, got = (run(made("mean", layer_norm), one)[0] for one in (plain, mixed))
    assert bits([got[0], got[2]]) == bits([usual[0], usual[2]])
    expected = single_vector.pooled(plain[1].states.numpy(), "mean", layer_norm=layer_norm)[:8]
    np.testing.assert_allclose(got[1].numpy(), expected, atol=1e-6)
    assert abs(np.linalg.norm(expected) - 1) > 0.1


def test_token_ids_are_asked_for_only_where_they_decide() -> None:
    updates = [made(pooling).get_pooling_updates("embed").requires_token_ids for pooling in POOLINGS]
    assert updates == [True, False, False, False]


def test_spans_need_the_ids_of_their_markers() -> None:
    with pytest.raises(ValueError, match="token ids of its markers"):
        SpanPooler("vision_span_mean")


@EACH
@NORMED
def test_a_checkpoint_says_which_pooling(pooling: Pooling, layer_norm: bool) -> None:
    """Both tasks: embeddings, and each token's state."""
    asked = {"jina_pooling": pooling} | ({"jina_layer_norm": True} if layer_norm else {})
    config = SimpleNamespace(**asked, vision_start_token_id=START, vision_end_token_id=END)
    pooler: Any = pooler_of(SimpleNamespace(hf_config=config))
    assert pooler.get_supported_tasks() == {"embed", "token_embed"}
    whole = batch()
    for one, got in zip(whole, run(pooler.poolers_by_task["embed"], whole)[0], strict=True):
        assert distance(got, formula(one, pooling, layer_norm)) < 1e-10


@pytest.mark.parametrize("asked", [{}, {"jina_pooling": None}, {"jina_pooling": "max"}])
def test_a_checkpoint_without_a_pooling_does_not_load(asked: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match=r"needs a pooling and got .* Use vllm_jina_embed.JinaEmbedder"):
        pooler_of(SimpleNamespace(hf_config=SimpleNamespace(**asked)))
