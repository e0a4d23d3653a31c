"""Token states to embeddings inside vLLM, in float32: the pooling of every row.

A step holds the hidden states ``(n_scheduled_tokens, hidden_size)`` of many requests, each whole or a chunk. A request
that ends in this step gets one embedding ``(dimensions,)``, the others None. ``token_choice`` says which rows are
averaged; a first or last token is the mean of one. Then, in this order: layer norm, cut, L2 norm. The same few
operators run whatever the step holds, and none waits for the device.

Nothing in a request may raise here: an exception in vLLM's worker ends the engine for everybody. A request that cannot
be pooled gets NaN, which the caller turns into that request's error (``engine/local/``, ``serve/request_checks.py``).
``vllm_jina_embed.pooling.single_vector`` is the reference and gives the same vectors.
Source: get_single_vector_embeddings in modeling_jina_embeddings_v4.py; sentence_transformers/models/Pooling.py.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler

from ..checkpoints.row import Pooling
from ..pooling.single_vector import NORM_LIMIT
from .pooling_step import Integers, Step, before, sum_plan, sums, to_device
from .token_choice import Spans, find_spans, one_span

if TYPE_CHECKING:
    from vllm.tasks import PoolingTask
    from vllm.v1.pool.metadata import PoolingMetadata


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of its embedding.

    Attributes:
        dimensions: Its length; None for the full one.
        normalized: Whether it gets L2 norm 1.
    """

    dimensions: int | None
    normalized: bool


