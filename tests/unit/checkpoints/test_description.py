"""Rows: what decides their vectors, as a digest, and what two rows have to share to be equal."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict, fields, replace
from types import MappingProxyType
from typing import Any

import pytest

from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.digest import NO_VECTORS, canonical
from vllm_jina_embed.checkpoints.layout import Layout
from vllm_jina_embed.checkpoints.prompt_pieces import Placeholder, Slot, Special
from vllm_jina_embed.checkpoints.registry import ROWS
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.checkpoints.token_layer import TokenLayer
from vllm_jina_embed.settings import check

LOOK = (Special("<t>"), "user", Slot.IMAGES, "Look.", Special("</t>"))
TEMPLATES = {("query", "text"): ("q: ", Slot.TEXT), ("passage", "text"): ("p: ", Slot.TEXT), ("any", "image"): LOOK}
ROW = Model(
    name="small", layouts=(Layout(architecture="Tiny"),), pooling="first_token", kind="bpe", templates=TEMPLATES,
    image=(Special("<v>"), Special("<i>")), symmetric_tasks=("code",), architecture="A", adapter_architecture=None,
    splits_prompts=True, min_pixels=1, max_pixels=2, max_length=3, source={"templates": "a card"},
)  # fmt: skip
CHANGES: dict[str, Any] = {
    "name": "other",
    "layouts": (Layout(architecture="Tiny", absent=("head",)),),
    "known_as": ("small-and-fast",),
    "pooling": "vision_span_mean",
    "layer_norm": True,
    "kind": "wordpiece",
    "normalization": "lower",
    "padding": Special("<pad>"),
    "reversed_states": True,
    "templates": TEMPLATES | {("passage", "text"): ("p:", Slot.TEXT)},
    "image": (Special("<i>"),),
    "image_positions": "line",
    "fixed_size": True,
    "side_multiple": 28,
    "symmetric_tasks": (),
    "architecture": None,
    "adapter_architecture": "B",
    "vllm_architecture": "C",
    "remote_code": "its class Config",
    "config_names": {"hidden_size": "n_embd"},
    "adapters": {("any", "retrieval"): 0},
    "attention": "both",
    "size_key": "text_config.projection_size",
    "overrides": {"is_causal": False},
    "arguments": {"dtype": "float32"},
    "splits_prompts": False,
    "tasks": ("code",),
    "matryoshka_sizes": (8,),
    "min_dimensions": 2,
    "score": "maxsim",
    "token_dimensions": 4,
    "token_vectors": False,
    "token_side": 32,
    "only_named": True,
    "projector": TokenLayer(names=("projection",)),
    "token_weights": TokenLayer(file="weights.pt"),
    "positions": "after_padding",
    "min_pixels": 2,
    "max_pixels": 3,
    "max_length": 4,
    "source": {"templates": "another card"},
    "code": 2,
    "vectors_before": {"0123456789abcdef": "old"},
}


@pytest.mark.parametrize("name", [field.name for field in fields(Model)])
def test_each_field_that_decides_vectors_is_in_the_digest(name: str) -> None:
    """A new field has to be in ``CHANGES``; a citation decides nothing, and rows that compute the same are equal."""
    changed = replace(ROW, **{name: CHANGES[name]})
    assert (changed.digest != ROW.digest) == (changed != ROW) == (name not in NO_VECTORS)


def test_only_where_a_row_comes_from_and_how_it_is_recognised_and_checked_decide_nothing() -> None:
    """And which lengths a caller may choose, since a vector's own is in its key, and how vectors are compared."""
    known = {"layouts", "known_as", "remote_code", "attention", "source", "vectors_before"}
    known |= {"min_dimensions", "only_named", "score", "size_key", "token_side", "token_vectors"}
    assert known == NO_VECTORS


