"""All windows of a size in one call give what each window alone gives."""

from __future__ import annotations

import pytest
import torch

from vllm_jina_embed.plugin.vision_attention import WindowAttention


@pytest.mark.parametrize(
    "lengths",
    [[64, 64, 64, 64], [1024], [64, 64, 16, 64, 64, 16, 32, 32, 4], [4]],
    ids=["even", "whole", "edges", "smallest"],
)
def test_each_window_attends_to_itself(lengths: list[int]) -> None:
    """Against the definition, window by window, in float64."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, sum(lengths), 3, 8) for _ in range(3))
    borders = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    got = WindowAttention(scale=0.3)(query=query, key=key, value=value, cu_seqlens=borders, max_seqlen=None)
    expected = []
    for q, k, v in zip(*(x[0].double().split(lengths) for x in (query, key, value)), strict=True):
        weights = (torch.einsum("qhd,khd->hqk", q, k) * 0.3).softmax(-1)
        expected.append(torch.einsum("hqk,khd->qhd", weights, v))
    assert got.shape == query.shape
    assert torch.allclose(got[0].double(), torch.cat(expected), atol=1e-6)