class SpanPooler(Pooler):
    """Averages some of each prompt's token states, and shapes the embedding."""

    def __init__(
        self,
        pooling: Pooling,
        vision_start: int = -1,
        vision_end: int = -1,
        *,
        layer_norm: bool = False,
    ) -> None:
        """Make a pooler.

        Args:
            pooling: Which tokens.
            vision_start: Token id that opens a vision span; only ``vision_span_mean`` has them.
            vision_end: Token id that closes it.
            layer_norm: Whether a layer norm without weights comes before the cut.

        Raises:
            ValueError: ``vision_span_mean`` without the ids of its markers.
        """
        super().__init__()
        if pooling == "vision_span_mean" and min(vision_start, vision_end) < 0:
            raise ValueError(f"{pooling} needs the token ids of its markers; got {vision_start} and {vision_end}.")
        self.pooling = pooling
        self.vision_start = vision_start
        self.vision_end = vision_end
        self.layer_norm = layer_norm

    def get_supported_tasks(self) -> Set[PoolingTask]:
        """Return the one task that this pooler serves."""
        return {"embed"}

    def get_pooling_updates(self, task: PoolingTask) -> PoolingParamsUpdate:
        """Ask vLLM for the prompt's token ids where they decide what is averaged."""
        return PoolingParamsUpdate(requires_token_ids=self.pooling == "vision_span_mean")

    def forward(
        self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata
    ) -> torch.Tensor | list[torch.Tensor | None]:
        """Return one embedding per request that this step finished, None for the others.

        Where it finished all of them with one size, they are the rows of one tensor, which vLLM copies at once.
        """
        if not pooling_metadata.pooling_params:
            return []
        step = Step.of(pooling_metadata)
        asked = [
            Asked(params.dimensions, params.use_activation is not False) for params in pooling_metadata.pooling_params
        ]
        caches = [state.hidden_states_cache for state in pooling_metadata.pooling_states]
        spans = self.spans(pooling_metadata, np.arange(len(caches)))
        vectors, sizes = self.pooled(hidden_states, step, spans, caches, asked)
        return _outputs(vectors, np.flatnonzero(step.finished), sizes, len(caches))

    def spans(self, metadata: PoolingMetadata, requests: Integers) -> Spans:
        """Return what is averaged of the prompts of some requests."""
        lengths = metadata.prompt_lens.numpy().astype(np.int64)[requests]
        if self.pooling != "vision_span_mean":
            return one_span(self.pooling, lengths)
        ids = metadata.prompt_token_ids_cpu.numpy()
        prompts = [ids[request][:length] for request, length in zip(requests, lengths.tolist(), strict=True)]
        return find_spans(prompts, vision_start=self.vision_start, vision_end=self.vision_end)

    def pooled(
        self,
        hidden_states: torch.Tensor,
        step: Step,
        spans: Spans,
        caches: Sequence[list[torch.Tensor]],
        asked: Sequence[Asked],
    ) -> tuple[torch.Tensor, list[int]]:
        """Return the embeddings of the requests that a step finished, ``(n_finished, largest size)``, and their sizes.

        Args:
            hidden_states: All states of the step.
            step: What it computed of some requests; these are those of the other arguments.
            spans: What is averaged of their prompts.
            caches: Where the sum of a prompt's earlier chunks is kept.
            asked: How the embedding of each is shaped.
        """
        for cache, begin in zip(caches, step.begins.tolist(), strict=True):
            if begin == 0:
                cache.clear()  # new, or started again after a preemption: what was summed before does not count
        seen = np.array([bool(cache) for cache in caches])
        ends_alone = self.pooling == "last_token"  # the last step of a prompt holds all that is pooled
        sound = spans.paired & (seen | (step.begins == 0) | ends_alone)  # else the first tokens were never seen
        finished, going_on = np.flatnonzero(step.finished), np.flatnonzero(sound & ~step.finished & (not ends_alone))
        divisors = np.where(sound, np.maximum(spans.tokens(), 1), 0)[finished]  # 0 gives NaN
        sizes = [len(range(hidden_states.shape[-1])[: asked[index].dimensions]) for index in finished]
        active = np.array([asked[index].normalized for index in finished], dtype=np.int64)
        levels = sum_plan(*spans.rows(step))
        own = 2 * len(levels)
        if seen.any():
            levels.append(_plan_with_earlier(seen))
        *plan, taken, left, by, cut, marks = to_device(
            [*(array for level in levels for array in level), finished, going_on, divisors, np.array(sizes), active],
            hidden_states.device,
        )
        totals = sums(hidden_states.float(), plan[:own])
        if seen.any():
            totals = sums(torch.cat([totals, *(cache[0] for cache in caches if cache)]), plan[own:])
        _keep(totals, caches, finished, going_on, left)
        if len(finished) == 0:
            return totals[:0], []
        means = totals.index_select(0, taken) / by[:, None]
        return self._embeddings(means, sizes, cut, None if active.all() else marks), sizes

    def _embeddings(
        self, means: torch.Tensor, sizes: Sequence[int], cut: torch.Tensor, active: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the embeddings ``(n, largest size)`` of means ``(n, hidden_size)``.

        Args:
            means: What was pooled.
            sizes: The size of each; what lies behind a smaller one is 0.
            cut: The same on the device.
            active: 0 where an embedding is not to be normalised; None if all are.
        """
        if self.layer_norm:
            means = torch.nn.functional.layer_norm(means, means.shape[-1:])
        means = means[:, : max(sizes)]
        if len(set(sizes)) > 1:
            means = torch.where(torch.arange(means.shape[-1], device=means.device) < cut[:, None], means, 0.0)
        vectors = _normalized(means)
        if active is None:
            return vectors
        raw = torch.where(means.isfinite().all(-1, keepdim=True), means, float("nan"))
        return torch.where(active[:, None] > 0, vectors, raw)


def _plan_with_earlier(seen: npt.NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Return how to add the sums of earlier chunks, which lie below those of this step, where there are some."""
    requests, earlier = np.arange(len(seen)), np.flatnonzero(seen)
    order = np.argsort(np.concatenate([earlier, requests]), kind="stable")
    rows = np.concatenate([len(seen) + np.arange(len(earlier)), requests])
    return rows[order], before(1 + seen.astype(np.int64))


def _keep(
    totals: torch.Tensor,
    caches: Sequence[list[torch.Tensor]],
    finished: Integers,
    going_on: Integers,
    left: torch.Tensor,
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