@pytest.mark.parametrize(
    "image",
    [
        (Special("<t>"), "user", Slot.IMAGES, "Look.", Special("</t>"), "\n"),
        (Special("<t>"), "user", Slot.IMAGES, "Look!", Special("</t>")),
        (Special("<t>"), "user", Slot.IMAGES, "Look.", "</t>"),
        (Special("<t>"), "user", "images", "Look.", Special("</t>")),
        ("<t>", "user", Slot.IMAGES, "Look.", Special("</t>")),
        ("user", Special("<t>"), Slot.IMAGES, "Look.", Special("</t>")),
    ],
)
def test_each_piece_of_a_prompt_is_in_the_digest(image: Any) -> None:
    """Its place too, and what it is: a special token is not the text that spells it, nor a slot its name."""
    assert replace(ROW, templates=TEMPLATES | {("any", "image"): image}).digest != ROW.digest


def test_the_size_of_a_placeholder_is_in_the_digest() -> None:
    def row(*pieces: Any) -> Model:
        return replace(ROW, templates=TEMPLATES | {("query", "text"): (*pieces, "q: ", Slot.TEXT)})

    rows = [
        row(),
        row(Placeholder(56, 56, 4)),
        row(Placeholder(56, 28, 2)),
        row(Placeholder(28, 56, 2)),
        row(Slot.IMAGES),
    ]
    assert len({one.digest for one in rows}) == len(rows)


@pytest.mark.parametrize("change", [{"names": ("b",)}, {"file": "a.pt"}, {"skips_first": True}, {"skips": ("<s>",)}])
def test_where_a_layer_is_and_which_tokens_it_skips_are_in_the_digest(change: dict[str, Any]) -> None:
    """Its size is not: it is that of the layer itself, and stands in a vector's key."""
    layer = TokenLayer(names=("a",))
    row = replace(ROW, projector=layer)
    assert replace(ROW, projector=replace(layer, **change)).digest != row.digest
    assert replace(ROW, projector=replace(layer, size_key="dim", size=3)).digest == row.digest


def test_the_digest_is_of_values_alone() -> None:
    """Neither the order of keys nor the kind of mapping or sequence counts; another process gets the same."""
    mappings = (dict(reversed([*ROW.templates.items()])), MappingProxyType(dict(ROW.templates)))
    assert {replace(ROW, templates=templates).digest for templates in mappings} == {ROW.digest}
    listed: Any = ["code"]
    assert replace(ROW, symmetric_tasks=listed).digest == ROW.digest
    assert ROW.digest == "3e45b3d9d636e154"


def test_what_cannot_be_written_down_has_no_digest() -> None:
    """Its address would be another one in each process."""
    thing: Any = {("query", "text"): object()}
    with pytest.raises(TypeError, match="is a object; expected what a row may hold"):
        canonical(replace(ROW, templates=thing))


def test_the_canonical_text_is_json_of_the_fields() -> None:
    values = json.loads(canonical(ROW))
    assert set(values) < {field.name for field in fields(Model)} - NO_VECTORS
    assert values["templates"]["query text"] == ["q: ", {"slot": "text"}]


def test_a_field_at_its_default_is_not_in_the_digest() -> None:
    """So a field that a later version adds changes no digest, and empties no cache."""
    least = Model(name="a", layouts=(), pooling="first_token", kind="bpe", templates=TEMPLATES, max_length=3)
    assert set(json.loads(canonical(least))) == {"name", "pooling", "kind", "templates", "max_length"}
    listed: Any = []
    assert replace(least, image=listed, overrides={}).digest == least.digest


def test_equal_rows_have_the_same_name_and_digest() -> None:
    """A copy is the same key of a dict; a row of the same name with another prompt is not."""
    other = replace(ROW, templates=CHANGES["templates"])
    assert {ROW: 1, other: 2}[copy.deepcopy(ROW)] == 1
    assert (other != ROW, ROW != "small", repr(ROW)) == (True, True, "Model('small')")


