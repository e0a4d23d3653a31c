"""What both poolers launch on the device: few operators however many requests, no wait, and the same bits again."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from vllm import PoolingParams
from vllm.model_executor.layers.pooler.abstract import Pooler
from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates

from vllm_jina_embed.errors import EngineError
from vllm_jina_embed.plugin.both_pooler import BothPooler
from vllm_jina_embed.plugin.jina_v4_native import MultiVectorProjector
from vllm_jina_embed.plugin.span_pooler import SpanPooler
from vllm_jina_embed.plugin.token_states_pooler import TokenVectors
from vllm_jina_embed.pooling import single_vector

pytestmark = pytest.mark.wide

START, PAD, END, HIDDEN, ROWS = 7, 8, 9, 32, 12
TASKS = ("retrieval", "text-matching", "code")
LIMIT = 64
"""The most operators that a step may launch."""


# --- a step in vLLM's books -------------------------------------------------------------------------------------------


@dataclass
class Request:
    """One request: its tokens, their states, what it asks for, and what the pooler keeps of it between steps."""

    ids: list[int]
    params: PoolingParams
    states: torch.Tensor
    begin: int = 0
    count: int = 0
    kept: PoolingStates = field(default_factory=PoolingStates)

    def __post_init__(self) -> None:
        self.count = self.count or len(self.ids) - self.begin


def text(n: int) -> list[int]:
    return [20 + place % 50 for place in range(n)]


def image(n: int, spans: int = 1) -> list[int]:
    return [1, *([START, *[PAD] * n, END, 3] * spans), 4]


def request(index: int, ids: list[int], begin: int = 0, count: int = 0, **params: Any) -> Request:
    states = 3 * torch.randn(len(ids), HIDDEN, generator=torch.Generator().manual_seed(index)) + 1
    return Request(ids, PoolingParams(**params), states, begin, count)


SHAPES = (
    lambda i: (text(5 + i % 90), 0, 0),  # a short text, whole
    lambda i: (image(10 + i % 150), 0, 0),  # an image, whole
    lambda i: (text(200 + i % 20), 0, 120),  # the first chunk of a text
    lambda i: (image(60 + i % 9, spans=3), 100, 0),  # the last chunk of images
    lambda i: (text(90 + i % 9), 30, 40),  # a chunk from the middle
    lambda i: ([START, PAD, PAD, START, END, 5], 0, 0),  # markers that cannot be paired
    lambda i: (text(40), 16, 0),  # the beginning was never seen; see `requests`
)
"""Token ids, where the step begins and how many it computes: 0 is all the rest."""


def requests(n: int, asks: Callable[[int], dict[str, Any]]) -> list[Request]:
    """Return requests of every kind, each asking for what ``asks`` says of its number."""
    return [request(index, *SHAPES[index % len(SHAPES)](index), **asks(index)) for index in range(n)]


def run(pooler: Pooler, batch: Sequence[Request], device: str = "cpu") -> Any:
    """Run one step, then overwrite its states as vLLM does."""
    prompts = [one.ids for one in batch]
    width = max(map(len, prompts))
    ids = torch.tensor([ids + [START] * (width - len(ids)) for ids in prompts])  # what lies behind is nobody's
    metadata = PoolingMetadata(
        prompt_lens=torch.tensor([len(ids) for ids in prompts]),
        prompt_token_ids=None,
        prompt_token_ids_cpu=ids,
        pooling_params=[one.params for one in batch],
        pooling_states=[one.kept for one in batch],
    )
    hidden = torch.cat([one.states[one.begin : one.begin + one.count] for one in batch]).to(device)
    metadata.build_pooling_cursor(
        np.array([one.count for one in batch]), torch.tensor([one.begin + one.count for one in batch]), hidden.device
    )
    with Operators() as operators:
        outputs = pooler(hidden, metadata)
    if device == "cpu":
        hidden.fill_(float("nan"))
    return outputs, operators


def with_earlier_chunks(pooler: Pooler, batch: list[Request], device: str = "cpu") -> list[Request]:
    """Compute what comes before a step, except of the requests whose beginning is to be missing."""
    earlier = [one for index, one in enumerate(batch) if one.begin and index % len(SHAPES) != 6]
    if earlier:
        run(pooler, [Request(one.ids, one.params, one.states, 0, one.begin, one.kept) for one in earlier], device)
    return batch


def projector(device: str = "cpu") -> MultiVectorProjector:
    generator = torch.Generator().manual_seed(1)
    made = MultiVectorProjector(HIDDEN, ROWS)
    with torch.no_grad():
        made.bias.copy_(torch.randn(ROWS, generator=generator))
    made.of_task = {task: torch.randn(ROWS, HIDDEN, generator=generator).to(device) for task in TASKS}
    return made.to(device)


def span_pooler(device: str = "cpu") -> SpanPooler:
    return SpanPooler("vision_span_mean", START, END)


def mean_with_norm(device: str = "cpu") -> SpanPooler:
    return SpanPooler("mean", layer_norm=True)


def first_pooler(device: str = "cpu") -> SpanPooler:
    return SpanPooler("first_token")


def last_pooler(device: str = "cpu") -> SpanPooler:
    return SpanPooler("last_token")


def token_pooler(device: str = "cpu") -> TokenVectors:
    made = projector(device)
    return TokenVectors(made, tasks=made.of_task)


def both_pooler(device: str = "cpu") -> BothPooler:
    return BothPooler(token_pooler(device), span_pooler(device))


def sizes(index: int) -> dict[str, Any]:
    return {
        "task": "embed",
        "dimensions": (None, 8, 16)[index % 3],
        "use_activation": (None, True, False)[index // 3 % 3],
    }


def tasks(index: int) -> dict[str, Any]:
    """Each task, raw states, and tasks that nobody knows: each another one, some not even a name."""
    named: list[object] = [*TASKS, None, f"nobody knows {index}", [index]]
    task = named[index % len(named)]
    return {
        "task": "token_embed",
        "use_activation": index % 4 != 0,
        "extra_kwargs": None if task is None else {"jina_task": task},
    }


def both(index: int) -> dict[str, Any]:
    """The same with embeddings of several sizes before the rows, among rows alone and one told in other words."""
    asked = tasks(index)
    kinds: list[object] = [
        {"dimensions": 8, "normalize": True},
        {"dimensions": None, "normalize": False},
        {},
        None,
        {"dimensions": 16},
        {"dimensions": "many"},
        ["nobody knows"],
    ]
    if (kind := kinds[index // 3 % len(kinds)]) is not None:
        asked["extra_kwargs"] = {**(asked["extra_kwargs"] or {}), "jina_embedding": kind}
    return asked


MAKERS = {
    "span": (span_pooler, sizes),
    "mean": (mean_with_norm, sizes),
    "first": (first_pooler, sizes),
    "last": (last_pooler, sizes),
    "tokens": (token_pooler, tasks),
    "both": (both_pooler, both),
}
EACH = pytest.mark.parametrize(("make", "asks"), MAKERS.values(), ids=MAKERS.keys())


# --- counting and refusing --------------------------------------------------------------------------------------------

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero", "repeat_interleave.Tensor")
ATOMIC = ("index_add", "scatter", "index_put", "index_reduce", "bincount", "histc", "put_")


class Operators(TorchDispatchMode):
    """Counts the operators that launch something, and refuses those that wait for the device or add in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.copies = 0

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        if any(f"{name}.{func._overloadname}".startswith(bad) for bad in WAITS):
            raise AssertionError(f"{func} waits for the device")
        if any(name.startswith(bad) for bad in ATOMIC):
            raise AssertionError(f"{func} adds in any order")
        result = func(*args, **(kwargs or {}))
        if name in {"_to_copy", "copy_"} and isinstance(args[0], torch.Tensor) and args[0].device != result.device:
            if result.device.type == "cpu":
                raise AssertionError(f"{func} copies from the device")
            self.copies += 1
        if not any(found.alias_info and not found.alias_info.is_write for found in func._schema.returns):  # no view
            self.counts[str(func)] += 1
        return result


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    """As in vLLM; not its inference mode, in which a dispatch mode sees one operator in place of its parts."""
    with torch.no_grad():
        yield


