"""Both kinds of vectors of one request inside vLLM: its embedding and its token vectors, of the same states.

So an item that needs both passes through the model once. A request that asks for the embedding too
(``EMBEDDING_KEY``) gets float32 ``(dimensions + n_tokens * token_dimensions,)``: the embedding, then the rows. Each is
what its own pooler gives, bit for bit.

As in ``span_pooler.py``, nothing that a request holds may raise here, and the same few operators run for any number.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler

from ..engine.plugin_contract import EMBEDDING_KEY
from .pooling_step import Step
from .span_pooler import Asked, SpanPooler
from .token_states_pooler import TokenVectors

if TYPE_CHECKING:
    from vllm.pooling_params import PoolingParams
    from vllm.tasks import PoolingTask
    from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates

SUMS = "jina_sums"
"""Attribute of vLLM's state of a request: what is kept of its embedding, beside the rows in the usual cache."""


class BothPooler(Pooler):
    """Gives the token vectors of each request, behind its embedding where it asks for that too."""

    def __init__(self, rows: TokenVectors, embed: SpanPooler) -> None:
        """Make a pooler of the two of one kind each."""
        super().__init__()
        self.rows = rows
        self.embed = embed

    def get_supported_tasks(self) -> Set[PoolingTask]:
        """Return the one task of vLLM that this pooler serves."""
        return self.rows.get_supported_tasks()

    def get_pooling_updates(self, task: PoolingTask) -> PoolingParamsUpdate:
        """Ask vLLM for what either pooler needs."""
        return self.rows.get_pooling_updates(task) | self.embed.get_pooling_updates("embed")

    def forward(self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata) -> list[torch.Tensor | None]:
        """Return what each request asks for that this step finished, None for the others."""
        outputs: list[Any] = self.rows(hidden_states, pooling_metadata)
        asking = {
            index: asked
            for index, params in enumerate(pooling_metadata.pooling_params)
            if (asked := _asked(params)) is not None
        }
        if not asking:
            return outputs
        requests = np.array([*asking])
        step = Step.of(pooling_metadata).among(requests)
        vectors, sizes = self.embed.pooled(
            hidden_states,
            step,
            self.embed.spans(pooling_metadata, requests),
            [_sums(pooling_metadata.pooling_states[index]) for index in asking],
            [*asking.values()],
        )
        finished = requests[step.finished].tolist()
        if finished:
            parts = [
                part
                for index, vector, size in zip(finished, vectors.unbind(), sizes, strict=True)
                for part in (vector[:size], outputs[index].flatten())
            ]
            lengths = [size + outputs[index].numel() for index, size in zip(finished, sizes, strict=True)]
            for index, joined in zip(finished, torch.cat(parts).split(lengths), strict=True):
                outputs[index] = joined
        return outputs


def _asked(params: PoolingParams) -> Asked | None:
    """Return what a request says of its embedding; None where it asks for none, or in other words than ours."""
    told = (params.extra_kwargs or {}).get(EMBEDDING_KEY)
    if not isinstance(told, dict):
        return None
    dimensions = told.get("dimensions")
    return Asked(dimensions if isinstance(dimensions, int) else None, told.get("normalize") is not False)


def _sums(state: PoolingStates) -> list[torch.Tensor]:
    """Return where the sum of a request's earlier chunks is kept."""
    sums: list[torch.Tensor] = state.__dict__.setdefault(SUMS, [])
    return sums
