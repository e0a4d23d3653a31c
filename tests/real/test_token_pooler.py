"""The pooler of multi-vectors that runs inside vLLM, step by step, against plain numpy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from vllm import PoolingParams
from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates

from vllm_jina_embed.plugin.jina_v4_native import MultiVectorProjector
from vllm_jina_embed.plugin.token_states_pooler import TokenVectors

HIDDEN, ROWS = 32, 12
WEIGHTS = {task: np.random.default_rng(seed).normal(size=(ROWS, HIDDEN)) for seed, task in enumerate(("code", "other"))}
BIAS = np.random.default_rng(9).normal(size=ROWS) * 5


@dataclass
class Request:
    """One request in vLLM's books: its tokens' states, its task, and what it has kept between steps."""

    states: torch.Tensor
    task: str | None = None
    raw: bool = False
    kept: PoolingStates = field(default_factory=PoolingStates)
    done: int = 0

    def expected(self, task: str | None = None) -> np.ndarray:
        rows = self.states.double().numpy()
        if task or self.task:
            rows = rows @ WEIGHTS[task or self.task or ""].T + BIAS
        return rows if self.raw else rows / np.linalg.norm(rows, axis=1, keepdims=True)


def request(count: int, seed: int = 0, dtype: torch.dtype = torch.float32, **more: object) -> Request:
    states = 20 * torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(seed))
    return Request(states.to(dtype), **more)  # type: ignore[arg-type]


def project(states: torch.Tensor, task: str) -> torch.Tensor:
    weight, bias = torch.from_numpy(WEIGHTS[task]).float(), torch.from_numpy(BIAS).float()
    return torch.nn.functional.linear(states.float(), weight, bias)


def step(pooler: TokenVectors, parts: list[tuple[Request, int]]) -> list[torch.Tensor | None]:
    """Run one engine step that schedules so many tokens of each request, then overwrite its states as vLLM does."""
    params = [
        PoolingParams(
            task="token_embed",
            use_activation=not one.raw,
            extra_kwargs=None if one.task is None else {"jina_task": one.task},
        )
        for one, _ in parts
    ]
    metadata = PoolingMetadata(
        prompt_lens=torch.tensor([len(one.states) for one, _ in parts]),
        prompt_token_ids=None,
        prompt_token_ids_cpu=None,
        pooling_params=params,
        pooling_states=[one.kept for one, _ in parts],
    )
    hidden = torch.cat([one.states[one.done : one.done + count] for one, count in parts])
    for one, count in parts:
        one.done += count
    metadata.build_pooling_cursor(
        np.array([count for _, count in parts]), torch.tensor([one.done for one, _ in parts]), hidden.device
    )
    outputs = pooler(hidden, metadata)
    hidden.fill_(float("nan"))
    return outputs


@pytest.fixture
def pooler() -> TokenVectors:
    """The pooler under test, which can project."""
    return TokenVectors(project)


@pytest.mark.parametrize("task", [None, "code"])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_chunks_of_any_size_give_every_row_once(pooler: TokenVectors, size: int, task: str | None) -> None:
    """In the prompt's order, projected or not."""
    one = request(11, task=task)
    results: list[torch.Tensor | None] = []
    while one.done < 11:
        results += step(pooler, [(one, min(size, 11 - one.done))])
    assert all(result is None for result in results[:-1])
    np.testing.assert_allclose(results[-1], one.expected(), atol=1e-6)
    assert results[-1].dtype == torch.float32  # type: ignore[union-attr]


def test_only_projected_rows_are_kept_between_steps(pooler: TokenVectors) -> None:
    """A long image keeps 128 numbers per token, not its states."""
    one = request(9, task="code")
    step(pooler, [(one, 6)])
    assert [rows.shape for rows in one.kept.hidden_states_cache] == [(6, ROWS)]


def test_a_mixed_step_keeps_tasks_apart(pooler: TokenVectors) -> None:
    """Two tasks and raw states beside one that is not finished."""
    parts = [request(5, 1, task="code"), request(7, 2, task="other"), request(4, 3, raw=True), request(6, 4)]
    results = step(pooler, [(one, 3 if index == 1 else len(one.states)) for index, one in enumerate(parts)])
    assert results[1] is None
    for index in (0, 2, 3):
        np.testing.assert_allclose(results[index], parts[index].expected(), rtol=1e-5, atol=1e-6)
    (last,) = step(pooler, [(parts[1], 4)])
    np.testing.assert_allclose(last, parts[1].expected(), atol=1e-6)


