"""Vision-span mean pooling inside vLLM, in float32.

A step holds the hidden states ``(n_scheduled_tokens, hidden_size)`` of many requests, each whole or a chunk. A request
that ends in this step gets one embedding ``(dimensions,)`` of L2 norm 1, the others None.

Nothing in a request may raise here: an exception in vLLM's worker ends the engine for everybody. A request that cannot
be pooled gets NaN, which the caller turns into that request's error (``engine/local/``, ``serve/request_checks.py``).
``vllm_jina_embed.pooling.single_vector`` is the reference and gives the same vectors.
Source: get_single_vector_embeddings in modeling_jina_embeddings_v4.py.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

import numpy as np
import torch
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler

from ..pooling.single_vector import NORM_LIMIT

if TYPE_CHECKING:
    from vllm.tasks import PoolingTask
    from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates


UNPAIRED: list[tuple[int, int]] = []
"""Result of ``spans`` for a prompt whose markers cannot be paired."""


class VisionSpanMean(Pooler):
    """Averages the vision spans with their markers, or every token where there are no spans."""

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

    def forward(self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata) -> list[torch.Tensor | None]:
        """Return one embedding per request that this step finished, None for the others."""
        cursor = pooling_metadata.get_pooling_cursor()
        scheduled = cursor.num_scheduled_tokens_cpu.tolist()
        ends = cursor.seq_lens_cpu.tolist()
        ids = pooling_metadata.get_prompt_token_ids_cpu()
        outputs: list[torch.Tensor | None] = []
        offset = 0
        for index, finished in enumerate(cursor.is_finished().tolist()):
            count = scheduled[index]
            spans = self.spans(ids[index].numpy())
            state = pooling_metadata.pooling_states[index]
            total = _add(state, hidden_states[offset : offset + count], spans, begin=ends[index] - count)
            offset += count
            if not finished:
                outputs.append(None)
                continue
            state.clean()
            mean = total[: pooling_metadata.pooling_params[index].dimensions] / max(1, sum(b - a for a, b in spans))
            outputs.append(_normalized(mean))
        return outputs

    def spans(self, ids: np.ndarray) -> list[tuple[int, int]]:
        """Return the half-open token ranges of a prompt ``(n_tokens,)`` that are averaged.

        Each start is paired with the next end; without any start all tokens are averaged. ``UNPAIRED`` where a marker
        has no partner: pooling what lies in between would give a wrong vector without an error.
        """
        starts = np.flatnonzero(ids == self.vision_start)
        if len(starts) == 0:
            return [(0, len(ids))]
        ends = np.flatnonzero(ids == self.vision_end)
        if len(starts) != len(ends) or (ends < starts).any() or (starts[1:] < ends[:-1]).any():
            return UNPAIRED
        return list(zip(starts.tolist(), (ends + 1).tolist(), strict=True))


def _normalized(mean: torch.Tensor) -> torch.Tensor:
    """Return a mean ``(dimensions,)`` with norm 1; NaN where the mean is 0 or its square overflows."""
    vector = torch.nn.functional.normalize(mean, dim=-1)
    right = (torch.linalg.vector_norm(vector) - 1).abs() < NORM_LIMIT  # stays on the device, so nothing waits for it
    return torch.where(right, vector, float("nan"))


def _add(state: PoolingStates, states: torch.Tensor, spans: list[tuple[int, int]], *, begin: int) -> torch.Tensor:
    """Add one chunk, which begins at token ``begin``, to the request's running sum ``(hidden_size,)`` and return it.

    The sum is NaN where the first tokens are missing, as after a hit in the prefix cache, or no token is averaged.
    """
    cache = state.hidden_states_cache
    if begin == 0:
        cache.clear()  # new, or started again after a preemption: drop the old sum
    if not cache:
        value = 0.0 if begin == 0 and spans else float("nan")
        cache.append(torch.full((states.shape[-1],), value, dtype=torch.float32, device=states.device))
    for first, last in spans:
        inside = states[max(first - begin, 0) : max(last - begin, 0)]
        if len(inside):
            cache[0] += inside.sum(0, dtype=torch.float32)
    return cache[0]
