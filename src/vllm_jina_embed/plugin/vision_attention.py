"""Attention of the vision encoder on the CPU, in one call for all windows of one size.

Symptom: vLLM calls torch once for each window, and an image of 448 px has sixteen of them in each layer. Both ways
call torch's ``scaled_dot_product_attention`` and give the same numbers.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import scaled_dot_product_attention
from vllm.platforms import current_platform

if TYPE_CHECKING:
    from vllm.model_executor.layers.attention.mm_encoder_attention import MMEncoderAttention


class WindowAttention(torch.nn.Module):
    """Replaces vLLM's ``MMEncoderAttention``."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cu_seqlens: torch.Tensor, **_: object
    ) -> torch.Tensor:
        """Return ``(1, n_patches, n_heads, head_size)``.

        Args:
            query: Shape ``(1, n_patches, n_heads, head_size)``.
            key: As ``query``.
            value: As ``query``.
            cu_seqlens: Start of each window, then the end, ``(n_windows + 1,)``.
        """
        done, start = [], 0
        for length, windows in groupby(cu_seqlens.diff().tolist()):
            end = start + length * len(list(windows))
            q, k, v = (x[0, start:end].unflatten(0, (-1, length)).transpose(1, 2) for x in (query, key, value))
            done.append(scaled_dot_product_attention(q, k, v, scale=self._scale).transpose(1, 2).flatten(0, 1))
            start = end
        return torch.cat(done).unsqueeze(0)


def join_windows(visual: torch.nn.Module) -> None:
    """Replace the attention in each layer of vLLM's vision encoder, on the CPU, where it uses torch's."""
    if not current_platform.is_cpu():
        return
    for block in visual.blocks:
        attention: MMEncoderAttention = block.attn.attn
        block.attn.attn = WindowAttention(attention.scale)