@EACH
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_step_of_any_size_launches_few_operators(
    make: Callable[[str], Pooler], asks: Callable[[int], dict[str, Any]], device: str
) -> None:
    """Whole and in chunks, texts and images, sizes, tasks and faults mixed; 1024 requests launch what 64 do.

    On ``meta``, where no number exists: whatever would look at one fails.
    """
    found = []
    for n in (1, 64, 1024):
        pooler = make(device)
        outputs, operators = run(pooler, with_earlier_chunks(pooler, requests(n, asks), device), device)
        assert len(outputs) == n
        assert operators.copies <= 4
        found.append(operators)
    assert all(one.total <= LIMIT for one in found), found[-1].counts
    assert found[1].counts == found[2].counts


@EACH
def test_whole_requests_alone_launch_few_operators(
    make: Callable[[str], Pooler], asks: Callable[[int], dict[str, Any]]
) -> None:
    """The usual step: short texts that ask for the same."""
    counts = [run(make("cpu"), [request(i, text(9), **asks(1)) for i in range(n)])[1].total for n in (1, 64, 1024)]
    assert counts[0] == counts[1] == counts[2] <= 24


class PerRequest(SpanPooler):
    """Sums each request by itself."""

    def forward(self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata) -> Any:
        counts = pooling_metadata.get_pooling_cursor().num_scheduled_tokens_cpu.tolist()
        return [part.sum(0) for part in hidden_states.split(counts)]


