"""Prompts of a text with its images: both in their places, the text alone cut, never a special token of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders import template_builder, text_builder
from tests.support.images import noise
from tests.support.tokenizer import SPECIAL, make_tokenizer
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Slot, Special, Template
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.engine.remote.messages import question
from vllm_jina_embed.errors import InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.items import BothItem
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.build import role_of
from vllm_jina_embed.prompts.pieces import PieceBuilder

START, END = Special("<|im_start|>"), Special("<|im_end|>")
ONE = "<|vision_start|><|image_pad|><|vision_end|>"
TEXT_FIRST: Template = (START, "user\n", "Query: ", Slot.TEXT, END, "\n", Slot.IMAGES, "Describe the image.", END, "\n")
IMAGES_FIRST: Template = (START, "user\n", "See ", Slot.IMAGES, "\nQuery: ", Slot.TEXT, END, "\n")
BARE = ((Slot.TEXT, Slot.IMAGES), (Slot.IMAGES, Slot.TEXT))
TEMPLATES = [TEXT_FIRST, IMAGES_FIRST, *BARE]
LONG = "the quick brown fox " * 5


def row_of(template: Template, role: str = "any", **others: Template) -> Model:
    templates = {**JINA_V4.templates, (role, "both"): template, **{(name, "both"): one for name, one in others.items()}}
    return replace(JINA_V4, name="own", templates=templates, vectors_before={})


def build(builder: PieceBuilder, values: list[Any], **changes: Any) -> list[Prompt | InputError]:
    options = {"role": "query", "task": "retrieval", "max_length": 1000, "truncate": "error", **changes}
    return builder.build(inputs.mixed(values), **options)


def prompt_of(template: Template, text: str, images: int = 1, **changes: Any) -> Prompt:
    value = {"text": text, "image": [noise(9, 9, seed) for seed in range(images)]}
    (prompt,) = build(template_builder(row=row_of(template)), [value], **changes)
    assert isinstance(prompt, Prompt), prompt
    return prompt


def spelled(template: Template, text: str, images: int) -> str:
    filled = {Slot.TEXT: text, Slot.IMAGES: ONE * images}
    return "".join(filled[piece] if isinstance(piece, Slot) else getattr(piece, "token", piece) for piece in template)


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("text", ["fox", " the  quick\n", "日本語", "\n\n brown", "Query: "])
@pytest.mark.parametrize("template", TEMPLATES, ids=["text first", "images first", "bare", "bare, images first"])
def test_a_prompt_has_the_ids_of_the_whole_string(template: Template, text: str, images: int) -> None:
    """Plain pieces beside the text are one run with it; the images keep their order and are found by ``around``."""
    prompt = prompt_of(template, text, images)
    tokenizer = make_tokenizer()
    assert list(prompt.token_ids) == tokenizer.encode(spelled(template, text, images), add_special_tokens=False).ids
    before, after = prompt.around
    span = list(prompt.token_ids[before : len(prompt.token_ids) - after])
    assert span == tokenizer.encode(ONE * images).ids
    assert [image.tobytes() for image in prompt.images] == [noise(9, 9, seed).tobytes() for seed in range(images)]
    assert (prompt.is_both, prompt.truncated) == (True, False)


@pytest.mark.parametrize("template", [TEXT_FIRST, IMAGES_FIRST], ids=["text first", "images first"])
@pytest.mark.parametrize("length", [1, 2, 5, 9])
def test_a_cut_takes_from_the_text_alone(template: Template, length: int) -> None:
    """At either end: what stands around it, and all of the images, stay. An image counts as its pieces."""
    whole = list(prompt_of(template, LONG, 2).token_ids)
    tokenizer, slot = make_tokenizer(), template.index(Slot.TEXT)
    head = len(tokenizer.encode(spelled(template[:slot], "", 2).rstrip()).ids)
    after = tokenizer.encode(spelled(template[slot + 1 :], "", 2)).ids
    limit = head + length + len(after)
    end = prompt_of(template, LONG, 2, max_length=limit, truncate="end")
    start = prompt_of(template, LONG, 2, max_length=limit, truncate="start")
    assert list(end.token_ids) == whole[: head + length] + after
    assert list(start.token_ids) == whole[:head] + whole[-length - len(after) :]
    for prompt in (end, start):
        assert prompt.truncated
        assert len(prompt.images) == 2
        span = prompt.token_ids[prompt.around[0] : len(prompt.token_ids) - prompt.around[1]]
        assert list(span) == tokenizer.encode(ONE * 2).ids


def test_what_is_too_long_is_that_item_s_error() -> None:
    """Its neighbours have prompts; more images leave less room, which is an item's error and no setting's."""
    builder = template_builder(row=row_of(TEXT_FIRST))
    good = {"text": "fox", "image": noise(9, 9)}
    values = [good, {"text": LONG * 2, "image": noise(9, 9)}, {"text": "fox", "image": [noise(9, 9)] * 9}, "fox"]
    first, second, third, last = build(builder, values, max_length=40)
    assert isinstance(first, Prompt)
    assert isinstance(last, Prompt)
    assert isinstance(second, InputError)
    assert isinstance(third, InputError)
    count = len(prompt_of(TEXT_FIRST, LONG * 2).token_ids)
    assert str(second).startswith(f"items[1]: got {count} tokens; max_length is 40.")
    assert "items[2]: max_length=40 leaves no room for its text: what stands around it takes 4" in str(third)
    assert (second.positions, third.positions) == ((1,), (2,))


@pytest.mark.fire
@pytest.mark.parametrize("template", TEMPLATES, ids=["text first", "images first", "bare", "bare, images first"])
@pytest.mark.parametrize("special", SPECIAL)
def test_no_text_beside_an_image_becomes_a_special_token(template: Template, special: str) -> None:
    """Neither a marker of images, which would move the span, nor the end of a turn."""
    ids = {name: make_tokenizer().token_to_id(name) for name in SPECIAL}
    plain = prompt_of(template, "fox")
    for text in (special, f"a {special} b", special * 3, ONE):
        prompt = prompt_of(template, text)
        count = {name: (prompt.token_ids.count(one), plain.token_ids.count(one)) for name, one in ids.items()}
        assert all(found == own for found, own in count.values()), text


def test_a_role_and_a_task_choose_the_prompt() -> None:
    """As for texts; a symmetric task has the query's."""
    builder = template_builder(row=row_of(TEXT_FIRST, "query", passage=IMAGES_FIRST))
    value = {"text": "fox", "image": noise(9, 9)}
    ids = {
        (role, task): build(builder, [value], role=role, task=task)[0].token_ids  # type: ignore[union-attr]
        for role in ("query", "passage")
        for task in ("code", "text-matching")
    }
    assert ids["query", "code"] == ids["query", "text-matching"] == ids["passage", "text-matching"]
    assert ids["passage", "code"] == prompt_of(IMAGES_FIRST, "fox").token_ids != ids["query", "code"]


