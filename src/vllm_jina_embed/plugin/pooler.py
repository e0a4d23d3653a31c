"""Vision-span mean pooling inside vLLM, in float32.

Enters: one step's hidden states ``(n_scheduled_tokens, hidden_size)`` of many requests, each whole or a chunk.
Leaves: per finished request one embedding ``(dimensions,)`` of L2 norm 1, None for the others.
``vllm_jina_embed.pooling`` is the reference that it must equal. Source: get_single_vector_embeddings in
modeling_jina_embeddings_v4.py.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

import numpy as np
import torch
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler

if TYPE_CHECKING:
    from vllm.tasks import PoolingTask
    from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates


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
            mean = total[: pooling_metadata.pooling_params[index].dimensions] / sum(b - a for a, b in spans)
            outputs.append(torch.nn.functional.normalize(mean, dim=-1))
        return outputs

    def spans(self, ids: np.ndarray) -> list[tuple[int, int]]:
        """Return the half-open token ranges of a prompt ``(n_tokens,)`` that are averaged."""
        starts = np.flatnonzero(ids == self.vision_start)
        if len(starts) == 0:
            return [(0, len(ids))]
        ends = np.flatnonzero(ids == self.vision_end) + 1
        return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _add(state: PoolingStates, states: torch.Tensor, spans: list[tuple[int, int]], *, begin: int) -> torch.Tensor:
    """Add one chunk, which begins at token ``begin``, to the request's running sum ``(hidden_size,)`` and return it."""
    cache = state.hidden_states_cache
    if begin == 0:
        cache.clear()  # new, or started again after a preemption: what was summed before does not count
        cache.append(torch.zeros(states.shape[-1], dtype=torch.float32, device=states.device))
    elif not cache:
        raise RuntimeError(
            f"the first {begin} tokens of this request were never seen: prefix caching must be off for this pooling."
        )
    for first, last in spans:
        inside = states[max(first - begin, 0) : max(last - begin, 0)]
        if len(inside):
            cache[0] += inside.sum(0, dtype=torch.float32)
    return cache[0]
