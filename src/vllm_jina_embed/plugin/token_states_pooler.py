"""Every token's vector inside vLLM: raw states, or the rows of multi-vectors.

A step holds the hidden states ``(n_scheduled_tokens, hidden_size)`` of many requests, each whole or a chunk. Every
request that it finishes gets float32 ``(n_tokens, token_dimensions)``, the others None. A chunk is projected when it
comes, so what is kept between steps is narrow. Each task is one matrix product a step, and whatever else the step
holds, the same few operators run. ``vllm_jina_embed.checkpoints.weights.projector`` is the reference.

As in ``span_pooler.py``, nothing that a request holds may raise here; rows that cannot be computed are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence, Set
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler

from ..engine.plugin_contract import TASK_KEY
from .pooling_step import Integers, Step, before, ranges, to_device

if TYPE_CHECKING:
    from vllm.pooling_params import PoolingParams
    from vllm.tasks import PoolingTask
    from vllm.v1.pool.metadata import PoolingMetadata

Project = Callable[[torch.Tensor, str], torch.Tensor]

UNKNOWN = ""
"""The task of all requests whose task is unknown; its rows are NaN."""


class TokenVectors(Pooler):
    """Gives each token's state, projected for the task that the request names; normalised where it asks for that."""

    def __init__(
        self,
        project: Project | None = None,
        *,
        default_task: str | None = None,
        tasks: Container[str] | None = None,
        apart: Sequence[str] = (),
        skips_first: Container[str] = (),
    ) -> None:
        """Make a pooler.

        Args:
            project: Turns token states ``(n, hidden_size)`` and a task into rows ``(n, token_dimensions)``.
            default_task: The task of requests that name none; without it they get raw states.
            tasks: What ``project`` knows; each other task is ``UNKNOWN``. Without it all strings are passed on.
            apart: Tasks whose rows have another length than those of the others.
            skips_first: Tasks in which the first token of a prompt gets no row.
        """
        super().__init__()
        self.project = project
        self.default_task = default_task
        self.tasks = tasks
        self.apart = apart
        self.skips_first = skips_first

    def get_supported_tasks(self) -> Set[PoolingTask]:
        """Return the one task of vLLM that this pooler serves."""
        return {"token_embed"}

    def get_pooling_updates(self, task: PoolingTask) -> PoolingParamsUpdate:
        """Ask vLLM for nothing."""
        return PoolingParamsUpdate()

    def forward(self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata) -> list[torch.Tensor | None]:
        """Return the rows of each request that this step finished, None for the others.

        Always a list: vLLM scores late interaction in lists alone.
        """
        step = Step.of(pooling_metadata)
        groups: dict[str | None, list[int]] = {}
        for index, params in enumerate(pooling_metadata.pooling_params):
            groups.setdefault(self._task(params), []).append(index)
        outputs: list[torch.Tensor | None] = [None] * len(step.counts)
        own: list[str | None] = [None, *self.apart]  # raw states and rows differ in width
        alike = [*([task] for task in own), [task for task in groups if task not in own]]
        sets = [{task: np.array(groups[task]) for task in tasks if task in groups} for tasks in alike]
        sets = [members for members in sets if members]
        chosen = _chosen(step, sets, hidden_states.device)
        for members in sets:
            rows = self._rows(hidden_states, members, chosen)
            _collect(rows, np.concatenate([*members.values()]), step, pooling_metadata, outputs)
        for index in (index for task in groups if task in self.skips_first for index in groups[task]):
            whole = outputs[index]
            outputs[index] = None if whole is None else whole[1:]
        return outputs

    def _task(self, params: PoolingParams) -> str | None:
        """Return what the rows of a request are projected for; None for raw states."""
        task = (params.extra_kwargs or {}).get(TASK_KEY, self.default_task)
        if self.project is None or task is None:
            return None
        known = isinstance(task, str) and (self.tasks is None or task in self.tasks)
        return task if known else UNKNOWN

    def _rows(
        self, hidden_states: torch.Tensor, members: dict[str | None, Integers], chosen: Iterator[torch.Tensor] | None
    ) -> torch.Tensor:
        """Return the rows of each task's requests, one request after the other; raw ones may be the states' own."""
        parts = [hidden_states]
        if chosen is not None:
            parts = [hidden_states.index_select(0, next(chosen)) for _ in members]
        if self.project is not None:
            parts = [
                part if task is None else self.project(part, task) for task, part in zip(members, parts, strict=True)
            ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _chosen(
    step: Step, sets: Sequence[dict[str | None, Integers]], device: torch.device
) -> Iterator[torch.Tensor] | None:
    """Return which rows of the step belong to each task of each set in turn; None where all of them are one task's."""
    if sum(map(len, sets)) <= 1:
        return None
    requests = [places for members in sets for places in members.values()]
    return iter(to_device([ranges(step.offsets[places], step.counts[places]) for places in requests], device))


def _collect(
    rows: torch.Tensor,
    requests: Integers,
    step: Step,
    metadata: PoolingMetadata,
    outputs: list[torch.Tensor | None],
) -> None:
    """Put the rows of the requests that are finished in ``outputs``, and keep those of the others.

    Args:
        rows: What this step computed of each of ``requests``, one after the other.
        requests: Their places in the step.
        step: What the step computed.
        metadata: Their parameters, and what was kept of earlier chunks, whose rows come first.
        outputs: One place per request of the step.
    """
    caches = [metadata.pooling_states[index].hidden_states_cache for index in requests]
    _begin(caches, step.begins[requests].tolist(), rows)
    counts, done = step.counts[requests], step.finished[requests]
    sources, pieces, lengths = _in_order(caches, rows, before(counts), counts, done)
    active = np.array([bool(metadata.pooling_params[index].use_activation) for index in requests[done]])
    kept_rows = ranges(before(counts)[~done], counts[~done])
    kept, taken, marks = to_device([kept_rows, ranges(*pieces), np.repeat(active, lengths)], rows.device)
    if not done.all():  # a copy: the next step writes over the states, and the step's other rows are let go of
        for index, part in zip(
            np.flatnonzero(~done), rows.index_select(0, kept).split(counts[~done].tolist()), strict=True
        ):
            caches[index].append(part)
    if not done.any():
        return
    if not (done.all() and active.all() and len(sources) == 1):  # else they lie in order, and the norm makes a copy
        rows = (torch.cat(sources) if len(sources) > 1 else rows).index_select(0, taken)
    whole = rows.float()
    if active.any():
        vectors = torch.nn.functional.normalize(whole, dim=-1)
        whole = vectors if active.all() else torch.where(marks[:, None] > 0, vectors, whole)
    for index, vectors in zip(np.flatnonzero(done), whole.split(lengths.tolist()), strict=True):
        caches[index].clear()
        outputs[requests[index]] = vectors


def _begin(caches: list[list[torch.Tensor]], begins: list[int], rows: torch.Tensor) -> None:
    """Let each request's chunk begin at its token.

    Rows that were never seen, as after a hit in the prefix cache, are NaN.
    """
    unseen = None
    for cache, begin in zip(caches, begins, strict=True):
        if begin == 0:
            cache.clear()  # new, or started again after a preemption
        elif not cache:
            unseen = rows.new_full((1, rows.shape[-1]), float("nan")) if unseen is None else unseen
            cache.append(unseen.expand(begin, -1))


def _in_order(
    caches: list[list[torch.Tensor]],
    rows: torch.Tensor,
    starts: Integers,
    counts: Integers,
    done: npt.NDArray[np.bool_],
) -> tuple[list[torch.Tensor], Integers, Integers]:
    """Return where the rows of the finished requests lie, each request's in the order of its prompt.

    Returns:
        What to put below one another: the rows of this step, then all parts of earlier ones.
        Starts and lengths ``(2, n_pieces)`` of pieces of that.
        How many rows each finished request has.
    """
    sources, pieces, lengths = [rows], [], []
    below = len(rows)
    for index in np.flatnonzero(done):
        length = counts[index]
        for part in caches[index]:
            sources.append(part)
            pieces.append((below, len(part)))
            below, length = below + len(part), length + len(part)
        pieces.append((starts[index], counts[index]))
        lengths.append(length)
    return sources, np.array(pieces, dtype=np.int64).reshape(-1, 2).T, np.array(lengths, dtype=np.int64)