def test_a_row_is_no_longer_the_callers_to_change() -> None:
    """A prompt that changed after a builder was made would have the digest of another."""
    mine: dict[str, Any] = {"templates": dict(TEMPLATES), "source": {"kind": "a card"}}
    layout: Any = Layout(architecture="Tiny", config=(config := {"a": 1}))
    row: Any = replace(ROW, **mine)
    before = (row.digest, dict(row.source), dict(layout.config))
    mine["templates"]["query", "text"] = (Slot.TEXT,)
    mine["source"].clear()
    config.clear()
    assert (replace(row).digest, dict(row.source), dict(layout.config)) == before
    for mapping in (row.templates, row.source, row.vectors_before, layout.config, layout.prompts):
        with pytest.raises(TypeError):
            mapping["a"] = 1


def test_a_row_is_copied_as_any_other_value() -> None:
    """Settings hold one, and are shown and copied as a whole."""
    assert asdict(ROW)["templates"] == copy.deepcopy(ROW).templates == TEMPLATES
    assert (repr(ROW.source), ROW.source | {"kind": "b"}) == (
        "{'templates': 'a card'}",
        {"templates": "a card", "kind": "b"},
    )


def test_a_pickle_of_a_row_names_its_fields() -> None:
    """A version with more of them, or with others in between, reads it too."""
    assert pickle.loads(pickle.dumps(JINA_V4)) == JINA_V4
    assert pickle.loads(pickle.dumps(JINA_V4)).layouts == JINA_V4.layouts
    make, arguments = JINA_V4.__reduce__()
    assert (arguments, set(getattr(make, "keywords"))) == ((), {field.name for field in fields(Model)})  # noqa: B009


def test_a_new_row_names_its_vectors_by_its_digest() -> None:
    assert ROW.vectors == f"vllm-jina-embed/2/{ROW.digest}"


def test_a_symmetric_task_has_the_prompt_of_a_query() -> None:
    """Whatever the role; an image has one prompt for both."""
    assert [ROW.template("text", role, "code") for role in ("query", "passage")] == [TEMPLATES["query", "text"]] * 2
    assert ROW.template("text", "passage", "retrieval") == TEMPLATES["passage", "text"]
    assert {ROW.template("image", role, task) for role in ("query", "passage") for task in ("code", "retrieval")} == {
        LOOK
    }
    texts = replace(ROW, templates={("any", "text"): (Slot.TEXT,)}, image=())
    assert (ROW.takes_images, texts.takes_images) == (True, False)
    with pytest.raises(KeyError):
        texts.template("image", "query", "code")


def test_a_row_is_called_as_users_know_it() -> None:
    assert (ROW.label, JINA_V4.label) == ("small", "jina-embeddings-v4")


@pytest.mark.parametrize("name", ["jina-v4", "xlm-roberta"])
def test_the_rows_of_version_0_1_keep_the_name_of_their_vectors(name: str) -> None:
    """Whoever changes what they compute gets another name, and so does a copy with another prompt."""
    row = ROWS[name]
    assert (row.vectors, list(row.vectors_before)) == ("vllm-jina-embed/1", [row.digest])
    for changes in ({"templates": {("any", "text"): (Slot.TEXT,)}}, {"code": 2}):
        changed = replace(row, **changes)
        assert changed.vectors == f"vllm-jina-embed/2/{changed.digest}"
    assert replace(row, source={}).vectors == "vllm-jina-embed/1"


@pytest.mark.parametrize("row", ROWS.values(), ids=str)
def test_a_row_names_the_sources_of_its_fields(row: Model) -> None:
    assert {"pooling", "templates", "max_length"} <= set(row.source) <= {field.name for field in fields(Model)}
    assert all(row.source.values())


def test_a_fingerprint_follows_the_row() -> None:
    """The same checkpoint with another prompt has other vectors, so another key in every cache."""
    settings = check(model="jinaai/jina-embeddings-v4")
    other = replace(JINA_V4, templates=JINA_V4.templates | {("query", "text"): (Slot.TEXT,)})
    changed = replace(settings, checkpoint=replace(settings.checkpoint, row=other))
    assert changed.fingerprint == settings.fingerprint.replace("vllm-jina-embed/1", other.vectors)
    assert changed.fingerprint != settings.fingerprint
