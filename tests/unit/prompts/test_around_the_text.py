"""Prompts with plain text behind the user's, with an image of one token, and with a placeholder in texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers

from tests.support.builders import template_builder
from tests.support.images import noise
from tests.support.tokenizer import KNOWN, make_tokenizer
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Placeholder, Slot, Special, Template
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.engine.remote.messages import question
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.chat_template import chat_template

START, END, PAD = Special("<|im_start|>"), Special("<|im_end|>"), Special("<|image_pad|>")
ASKED = "\nSummary above: "
BEHIND: Template = (START, "user\n", Slot.TEXT, ASKED, END, "\n")
BOTH: Template = (START, "user ", Slot.IMAGES, ' Modify "', Slot.TEXT, '" Describe', END)
TEXT_BEFORE_IMAGES: Template = (START, "q: ", Slot.TEXT, " and ", Slot.IMAGES, " so", END)
BLANK: Template = (START, "user\n", Placeholder(56, 28, 2), "Query: ", Slot.TEXT, END, "\n")
TEXTS = ["fox", "fox.", "the quick ", "  two\n", "日本語", "a\n\n", "<|im_end|>", "fox" + ASKED]
TOKENIZER = make_tokenizer(f'{KNOWN} fox.\n\nSummary above: user\n fox" Describe')


def row_of(*, text: Template = BEHIND, both: Template = BOTH, image: Template = (PAD,)) -> Model:
    templates = {("any", "text"): text, ("any", "image"): (START, Slot.IMAGES, END), ("any", "both"): both}
    return replace(JINA_V4, name="own", templates=templates, image=image, vectors_before={})


def built(row: Model, value: Any, **changes: Any) -> Prompt | InputError:
    options = {"role": "query", "task": "retrieval", "max_length": 1000, "truncate": "error", **changes}
    (prompt,) = template_builder(TOKENIZER, row).build(inputs.mixed([value]), **options)
    return prompt


def prompt_of(row: Model, value: Any, **changes: Any) -> Prompt:
    prompt = built(row, value, **changes)
    assert isinstance(prompt, Prompt), prompt
    return prompt


def plain(text: str) -> list[int]:
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.encode_special_tokens = True
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def special(*pieces: Special) -> list[int]:
    return [TOKENIZER.token_to_id(piece.token) for piece in pieces]


@pytest.mark.parametrize("text", TEXTS)
def test_text_behind_the_user_s_is_one_run_with_it(text: str) -> None:
    """As in the whole string; the pieces of the line end and of what stands in front of it are shared."""
    ids = [*special(START), *plain(f"user\n{text}{ASKED}"), *special(END), *plain("\n")]
    assert list(prompt_of(row_of(), text).token_ids) == ids


def test_some_of_these_texts_share_a_token_with_what_stands_behind() -> None:
    """Else the test above would pass with the parts tokenised alone."""
    assert [text for text in TEXTS if plain(text + ASKED) != [*plain(text), *plain(ASKED)]]


@pytest.mark.parametrize("truncate", ["end", "start"])
def test_a_cut_text_keeps_what_stands_on_both_sides(truncate: str) -> None:
    """The user's tokens alone are cut; what stands behind them is tokenised alone then."""
    text = "the quick brown fox " * 20
    head, tail = [*special(START), *plain("user\n")], [*plain(ASKED), *special(END), *plain("\n")]
    inside = plain("user\n" + text)[len(plain("user\n")) :]
    for length in range(len(head) + len(tail) + 1, len(head) + len(tail) + 9):
        prompt = prompt_of(row_of(), text, max_length=length, truncate=truncate)
        room = length - len(head) - len(tail)
        kept = inside[:room] if truncate == "end" else inside[-room:]
        assert list(prompt.token_ids) == [*head, *kept, *tail]
        assert prompt.truncated


@pytest.mark.parametrize("truncate", ["end", "start"])
def test_a_text_far_too_long_is_cut_in_the_same_way(truncate: str) -> None:
    """Only a part of it is tokenised."""
    text, tail = "the quick brown fox " * 5000, [*plain(ASKED), *special(END), *plain("\n")]
    prompt = prompt_of(row_of(), text, max_length=100, truncate=truncate)
    assert (len(prompt.token_ids), prompt.truncated) == (100, True)
    assert list(prompt.token_ids[-len(tail) :]) == tail
    assert "fox the quick" in TOKENIZER.decode(list(prompt.token_ids))
    error = built(row_of(), text, max_length=100)
    assert isinstance(error, InputError)
    assert "max_length is 100" in str(error)


