"""MaxSim on torch gives the numbers of MaxSim's definition too."""

from __future__ import annotations

import pytest
import torch

from tests.unit.scoring.test_maxsim import by_definition, multi_vectors
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.scoring import maxsim_torch


@pytest.mark.parametrize(("query_tokens", "item_tokens"), [(2048, 65_536), (3, 5), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_are_those_of_the_definition(
    query_tokens: int, item_tokens: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maxsim_torch, "QUERY_TOKENS", query_tokens)
    monkeypatch.setattr(maxsim_torch, "ITEM_TOKENS", item_tokens)
    queries = [torch.from_numpy(rows).to(dtype) for rows in multi_vectors([1, 4, 9, 2, 30], seed=1)]
    items = [torch.from_numpy(rows).to(dtype) for rows in multi_vectors([3, 1, 50, 7, 7, 2, 19], seed=2)]
    scores = maxsim_torch.maxsim(queries, items)
    expected = by_definition([rows.float().numpy() for rows in queries], [rows.float().numpy() for rows in items])
    assert scores.dtype == torch.float32
    assert scores.numpy() == pytest.approx(expected, abs=1e-5)


def test_nothing_to_compare_gives_no_scores() -> None:
    assert maxsim_torch.maxsim([], [torch.ones(2, 4)]).shape == (0, 1)


def test_an_empty_multi_vector_is_named() -> None:
    with pytest.raises(InputError, match=r"queries\[1\]: got an empty multi-vector"):
        maxsim_torch.maxsim([torch.ones(2, 4), torch.empty(0, 4)], [torch.ones(2, 4)])
