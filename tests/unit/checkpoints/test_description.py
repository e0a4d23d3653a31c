"""Rows: what decides their vectors, as a digest, and what two rows have to share to be equal."""

from __future__ import annotations

import copy
import json
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

import pytest

from vllm_jina_embed.checkpoints.description import NO_VECTORS, ImageTemplate, Layout, Model, canonical
from vllm_jina_embed.checkpoints.registry import ROWS
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.settings import check

IMAGES = ImageTemplate(
    vision_start="<v>", vision_end="</v>", image="<i>", turn_start="<t>", turn_end="</t>",
    instruction={"query": "Look.", "passage": "See."},
)  # fmt: skip
ROW = Model(
    name="small", layouts=(Layout(architecture="Tiny"),), pooling="first_token",
    prefixes={"query": "q: ", "passage": "p: "}, symmetric_tasks=("code",), images=IMAGES, architecture="A",
    adapter_architecture=None, splits_prompts=True, min_pixels=1, max_pixels=2, max_length=3,
    source={"prefixes": "a card"},
)  # fmt: skip
CHANGES: dict[str, Any] = {
    "name": "other",
    "layouts": (Layout(architecture="Tiny", absent=("head",)),),
    "known_as": ("small-and-fast",),
    "pooling": "vision_span_mean",
    "prefixes": {"query": "q: ", "passage": "p:"},
    "symmetric_tasks": (),
    "images": None,
    "architecture": None,
    "adapter_architecture": "B",
    "splits_prompts": False,
    "tasks": ("code",),
    "matryoshka_sizes": (8,),
    "token_dimensions": 4,
    "positions": "after_padding",
    "min_pixels": 2,
    "max_pixels": 3,
    "max_length": 4,
    "source": {"prefixes": "another card"},
    "code": 2,
    "vectors_before": {"0123456789abcdef": "old"},
}


@pytest.mark.parametrize("name", [field.name for field in fields(Model)])
def test_each_field_that_decides_vectors_is_in_the_digest(name: str) -> None:
    """A new field has to be in ``CHANGES``; a citation decides nothing."""
    changed = replace(ROW, **{name: CHANGES[name]})
    assert (changed.digest != ROW.digest) == (name not in NO_VECTORS)
    assert changed != ROW


def test_only_where_a_row_comes_from_and_how_it_is_recognised_decide_nothing() -> None:
    assert {"layouts", "known_as", "source", "vectors_before"} == NO_VECTORS


@pytest.mark.parametrize("name", [field.name for field in fields(ImageTemplate)])
def test_each_part_of_an_image_template_is_in_the_digest(name: str) -> None:
    other: Any = {"query": "Look."} if name == "instruction" else "<other>"
    assert replace(ROW, images=replace(IMAGES, **{name: other})).digest != ROW.digest


def test_the_digest_is_of_values_alone() -> None:
    """Neither the order of keys nor the kind of mapping or sequence counts; another process gets the same."""
    mappings = (dict(reversed(ROW.prefixes.items())), MappingProxyType(dict(ROW.prefixes)))
    assert {replace(ROW, prefixes=prefixes).digest for prefixes in mappings} == {ROW.digest}
    assert replace(ROW, images=replace(IMAGES, instruction=MappingProxyType(IMAGES.instruction))).digest == ROW.digest
    listed: Any = ["code"]
    assert replace(ROW, symmetric_tasks=listed).digest == ROW.digest
    assert ROW.digest == "8d8a048f1f3b1f61"


def test_what_cannot_be_written_down_has_no_digest() -> None:
    """Its address would be another one in each process."""
    thing: Any = {"query": object()}
    with pytest.raises(TypeError, match="is a object; expected what a row may hold"):
        canonical(replace(ROW, prefixes=thing))


def test_the_canonical_text_is_json_of_the_fields() -> None:
    values = json.loads(canonical(ROW))
    assert set(values) == {field.name for field in fields(Model)} - NO_VECTORS
    assert values["images"]["instruction"] == IMAGES.instruction


def test_equal_rows_are_equal_in_every_field() -> None:
    """A copy is the same key of a dict; a row of the same name with another prompt is not."""
    other = replace(ROW, prefixes=CHANGES["prefixes"])
    assert {ROW: 1, other: 2}[copy.deepcopy(ROW)] == 1
    assert (hash(ROW), repr(ROW)) == (hash(other), "Model('small')")


def test_a_new_row_names_its_vectors_by_its_digest() -> None:
    assert ROW.vectors == f"vllm-jina-embed/2/{ROW.digest}"


def test_a_row_is_called_as_users_know_it() -> None:
    assert (ROW.label, JINA_V4.label) == ("small", "jina-embeddings-v4")


@pytest.mark.parametrize("name", ["jina-v4", "xlm-roberta"])
def test_the_rows_of_version_0_1_keep_the_name_of_their_vectors(name: str) -> None:
    """Whoever changes what they compute gets another name, and so does a copy with another prompt."""
    row = ROWS[name]
    assert (row.vectors, list(row.vectors_before)) == ("vllm-jina-embed/1", [row.digest])
    for changes in ({"prefixes": {"query": "?", "passage": ""}}, {"code": 2}):
        changed = replace(row, **changes)
        assert changed.vectors == f"vllm-jina-embed/2/{changed.digest}"
    assert replace(row, source={}).vectors == "vllm-jina-embed/1"


@pytest.mark.parametrize("row", ROWS.values(), ids=str)
def test_a_row_names_the_sources_of_its_fields(row: Model) -> None:
    assert {"pooling", "prefixes", "max_length"} <= set(row.source) <= {field.name for field in fields(Model)}
    assert all(row.source.values())


def test_a_fingerprint_follows_the_row() -> None:
    """The same checkpoint with another prompt has other vectors, so another key in every cache."""
    settings = check(model="jinaai/jina-embeddings-v4")
    other = replace(JINA_V4, prefixes={"query": "", "passage": ""})
    changed = replace(settings, checkpoint=replace(settings.checkpoint, row=other))
    assert changed.fingerprint == settings.fingerprint.replace("vllm-jina-embed/1", other.vectors)
    assert changed.fingerprint != settings.fingerprint
