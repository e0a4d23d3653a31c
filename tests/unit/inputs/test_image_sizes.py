"""Sides in multiples: as qwen_vl_utils resizes images, written apart in tests/support."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.builders import template_builder
from tests.support.fetching import fetched
from tests.support.images import noise
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.inputs import items
from vllm_jina_embed.inputs.image_sizes import in_multiples
from vllm_jina_embed.prompts.base import Prompt

SIZES = [(300, 200), (40, 60), (1, 1), (27, 90), (13, 400), (56, 56), (84, 28), (3000, 7), (42, 14)]
LARGE = pytest.param((5000, 4000), marks=pytest.mark.wide)  # ten seconds in qwen_vl_utils


@pytest.mark.parametrize("side", [28, 32])
@pytest.mark.parametrize("size", [*SIZES, LARGE])
def test_sizes_and_pixels_are_those_of_qwen_vl_utils(size: tuple[int, int], side: int) -> None:
    image = noise(*size)
    before = image.tobytes()
    expected = fetched(image, factor=side, low=4 * side**2, high=16384 * side**2)
    got = in_multiples(image, side)
    assert got.size == expected.size
    assert got.tobytes() == expected.tobytes()
    assert image.tobytes() == before


def test_an_image_of_such_sides_is_not_copied() -> None:
    image = noise(84, 56)
    assert in_multiples(image, 28) is image


@pytest.mark.parametrize("side", [None, 28])
def test_a_row_says_whether_images_are_resized_first(side: int | None) -> None:
    """Those of Jina v4 are not."""
    row = replace(JINA_V4, name="own", side_multiple=side, vectors_before={})
    (prompt,) = template_builder(row=row).build(
        items.mixed([[noise(300, 200), noise(56, 56)]]), role="query", task="retrieval", max_length=99, truncate="end"
    )
    assert isinstance(prompt, Prompt)
    assert [image.size for image in prompt.images] == [(300, 200) if side is None else (308, 196), (56, 56)]