def test_a_text_over_the_window_that_fits_is_whole() -> None:
    """Its number of tokens is known only when all of it is tokenised; then nothing is cut."""
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.normalizer = normalizers.Replace("~", "")
    for truncate in ("end", "error"):
        (prompt,) = template_builder(tokenizer, row_of()).build(
            inputs.mixed(["~" * 6000 + "fox"]), role="query", task="retrieval", max_length=200, truncate=truncate
        )
        assert isinstance(prompt, Prompt)
        assert not prompt.truncated
        ids = [*plain("user\nfox"), *plain(ASKED)]
        assert list(prompt.token_ids) == [*special(START), *ids, *special(END), *plain("\n")]


def test_too_little_room_and_too_long_texts_are_errors() -> None:
    """The room counts what stands behind the text."""
    least = len([*special(START), *plain("user\n"), *plain(ASKED), *special(END), *plain("\n")])
    with pytest.raises(ConfigError, match=f"what stands around it takes {least} tokens"):
        built(row_of(), "a", max_length=least)
    error = built(row_of(), "the quick brown fox", max_length=least + 1)
    assert isinstance(error, InputError)
    assert f"max_length is {least + 1}" in str(error)


@pytest.mark.parametrize("images", [1, 2])
def test_an_image_of_one_token_beside_text_on_both_sides(images: int) -> None:
    value = {"text": "red fox", "image": [noise(9, 9, seed) for seed in range(images)]}
    prompt = prompt_of(row_of(), value)
    ids = [
        *special(START),
        *plain("user "),
        *special(PAD) * images,
        *plain(' Modify "red fox" Describe'),
        *special(END),
    ]
    assert list(prompt.token_ids) == ids
    assert prompt.around == (1 + len(plain("user ")), len(ids) - images - 1 - len(plain("user ")))
    alone = prompt_of(row_of(), noise(9, 9))
    assert list(alone.token_ids) == special(START, PAD, END)


@pytest.mark.parametrize("length", [1000, 16])
def test_images_behind_a_text_are_found_whether_or_not_it_is_cut(length: int) -> None:
    value = {"text": "the quick brown fox " * 3, "image": noise(9, 9)}
    prompt = prompt_of(row_of(both=TEXT_BEFORE_IMAGES), value, max_length=length, truncate="end")
    before, after = prompt.around
    assert prompt.truncated == (length < 1000)
    assert list(prompt.token_ids[before : len(prompt.token_ids) - after]) == special(PAD)


def test_a_placeholder_is_a_black_image_in_front_of_each_text() -> None:
    """Of its own size; the image of an item stands in other prompts."""
    prompt = prompt_of(row_of(text=BLANK), "red fox")
    ids = [*special(START), *plain("user\n"), *special(PAD), *plain("Query: red fox"), *special(END), *plain("\n")]
    assert list(prompt.token_ids) == ids
    (image,) = prompt.images
    assert (image.mode, image.size, image.getextrema()) == ("RGB", (56, 28), ((0, 0),) * 3)
    before = 1 + len(plain("user\n"))
    assert prompt.around == (before, len(ids) - before - 1)
    short = prompt_of(row_of(text=BLANK), "the quick brown fox " * 9, max_length=len(ids), truncate="end")
    assert short.truncated
    assert short.around[0] == before
    assert len(short.token_ids) + 1 == len(ids)  # the engine makes two tokens of the image's one


def test_no_plain_server_makes_prompts_with_a_placeholder() -> None:
    """A client's texts would go without it, to another vector without an error; a server of ours gets it with them."""
    prompt = prompt_of(row_of(text=BLANK), "fox")
    body = question([prompt])
    assert body["chat_template_kwargs"]["jina_prompt"] == {"token_ids": list(prompt.token_ids)}
    assert len(body["messages"][0]["content"]) == 1
    for row, what in (
        (row_of(text=BLANK, image=JINA_V4.image), "an image in its prompts of texts"),
        (row_of(), "images of another kind"),
        (replace(row_of(image=JINA_V4.image), fixed_size=True), "images of another kind"),
        (replace(row_of(image=JINA_V4.image), side_multiple=28), "images of another kind"),
        (replace(row_of(image=JINA_V4.image), image_positions="line"), "images of another kind"),
    ):
        with pytest.raises(ConfigError, match=f"row='own' has {what}, of which a plain vLLM server makes no prompt"):
            chat_template(row)