def test_a_served_engine_has_a_default_task() -> None:
    """Its clients cannot name one."""
    one = request(5)
    (rows,) = step(TokenVectors(project, default_task="other"), [(one, 5)])
    np.testing.assert_allclose(rows, one.expected("other"), atol=1e-6)


def test_a_preempted_request_does_not_have_its_first_rows_twice(pooler: TokenVectors) -> None:
    """vLLM starts a preempted request again at its first token and keeps its pooling state."""
    one = request(8, task="code")
    assert step(pooler, [(one, 5)]) == [None]
    one.done = 0
    assert step(pooler, [(one, 4)]) == [None]
    (rows,) = step(pooler, [(one, 4)])
    np.testing.assert_allclose(rows, one.expected(), atol=1e-6)


@pytest.mark.fire
def test_a_request_whose_beginning_was_never_seen_gets_nan(pooler: TokenVectors) -> None:
    """As after a hit in the prefix cache: NaN for the rows that are missing, and no error, which would end vLLM."""
    one = request(5)
    one.done = 2
    (rows,) = step(pooler, [(one, 3)])
    assert len(rows) == 5  # type: ignore[arg-type]
    assert torch.isnan(rows[:2]).all()  # type: ignore[index]


@pytest.mark.fire
@pytest.mark.parametrize("task", ["nonsense", "", ["code"], {"a": 1}, 7])
def test_a_task_that_is_unknown_gives_nan(task: object) -> None:
    """The projector's own, in one step with a task that it knows."""
    projector = MultiVectorProjector(HIDDEN, ROWS)
    torch.nn.init.normal_(projector.weight)
    torch.nn.init.zeros_(projector.bias)
    projector.of_task["code"] = projector.weight.detach()
    bad, good = request(4, task=task), request(3, 1, task="code")  # type: ignore[arg-type]
    rows, others = step(TokenVectors(projector), [(bad, 4), (good, 3)])
    assert torch.isnan(rows).all()  # type: ignore[arg-type]
    wanted = torch.nn.functional.normalize(good.states.float() @ projector.weight.T, dim=-1).detach()
    np.testing.assert_allclose(others.detach(), wanted, atol=1e-6)  # type: ignore[union-attr]


def test_bfloat16_states_are_projected_in_float32(pooler: TokenVectors) -> None:
    """The rounding of the states is the only one."""
    one = request(50, dtype=torch.bfloat16, task="code")
    (rows,) = step(pooler, [(one, 50)])
    np.testing.assert_allclose(rows, one.expected(), atol=1e-6)


def narrow(states: torch.Tensor, task: str) -> torch.Tensor:
    """Return one number a token in the task ``other``, and NaN in one that is unknown."""
    if task == "other":
        return project(states, task)[:, :1]
    return project(states, task) if task in WEIGHTS else states.new_full((len(states), ROWS), float("nan"))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_step_keeps_rows_of_two_lengths_apart_and_leaves_first_ones_out(size: int) -> None:
    """Beside raw states and a task that is unknown, in chunks of any size."""
    pooler = TokenVectors(narrow, tasks=("code", "other"), apart=("other",), skips_first=("code",))
    parts = [request(5, 1, task="code"), request(7, 2, task="other", raw=True), request(4, 3, raw=True)]
    parts += [request(6, 4, task="code"), request(3, 5, task="nonsense")]
    results: dict[int, torch.Tensor] = {}
    while left := [index for index, one in enumerate(parts) if one.done < len(one.states)]:
        given = [(parts[index], min(size, len(parts[index].states) - parts[index].done)) for index in left]
        rows = dict(zip(left, step(pooler, given), strict=True))
        results |= {index: one for index, one in rows.items() if one is not None}
    for index in (0, 3):
        np.testing.assert_allclose(results[index], parts[index].expected()[1:], atol=1e-6)
    np.testing.assert_allclose(results[1], parts[1].expected()[:, :1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(results[2], parts[2].expected(), rtol=1e-5, atol=1e-6)
    assert torch.isnan(results[4]).all()
