"""One line of vLLM's numbers as an embedding and rows; any other length is an error."""

from __future__ import annotations

import numpy as np
import pytest

from vllm_jina_embed.engine.local.answers import parted
from vllm_jina_embed.errors import EngineError


def test_the_embedding_comes_before_the_rows() -> None:
    vector, rows = parted(np.arange(3 + 2 * 4, dtype=np.float32), 3, 2)
    assert vector.tolist() == [0, 1, 2]
    assert rows.tolist() == [[3, 4, 5, 6], [7, 8, 9, 10]]


@pytest.mark.parametrize(
    ("shape", "dimensions", "count"),
    [((11,), 3, 3), ((3,), 3, 2), ((4,), 3, 2), ((2,), 3, 2), ((2, 5), 3, 2), ((11,), 3, 0), ((0,), 3, 2)],
)
def test_numbers_of_another_length_are_refused(shape: tuple[int, ...], dimensions: int, count: int) -> None:
    """As of a plugin that gives rows alone."""
    with pytest.raises(EngineError, match="for an embedding of 3 and"):
        parted(np.zeros(shape, dtype=np.float32), dimensions, count)
