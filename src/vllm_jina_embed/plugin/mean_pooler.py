"""Vision-span mean pooling inside vLLM, in float32.

A step holds the hidden states ``(n_scheduled_tokens, hidden_size)`` of many requests, each whole or a chunk. A request
that ends in this step gets one embedding ``(dimensions,)`` of L2 norm 1, the others None. The same few operators run
whatever the step holds, and none waits for the device.

Nothing in a request may raise here: an exception in vLLM's worker ends the engine for everybody. A request that cannot
be pooled gets NaN, which the caller turns into that request's error (``engine/local/``, ``serve/request_checks.py``).
``vllm_jina_embed.pooling.single_vector`` is the reference and gives the same vectors.
Source: get_single_vector_embeddings in modeling_jina_embeddings_v4.py.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler

from ..pooling.single_vector import NORM_LIMIT
from .pooling_step import Integers, Step, before, sum_plan, sums, to_device
from .vision_spans import Spans, find_spans

if TYPE_CHECKING:
    from vllm.tasks import PoolingTask
    from vllm.v1.pool.metadata import PoolingMetadata


class VisionSpanMean(Pooler):
    """Averages the vision spans with their markers, or every token where there is none."""

    def __init__(self, vision_start: int, vision_end: int) -> None:
        super().__init__()
        self.vision_start = vision_start
        self.vision_end = vision_end

    def get_supported_tasks(self) -> Set[PoolingTask]:
        """Return the one task that this pooler serves."""
        return {"embed"}

    def get_pooling_updates(self, task: PoolingTask) -> PoolingParamsUpdate:
        """Ask vLLM for the prompt's token ids."""
        return PoolingParamsUpdate(requires_token_ids=True)

    def forward(
        self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata
    ) -> torch.Tensor | list[torch.Tensor | None]:
        """Return one embedding per request that this step finished, None for the others.

        Where it finished all of them with one size, they are the rows of one tensor, which vLLM copies at once.
        """
        if not pooling_metadata.pooling_params:
            return []
        step = Step.of(pooling_metadata)
        caches = [state.hidden_states_cache for state in pooling_metadata.pooling_states]
        for cache, begin in zip(caches, step.begins.tolist(), strict=True):
            if begin == 0:
                cache.clear()  # new, or started again after a preemption: what was summed before does not count
        seen = np.array([bool(cache) for cache in caches])
        spans = self._spans(pooling_metadata)
        sound = spans.paired & (seen | (step.begins == 0))  # else the first tokens were never seen
        finished, going_on = np.flatnonzero(step.finished), np.flatnonzero(sound & ~step.finished)
        divisors = np.where(sound, np.maximum(spans.tokens(), 1), 0)[finished]  # 0 gives NaN

        width = hidden_states.shape[-1]
        sizes = [len(range(width)[: pooling_metadata.pooling_params[index].dimensions]) for index in finished]
        levels = sum_plan(*spans.rows(step))
        own = 2 * len(levels)
        if seen.any():
            levels.append(_plan_with_earlier(seen))
        *plan, taken, left, by, cut = to_device(
            [*(array for level in levels for array in level), finished, going_on, divisors, np.array(sizes)],
            hidden_states.device,
        )
        totals = sums(hidden_states.float(), plan[:own])
        if seen.any():
            totals = sums(torch.cat([totals, *(cache[0] for cache in caches if cache)]), plan[own:])
        _keep(totals, caches, finished, going_on, left)
        if len(finished) == 0:
            return [None] * len(caches)
        means = totals.index_select(0, taken)[:, : max(sizes)] / by[:, None]
        if len(set(sizes)) > 1:
            means = torch.where(torch.arange(means.shape[-1], device=means.device) < cut[:, None], means, 0.0)
        return _outputs(_normalized(means), finished, sizes, len(caches))

    def _spans(self, metadata: PoolingMetadata) -> Spans:
        """Return the spans of the prompts, whose ids vLLM has on the CPU."""
        ids = metadata.prompt_token_ids_cpu.numpy()
        prompts = [row[:length] for row, length in zip(ids, metadata.prompt_lens.tolist(), strict=True)]
        return find_spans(prompts, vision_start=self.vision_start, vision_end=self.vision_end)


def _plan_with_earlier(seen: npt.NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Return how to add the sums of earlier chunks, which lie below those of this step, where there are some."""
    requests, earlier = np.arange(len(seen)), np.flatnonzero(seen)
    order = np.argsort(np.concatenate([earlier, requests]), kind="stable")
    rows = np.concatenate([len(seen) + np.arange(len(earlier)), requests])
    return rows[order], before(1 + seen.astype(np.int64))


def _keep(
    totals: torch.Tensor, caches: list[list[torch.Tensor]], finished: Integers, going_on: Integers, left: torch.Tensor
) -> None:
    """Keep a copy of each sum that later chunks are added to, and no sum of another request with it for long."""
    for index in finished:
        caches[index].clear()
    if len(going_on):
        for index, row in zip(going_on, totals.index_select(0, left).split(1), strict=True):
            caches[index][:] = [row]


def _normalized(means: torch.Tensor) -> torch.Tensor:
    """Return means ``(n, dimensions)`` with norm 1; NaN where it has none, as where it is 0 or its square overflows."""
    vectors = torch.nn.functional.normalize(means, dim=-1)
    right = (torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) - 1).abs() < NORM_LIMIT
    return torch.where(right, vectors, float("nan"))  # on the device: nothing waits for it


def _outputs(
    vectors: torch.Tensor, finished: Integers, sizes: Sequence[int], count: int
) -> torch.Tensor | list[torch.Tensor | None]:
    """Return the vectors as vLLM takes them: one tensor, or a list with None for each request that goes on."""
    if len(finished) == count and len(set(sizes)) == 1:
        return vectors
    outputs: list[torch.Tensor | None] = [None] * count
    for index, vector, size in zip(finished, vectors.unbind(), sizes, strict=True):
        outputs[index] = vector[:size]
    return outputs
