"""The adapters beside a layer's weights, without an engine: what they add, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vllm_jina_embed.checkpoints.adapted_ids import VOCABULARY_BITS
from vllm_jina_embed.plugin.stacked_adapters import LowRank, StackedAdaptersXLMRobertaModel

pytestmark = pytest.mark.real

COUNT, RANK, INNER, OUT, TOKENS, SCALE = 3, 4, 10, 6, 7, 0.25


class Layer(torch.nn.Module):
    """A linear layer that returns what vLLM's do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(OUT, INNER))

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, None]:
        return states @ self.weight.T, None


def stand_in(layers: dict[str, torch.nn.Module]) -> Any:
    """Return what ``_add`` needs of a model."""
    norm = SimpleNamespace(weight=torch.ones(1))
    return SimpleNamespace(
        count=COUNT, rank=RANK, scale=SCALE, embeddings=SimpleNamespace(LayerNorm=norm), mask=torch.empty(0),
        get_submodule=layers.__getitem__,
    )  # fmt: skip


def mask_of(chosen: torch.Tensor) -> torch.Tensor:
    return (chosen[:, None] == torch.arange(COUNT).repeat_interleave(RANK)).float()


def test_each_token_gets_its_own_adapter_and_no_other() -> None:
    """As if that one were merged into the weights; a token without any gets the weights alone."""
    torch.manual_seed(0)
    layer, a, b = Layer(), torch.randn(COUNT, RANK, INNER), torch.randn(COUNT, OUT, RANK)
    model = stand_in({"encoder.layers.0.mlp.up_proj": layer})
    StackedAdaptersXLMRobertaModel._add(model, "encoder.layers.0.mlp.up_proj", a, b)
    states, chosen = torch.randn(TOKENS, INNER), torch.tensor([0, 2, 1, -1, 2, 0, 3])
    model.mask = mask_of(chosen)
    got, rest = layer(states)
    assert rest is None
    for row, state, one in zip(got, states, chosen.tolist(), strict=True):
        added = SCALE * b[one] @ a[one] if 0 <= one < COUNT else 0
        torch.testing.assert_close(row, (layer.weight + added) @ state)


def test_a_row_of_a_table_gets_its_own_adapter_too() -> None:
    """A and B have changed places there."""
    torch.manual_seed(1)
    table, a, b = torch.nn.Embedding(INNER, OUT), torch.randn(COUNT, INNER, RANK), torch.randn(COUNT, RANK, OUT)
    name = "embeddings.word_embeddings"
    StackedAdaptersXLMRobertaModel._add(stand_in({name: table}), name, a, b)
    rows, chosen = torch.tensor([3, 3, 0, 9]), torch.tensor([0, 1, 2, -1])
    adapters: Any = table.adapters
    assert isinstance(adapters, LowRank)
    got = adapters.of_rows(rows, mask_of(chosen))
    for one, row, place in zip(got, rows.tolist(), chosen.tolist(), strict=True):
        torch.testing.assert_close(one, SCALE * (a[place] @ b[place])[row] if place >= 0 else torch.zeros(OUT))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (None, torch.zeros(COUNT, OUT, RANK)),
        (torch.zeros(COUNT, RANK, INNER), None),
        (torch.zeros(COUNT + 1, RANK, INNER), torch.zeros(COUNT + 1, OUT, RANK)),
        (torch.zeros(COUNT, RANK + 1, INNER), torch.zeros(COUNT, OUT, RANK + 1)),
    ],
    ids=["no A", "no B", "another count", "another rank"],
)
def test_a_layer_without_its_adapters_is_refused(a: torch.Tensor | None, b: torch.Tensor | None) -> None:
    """Merged weights, or those of another model, would give the vectors of no task."""
    name = "encoder.layers.0.attn.qkv_proj"
    with pytest.raises(RuntimeError, match=rf"{name} has adapters of shapes .*; expected 3 of rank 4 each"):
        StackedAdaptersXLMRobertaModel._add(stand_in({name: Layer()}), name, a, b)


def test_the_vocabulary_has_room_above_it() -> None:
    """Five adapters and none, in ids of 32 bits."""
    assert 1 << VOCABULARY_BITS > 250_002
    assert 6 << VOCABULARY_BITS < 2**31
