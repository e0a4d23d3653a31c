"""How much place an item takes; needs no Qdrant."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.late_interaction import Storage, size_of


@pytest.mark.parametrize(
    ("settings", "multi_vector", "embedding", "quantized"),
    [
        ({}, 768 * 128 * 4, 2048 * 4, 0),
        ({"datatype": "float16"}, 768 * 128 * 2, 2048 * 2, 0),
        ({"quantization": "scalar"}, 768 * 128 * 4, 2048 * 4, 768 * 128 + 2048),
        ({"datatype": "float16", "quantization": "binary"}, 768 * 128 * 2, 2048 * 2, 768 * 16 + 256),
        ({"pool_factor": 3}, 256 * 128 * 4, 2048 * 4, 0),
        ({"pool_factor": 5, "datatype": "float16"}, 154 * 128 * 2, 2048 * 2, 0),
    ],
)
def test_a_page_takes(settings: dict[str, Any], multi_vector: int, embedding: int, quantized: int) -> None:
    size = size_of(768, token_dimensions=128, dimensions=2048, storage=Storage(**settings))
    assert (size.multi_vector, size.embedding, size.quantized) == (multi_vector, embedding, quantized)
    assert size.total == multi_vector + embedding + quantized


def test_long_texts_are_pooled_in_windows() -> None:
    """As pool_tokens does: 1024 tokens and 1 make 342 rows and 1."""
    size = size_of(1025, token_dimensions=1, dimensions=1, storage=Storage(pool_factor=3))
    assert size.multi_vector == 4 * (342 + 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"datatype": "int8"}, "datatype='int8' is unknown; choose one of float32, float16"),
        ({"quantization": "product"}, "quantization='product' is unknown; choose one of scalar, binary, or None"),
        ({"oversampling": 0.5}, "oversampling=0.5 must be at least 1"),
        ({"pool_factor": 0}, "pool_factor=0 must be a whole number over 0"),
    ],
)
def test_a_wrong_choice_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Storage(**settings)