class Planted(SpanPooler):
    """Does one thing more with the states than the pooler does."""

    def __init__(self, fault: Callable[[torch.Tensor], object]) -> None:
        super().__init__("vision_span_mean", START, END)
        self.fault = fault

    def forward(self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata) -> Any:
        self.fault(hidden_states)
        return super().forward(hidden_states, pooling_metadata)


def test_the_counter_sees_one_operator_per_request() -> None:
    _, operators = run(
        PerRequest("vision_span_mean", START, END), [request(i, text(9), **sizes(0)) for i in range(LIMIT + 1)]
    )
    assert operators.total > LIMIT


@pytest.mark.parametrize(
    "fault",
    [
        lambda states: states.max().item(),
        lambda states: states.cpu(),
        lambda states: states.isnan().any() and None,
        lambda states: states[states > 0],
        lambda states: states.sum(0).tolist(),
        lambda states: torch.zeros(1, HIDDEN, device=states.device).index_add_(
            0, torch.zeros(len(states), dtype=torch.int64, device=states.device), states
        ),
    ],
    ids=["item", "cpu", "if", "mask", "tolist", "index_add"],
)
def test_what_waits_for_the_device_or_adds_in_any_order_is_refused(fault: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises((AssertionError, NotImplementedError, RuntimeError)):
        run(Planted(fault), [request(0, text(9), **sizes(0))], "meta")


# --- results ----------------------------------------------------------------------------------------------------------


def bits(outputs: Sequence[torch.Tensor | None]) -> list[bytes | None]:
    return [None if one is None else one.contiguous().numpy().tobytes() for one in outputs]


@EACH
@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_a_batch_and_a_rerun_give_the_same_bits(
    make: Callable[[str], Pooler], asks: Callable[[int], dict[str, Any]], seed: int
) -> None:
    pooler = make("cpu")
    batch = with_earlier_chunks(pooler, requests(150, asks))
    order = np.random.default_rng(seed).permutation(len(batch)).tolist()
    first, again, other = copy.deepcopy(batch), copy.deepcopy(batch), copy.deepcopy(batch)
    expected = bits(run(pooler, first)[0])
    assert sum(one is not None for one in expected) > 50
    assert bits(run(pooler, again)[0]) == expected
    assert bits(run(pooler, [other[index] for index in order])[0]) == [expected[index] for index in order]
    for left, right in zip(first, other, strict=True):  # what is kept for later chunks as well
        assert bits(left.kept.hidden_states_cache) == bits(right.kept.hidden_states_cache)


def test_a_mean_does_not_depend_on_its_companions() -> None:
    """Alone, beside short ones and beside a long one, which takes more levels of sums."""
    batch = [request(i, text(n), task="embed") for i, n in enumerate((1, 9, 63, 64, 65, 100, 128, 129, 300, 5000))]
    together = bits(run(span_pooler(), batch)[0])
    assert together == [bits(run(span_pooler(), [one])[0])[0] for one in batch]


@pytest.mark.parametrize("ids", [text(32_768), image(10_000, spans=3)], ids=["text", "images"])
@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 2048), (torch.bfloat16, 2048), (torch.float32, 32_768)])
def test_long_prompts_are_averaged_as_the_reference_does(ids: list[int], dtype: torch.dtype, size: int) -> None:
    """In steps beside short texts that come and go; states far from 0, whose sums grow."""
    long = request(1, ids, task="embed")
    long.states = (long.states + torch.linspace(-50, 50, HIDDEN)).to(dtype)
    mask = single_vector.vision_mask(ids, vision_start=START, vision_end=END)
    result = None
    for begin in range(0, len(ids), size):
        part = Request(ids, long.params, long.states, begin, min(size, len(ids) - begin), long.kept)
        (_, result, _), _ = run(
            span_pooler(), [request(2, text(7), task="embed"), part, request(3, image(4), task="embed")]
        )
    expected = single_vector.finish(single_vector.mean(long.states.float().numpy(), mask), HIDDEN)
    assert result is not None
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1.5e-7)  # one long sum is 4e-7 off


