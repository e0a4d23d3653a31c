"""Rows of mteb with a text and an image: one item where the model takes both, else two whose vectors are added."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.support.images import noise
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.items import BothItem, ImageItem, TextItem
from vllm_jina_embed.inputs.references import both_string

IMAGE = noise(8, 8)
BATCH: dict[str, list[Any]] = {"text": ["a", "", " b", None], "image": [IMAGE, IMAGE, None, None]}


def wrapper() -> Any:
    """The module, where mteb is installed."""
    pytest.importorskip("mteb")
    return importlib.import_module("vllm_jina_embed.mteb")


@pytest.mark.parametrize("together", [False, True])
def test_a_row_is_one_item_where_the_model_takes_both(together: bool) -> None:
    mteb = wrapper()
    counts: list[int] = []
    kinds = [type(item) for item in inputs.mixed(list(mteb._items([BATCH], counts, together=together)))]
    if together:
        assert (kinds, counts) == ([BothItem, ImageItem, TextItem], [1, 1, 1, 0])
    else:
        assert (kinds, counts) == ([TextItem, ImageItem, ImageItem, TextItem], [2, 1, 1, 0])


def test_a_text_of_a_row_is_always_a_text() -> None:
    mteb = wrapper()
    text = both_string("a", "data:image/png;base64,AAAA")
    (item,) = inputs.mixed(list(mteb._items([{"text": [text], "image": [IMAGE]}], [], together=True)))
    assert isinstance(item, BothItem)
    assert item.text == text
