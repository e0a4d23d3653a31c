"""The types of /v2/embed, on vectors whose answers are known by hand; a real server is compared with its references."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from vllm_jina_embed.pooling.quantization import default_ranges
from vllm_jina_embed.serve.embedding_types import TYPES, converted

ONE = np.zeros((1, 64), dtype=np.float32)
ONE[0, :4] = [0.5, -0.5, 0.5, -0.5]


def test_bits_begin_at_the_highest_and_zero_counts_as_one() -> None:
    """As vLLM packs them; the signed ones are 128 lower."""
    assert converted(ONE, "ubinary") == [[0b10101111, *[255] * 7]]
    assert converted(ONE, "binary") == [[0b10101111 - 128, *[127] * 7]]


def test_base64_holds_little_endian_float32() -> None:
    (text,) = converted(ONE, "base64")
    assert (np.frombuffer(base64.b64decode(text), dtype="<f4") == ONE[0]).all()
    assert converted(ONE, "float") == ONE.tolist()


def test_whole_numbers_count_steps_of_the_range() -> None:
    """Of 64 numbers it is -1 to 1: 0.5 is 191.25 steps above its start, -0.5 is 63.75, and 0 is 127.5."""
    assert default_ranges(64)[1, 0] == 1
    assert converted(ONE, "uint8") == [[191, 63, 191, 63, *[127] * 60]]
    assert converted(ONE, "int8") == [[63, -65, 63, -65, *[-1] * 60]]


def test_longer_vectors_have_finer_steps_and_what_is_beyond_them_is_their_end() -> None:
    """Of 1024 numbers it is -0.25 to 0.25; a larger one never wraps around."""
    assert default_ranges(1024)[:, 5].tolist() == [-0.25, 0.25]
    vector = np.zeros((1, 1024), dtype=np.float32)
    vector[0, :3] = [1.0, -1.0, 0.125]
    assert converted(vector, "uint8")[0][:3] == [255, 0, 191]
    assert converted(vector, "int8")[0][:3] == [127, -128, 63]


@pytest.mark.parametrize("kind", TYPES)
def test_an_embedding_does_not_depend_on_its_neighbours(kind: str) -> None:
    """As it would with the range of a batch."""
    vectors = np.random.default_rng(0).standard_normal((5, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    together = converted(vectors, kind)
    assert together == [converted(one[None], kind)[0] for one in vectors]


@pytest.mark.parametrize("dimensions", [32, 256, 1024, 4096])
def test_whole_numbers_keep_the_direction(dimensions: int) -> None:
    """Of vectors as models give them: the cosine to the middle of each step is over 0.999 from 256 numbers on."""
    vectors = np.random.default_rng(1).standard_normal((20, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    middle = np.array(converted(vectors, "int8")) + 0.5
    cosine = (middle * vectors).sum(1) / np.linalg.norm(middle, axis=1)
    assert cosine.min() > (0.999 if dimensions >= 256 else 0.998)