MARKERS = {
    "an end alone": [5, END, 6, 6],
    "closed spans": [START, PAD, END, 4, START, PAD, PAD, END],
    "spans side by side": [START, END, START, END],
    "inverted": [END, PAD, START],
    "inverted beside a closed one": [START, END, END, START],
    "one in another": [START, START, PAD, END, END],
    "a start too many": [START, PAD, END, START],
    "an end too many": [START, PAD, END, END],
}


@pytest.mark.parametrize("ids", MARKERS.values(), ids=MARKERS.keys())
def test_markers_are_paired_as_the_reference_pairs_them(ids: list[int]) -> None:
    """Among others that are well: they keep their vectors, whatever stands beside them."""
    batch = [request(i, one, task="embed") for i, one in enumerate((image(3), ids, text(5), ids, image(2, spans=2)))]
    for one, output in zip(batch, run(span_pooler(), batch)[0], strict=True):
        try:
            mask = single_vector.vision_mask(one.ids, vision_start=START, vision_end=END)
        except EngineError:
            assert output.isnan().all()
        else:
            expected = single_vector.finish(single_vector.mean(one.states.numpy(), mask), HIDDEN)
            np.testing.assert_allclose(output.numpy(), expected, atol=1e-6)


def test_a_request_that_starts_again_forgets_its_first_chunk() -> None:
    """As after a preemption: vLLM computes it from its first token on, and the pooler has sums or rows of before."""
    for pooler, asks in ((span_pooler(), sizes(0)), (token_pooler(), tasks(1))):
        new, again = request(1, text(60), **asks), request(1, text(60), **asks)
        run(pooler, [Request(again.ids, again.params, again.states, 0, 20, again.kept)])
        assert bits(run(pooler, [again])[0]) == bits(run(pooler, [new])[0])


@pytest.mark.parametrize("value", [0.0, 1e30, float("nan"), float("inf")])
def test_a_mean_that_has_no_direction_is_nan(value: float) -> None:
    """Zero, or too large to be squared; the vector beside it is as ever."""
    bad, good = request(1, text(9), task="embed"), request(2, text(9), task="embed")
    bad.states = torch.full_like(bad.states, value)
    alone = bits(run(span_pooler(), [copy.deepcopy(good)])[0])
    outputs, _ = run(span_pooler(), [bad, good])
    assert outputs[0].isnan().all()
    assert bits(outputs)[1] == alone[0]


