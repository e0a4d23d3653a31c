"""One step of the engine on the host, for all poolers: which rows belong to which request, and how to gather them.

A pooler launches the same few operators whether a step holds 1 request or 1024. So everything that depends on the
requests is computed here with numpy, and goes to the device as one array of indices; nothing comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from vllm.utils.torch_utils import PIN_MEMORY

if TYPE_CHECKING:
    from vllm.v1.pool.metadata import PoolingMetadata

Integers = npt.NDArray[np.integer]

BLOCK = 64
"""How many rows are added one after the other: float32 sums of sums stay exact where one long sum would not."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step computed, one entry ``(n_requests,)`` per request, in the order of the rows.

    Attributes:
        counts: How many tokens.
        offsets: Which row of the step is the first of them.
        begins: Which token of the prompt is the first of them.
        finished: Whether the last of them ends the prompt.
    """

    counts: Integers
    offsets: Integers
    begins: Integers
    finished: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, metadata: PoolingMetadata) -> Step:
        """Read vLLM's cursor, which lies on the CPU."""
        cursor = metadata.get_pooling_cursor()
        counts = cursor.num_scheduled_tokens_cpu.numpy().astype(np.int64)
        ends = cursor.seq_lens_cpu.numpy().astype(np.int64)
        finished = ends == cursor.prompt_lens_cpu.numpy()
        return cls(counts=counts, offsets=before(counts), begins=ends - counts, finished=finished)

    def among(self, requests: Integers) -> Step:
        """Return what was computed of some requests alone; their rows stay where they are."""
        return Step(
            counts=self.counts[requests],
            offsets=self.offsets[requests],
            begins=self.begins[requests],
            finished=self.finished[requests],
        )


def before(counts: Integers) -> Integers:
    """Return what is counted before each entry: ``[3, 1, 2]`` gives ``[0, 3, 4]``."""
    total: Integers = np.cumsum(counts) - counts
    return total


def ranges(starts: Integers, counts: Integers) -> Integers:
    """Return ``counts[i]`` integers from ``starts[i]`` on, for one ``i`` after the other."""
    shifted: Integers = np.repeat(starts - before(counts), counts) + np.arange(counts.sum())
    return shifted


def to_device(arrays: Sequence[Integers], device: torch.device) -> list[torch.Tensor]:
    """Copy arrays ``(n,)`` to the device, all in one copy that nothing waits for; int32."""
    packed = torch.from_numpy(np.concatenate(arrays).astype(np.int32))
    if PIN_MEMORY and device.type == "cuda":
        packed = packed.pin_memory()  # from other memory the copy would wait for the device
    copied = packed.to(device, non_blocking=True)
    return list(copied.split([len(array) for array in arrays]))


def sum_plan(rows: Integers, counts: Integers) -> list[tuple[Integers, Integers]]:
    """Return how to sum ``counts[i]`` of ``rows`` for each ``i``: what ``sums`` takes, level by level.

    Each level is the rows of the one before in order, and where among them each sum starts. A level's sums have at most
    ``BLOCK`` rows; so 32768 rows take three levels. Which rows are summed together depends on one ``counts[i]`` alone:
    a request's sum is the same whatever else is in the step, and wherever it is.
    """
    levels = []
    while counts.max(initial=0) > BLOCK:
        blocks = -(-counts // BLOCK)
        inside = ranges(np.zeros_like(blocks), blocks)
        levels.append((rows, np.repeat(before(counts), blocks) + BLOCK * inside))
        rows, counts = np.arange(blocks.sum()), blocks
    return [*levels, (rows, before(counts))]


def sums(values: torch.Tensor, levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the float32 sums ``(n_sums, width)`` of rows of ``values`` ``(n, width)``.

    One thread adds the rows of one sum and column in their order, so a rerun gives the same bits.

    Args:
        values: float32.
        levels: The rows and starts of each level of ``sum_plan`` in turn, on the device of ``values``.
    """
    for rows, starts in zip(levels[::2], levels[1::2], strict=True):
        values = torch.nn.functional.embedding_bag(rows, values, starts, mode="sum")
    return values