def test_the_role_of_a_cached_vector_is_that_of_its_prompt() -> None:
    """One prompt for both roles is one entry; a text with its image shares none with either alone."""
    item = BothItem(position=0, where="", text="t", images=(b"x",))
    assert {role_of(row_of(TEXT_FIRST), item, role) for role in ("query", "passage")} == {"both"}
    two = row_of(TEXT_FIRST, "query", passage=IMAGES_FIRST)
    assert [role_of(two, item, role) for role in ("query", "passage")] == ["both query", "both passage"]
    assert [role_of(JINA_V4, item, role) for role in ("query", "passage")] == ["both query", "both passage"]


def test_a_row_without_such_a_prompt_refuses_the_item_and_says_what_to_do() -> None:
    value = {"text": "fox", "image": noise(9, 9)}
    good, bad = build(template_builder(), ["fox", value])
    assert isinstance(good, Prompt)
    assert isinstance(bad, InputError)
    assert str(bad).startswith("items[1]: got a text and an image together; this model was not trained for that. Pass")
    assert "fusion='mean'" in str(bad)
    (bad,) = build(text_builder(), [value])
    assert "It takes texts only" in str(bad)


def test_a_bad_image_beside_a_text_is_named() -> None:
    value = {"text": "fox", "image": [noise(9, 9), b"no image"]}
    (bad,) = build(template_builder(row=row_of(TEXT_FIRST)), [value])
    assert isinstance(bad, InputError)
    assert str(bad).startswith("items[0][1]: ")


def test_no_text_is_left_out_on_its_way_to_a_server() -> None:
    """It travels as the ids of the whole prompt, beside the images; a chat template of images alone would drop it."""
    prompt = prompt_of(TEXT_FIRST, "fox")
    body = question([prompt])
    assert body["chat_template_kwargs"]["jina_prompt"] == {"token_ids": list(prompt.token_ids)}
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url"]