def test_mixed_steps_equal_their_requests_one_by_one() -> None:
    """Rows of every task and raw ones, with earlier chunks or without: NaN where, and only where, they must be."""
    pooler = token_pooler()
    batch = with_earlier_chunks(pooler, requests(84, tasks))
    alone = copy.deepcopy(batch)
    for index, output in enumerate(run(pooler, batch)[0]):
        (expected,), _ = run(pooler, [alone[index]])
        assert (output is None) == (expected is None)
        if output is not None:
            assert len(output) == len(batch[index].ids)
            unknown, unseen = index % 6 in (4, 5), index % 7 == 6
            assert output.isnan().any(-1).tolist() == [unknown or (unseen and row < 16) for row in range(len(output))]
            np.testing.assert_allclose(output.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_mixed_means_equal_the_reference() -> None:
    pooler = span_pooler()
    batch = with_earlier_chunks(pooler, requests(140, sizes))
    for index, output in enumerate(run(pooler, batch)[0]):
        one = batch[index]
        if one.begin + one.count < len(one.ids):
            assert output is None
        elif index % 7 in (5, 6):
            assert output.isnan().all()
        else:
            mask = single_vector.vision_mask(one.ids, vision_start=START, vision_end=END)
            mean = single_vector.mean(one.states.numpy(), mask)[: one.params.dimensions]
            expected = mean if one.params.use_activation is False else single_vector.normalize(mean)
            np.testing.assert_allclose(output.numpy(), expected, atol=1e-6)


def test_both_kinds_are_those_of_the_pooler_of_each_bit_for_bit() -> None:
    """Of whole prompts and chunks, images and texts, sizes, tasks and faults, beside requests for rows alone."""
    pooler, rows, means = both_pooler(), token_pooler(), span_pooler()
    batch = requests(210, both)
    alone = copy.deepcopy(batch)
    told = [(one.params.extra_kwargs or {}).get("jina_embedding") for one in batch]
    embeddings = copy.deepcopy(batch)
    for one, wish in zip(embeddings, told, strict=True):
        asked = wish if isinstance(wish, dict) else {}
        size = asked.get("dimensions")
        one.params = PoolingParams(
            task="embed",
            dimensions=size if isinstance(size, int) else None,
            use_activation=asked.get("normalize") is not False,
        )
    outputs = run(pooler, with_earlier_chunks(pooler, batch))[0]
    right = run(rows, with_earlier_chunks(rows, alone))[0]
    vectors = run(means, with_earlier_chunks(means, embeddings))[0]
    joined = 0
    for wish, got, multi, vector in zip(told, outputs, right, vectors, strict=True):
        if multi is None or not isinstance(wish, dict):
            assert bits([got]) == bits([multi])
            continue
        joined += 1
        assert bits([got]) == bits([torch.cat([vector, multi.flatten()])])
    assert joined > 60
    for wish, one, row, vector in zip(told, batch, alone, embeddings, strict=True):  # what is kept as well
        assert bits(one.kept.hidden_states_cache) == bits(row.kept.hidden_states_cache)
        sums = vector.kept.hidden_states_cache if isinstance(wish, dict) else []
        assert bits(getattr(one.kept, "jina_sums", [])) == bits(sums)


@pytest.mark.parametrize("first", [span_pooler, mean_with_norm, first_pooler, last_pooler])
def test_both_kinds_in_steps_of_any_size(first: Callable[[], SpanPooler]) -> None:
    """Rows without the first token beside an embedding of any pooling, a preemption in between."""
    made = projector()
    for size in (1, 7, 100):
        whole, parts = (request(5, image(40), task="token_embed", use_activation=True) for _ in range(2))
        for one in (whole, parts):
            one.params.extra_kwargs = {"jina_task": "code", "jina_embedding": {"dimensions": 8}}
        pooler = BothPooler(TokenVectors(made, tasks=made.of_task, skips_first=("code",)), first())
        ((expected,), _) = run(pooler, [whole])
        assert expected is not None
        assert len(expected) == 8 + (len(whole.ids) - 1) * ROWS
        got = None
        for begin in (0, size, *range(0, len(whole.ids), size)):  # two steps, and again from the first token on
            count = min(size, len(whole.ids) - begin)
            if count > 0:
                chunk = Request(parts.ids, parts.params, parts.states, begin, count, parts.kept)
                ((got,), _) = run(pooler, [chunk])
        assert got is not None
        np.testing.assert_allclose(got.detach(), expected.detach(), atol=1e-6)


# --- what vLLM is handed ----------------------------------------------------------------------------------------------


def test_a_step_that_finishes_all_with_one_size_is_one_tensor() -> None:
    """Which vLLM 0.28 to 0.33 copy at once; a list otherwise."""
    whole = [request(i, text(9), task="embed", dimensions=8) for i in range(5)]
    outputs, _ = run(span_pooler(), whole)
    assert isinstance(outputs, torch.Tensor)
    assert outputs.shape == (5, 8)
    other_size, chunk = request(6, text(9), task="embed"), request(7, text(9), 0, 4, task="embed", dimensions=8)
    for other in (other_size, chunk):
        outputs, _ = run(span_pooler(), [*copy.deepcopy(whole), other])
        assert isinstance(outputs, list)
        assert [None if one is None else len(one) for one in outputs] == [8] * 5 + [None if other is chunk else HIDDEN]


@EACH
def test_a_step_without_requests_is_no_error(
    make: Callable[[str], Pooler], asks: Callable[[int], dict[str, Any]]
) -> None:
    """None was seen; but what raises here ends the engine."""
    metadata = PoolingMetadata(torch.tensor([]), None, torch.zeros((0, 0)), [], [])
    metadata.build_pooling_cursor(
        np.array([], dtype=np.int64), torch.tensor([], dtype=torch.int64), torch.device("cpu")
    )
    assert make("cpu")(torch.zeros((0, HIDDEN)), metadata) == []


def test_token_vectors_are_a_list() -> None:
    """vLLM scores late interaction in lists alone."""
    outputs, _ = run(token_pooler(), [request(i, text(9), **tasks(0)) for i in range(3)])
    assert isinstance(outputs, list)


@EACH
def test_nothing_is_kept_of_the_step_but_what_goes_on(
    make: Callable[[str], Pooler], asks: Callable[[int], dict[str, Any]]
) -> None:
    """One text that goes on must not hold the tensors of a thousand that are finished."""
    last = request(9, text(50), 0, 5, **asks(1))
    batch = [*(request(i, text(50), **asks(1)) for i in range(20)), last]
    run(make("cpu"), batch)
    kept = last.kept.hidden_states_cache
    assert len(kept) == (0 if make is last_pooler else 1)
    assert all(one.untyped_storage().nbytes() == one.nbytes for one in kept)
    assert all(one.kept.hidden_states_cache == [] for one in batch[:-1])
