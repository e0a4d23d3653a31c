"""One vector per token inside vLLM: raw states, or the rows of multi-vectors.

A step holds the hidden states ``(n_scheduled_tokens, hidden_size)`` of many requests, each whole or a chunk. A request
that ends in this step gets float32 ``(n_tokens, token_dimensions)``, the others None. Each chunk is projected at once,
so that narrow rows are held between steps. ``vllm_jina_embed.checkpoints.weights.projector`` is the reference.

As in ``mean_pooler.py``, nothing in a request may raise here; rows that cannot be computed are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING

import torch
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler

from ..engine.plugin_contract import TASK_KEY

if TYPE_CHECKING:
    from vllm.pooling_params import PoolingParams
    from vllm.tasks import PoolingTask
    from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates

Project = Callable[[torch.Tensor, str], torch.Tensor]


class TokenVectors(Pooler):
    """Returns each token's state, projected for the request's task, and normalised if the request says so."""

    def __init__(self, project: Project | None = None, *, default_task: str | None = None) -> None:
        super().__init__()
        self.project = project
        self.default_task = default_task

    def get_supported_tasks(self) -> Set[PoolingTask]:
        """Return the one task of vLLM that this pooler serves."""
        return {"token_embed"}

    def get_pooling_updates(self, task: PoolingTask) -> PoolingParamsUpdate:
        """Return no updates."""
        return PoolingParamsUpdate()

    def forward(self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata) -> list[torch.Tensor | None]:
        """Return the rows of each request that this step finished, None for the others."""
        cursor = pooling_metadata.get_pooling_cursor()
        scheduled = cursor.num_scheduled_tokens_cpu.tolist()
        ends = cursor.seq_lens_cpu.tolist()
        outputs: list[torch.Tensor | None] = []
        for index, (chunk, finished) in enumerate(
            zip(torch.split(hidden_states, scheduled), cursor.is_finished().tolist(), strict=True)
        ):
            params, state = pooling_metadata.pooling_params[index], pooling_metadata.pooling_states[index]
            _keep(state, self._rows(chunk, params), begin=ends[index] - scheduled[index])
            if not finished:
                outputs.append(None)
                continue
            rows = torch.cat(state.hidden_states_cache).float()
            state.clean()
            outputs.append(torch.nn.functional.normalize(rows, dim=-1) if params.use_activation else rows)
        return outputs

    def _rows(self, chunk: torch.Tensor, params: PoolingParams) -> torch.Tensor:
        """Return the projected rows of ``chunk``, or a copy: the next step overwrites it."""
        task = (params.extra_kwargs or {}).get(TASK_KEY, self.default_task)
        if self.project is None or task is None:
            return chunk.clone()
        return self.project(chunk, task)


def _keep(state: PoolingStates, rows: torch.Tensor, *, begin: int) -> None:
    """Append the rows of a chunk, which begins at token ``begin``, to the request's rows.

    Missing rows, as after a hit in the prefix cache, are NaN.
    """
    if begin == 0:
        state.hidden_states_cache.clear()  # new, or started again after a preemption
    elif not state.hidden_states_cache:
        state.hidden_states_cache.append(torch.full((begin, rows.shape[-1]), float("nan"), device=rows.device))
    state.hidden_states_cache.append(rows)
