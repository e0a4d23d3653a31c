"""Prompts that are filled up to the length of their model, and texts that are normalised before they are tokenised."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders import builder_of
from tests.support.tokenizer import make_tokenizer
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.layout import Layout
from vllm_jina_embed.checkpoints.prompt_pieces import Slot, Special
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.inputs import items
from vllm_jina_embed.prompts.base import Chunks, Prompt
from vllm_jina_embed.prompts.chunks import ChunkBuilder
from vllm_jina_embed.prompts.normalization import normalized

LENGTH = 12
END, PAD = Special("<|im_end|>"), Special("<|endoftext|>")
ROW = Model(
    name="filled",
    layouts=(Layout(architecture="Tiny"),),
    pooling="last_token",
    kind="bpe",
    templates={("any", "text"): (Slot.TEXT, END)},
    padding=PAD,
    max_length=None,
)
OPTIONS: dict[str, Any] = {"role": "query", "task": "retrieval", "max_length": LENGTH, "truncate": "end"}
TOKENIZER = make_tokenizer()
END_ID, PAD_ID = (TOKENIZER.token_to_id(piece.token) for piece in (END, PAD))


def builder(row: Model = ROW, length: int | None = LENGTH) -> ChunkBuilder:
    return builder_of(row, TOKENIZER.to_str(), length=length)


def ids(text: str) -> list[int]:
    whole: list[int] = TOKENIZER.encode(text, add_special_tokens=False).ids
    return whole


def built(*texts: str, row: Model = ROW, **options: Any) -> list[Any]:
    return builder(row).build(items.good(items.mixed(list(texts))), **OPTIONS | options)


def test_each_text_is_filled_up_behind_its_end() -> None:
    short, longer = built("fox", "the quick brown fox")
    for prompt, text in ((short, "fox"), (longer, "the quick brown fox")):
        own = [*ids(text), END_ID]
        assert list(prompt.token_ids) == [*own, *[PAD_ID] * (LENGTH - len(own))]
        assert not prompt.truncated


def test_a_long_text_is_cut_before_its_end_and_has_no_padding() -> None:
    (prompt,) = built("the quick brown fox " * 9)
    assert len(prompt.token_ids) == LENGTH
    assert prompt.token_ids[-1] == END_ID
    assert PAD_ID not in prompt.token_ids
    assert prompt.truncated


@pytest.mark.parametrize("max_length", [LENGTH - 1, 3])
def test_a_shorter_prompt_is_refused(max_length: int) -> None:
    """Its vector would be another."""
    with pytest.raises(ConfigError, match=f"max_length={max_length}: .* filled up to {LENGTH} tokens"):
        built("fox", max_length=max_length)
    with pytest.raises(ConfigError, match="its own number of tokens"):
        builder(length=None).build(items.good(items.mixed(["fox"])), **OPTIONS)


def test_the_parts_of_a_long_text_are_filled_up_too() -> None:
    text = "the quick brown fox " * 9
    (chunks,) = builder().build_whole(items.good(items.mixed([text])), **OPTIONS)
    assert isinstance(chunks, Chunks)
    assert {len(prompt.token_ids) for prompt in chunks.prompts} == {LENGTH}
    last = chunks.prompts[-1].token_ids
    assert list(last).index(END_ID) == chunks.weights[-1]
    assert list(last[chunks.weights[-1] + 1 :]) == [PAD_ID] * (LENGTH - chunks.weights[-1] - 1)


def test_the_padding_stays_text_where_a_user_writes_it() -> None:
    (prompt,) = built("<|endoftext|>", row=replace(ROW, templates={("any", "text"): (Slot.TEXT,)}))
    whole = TOKENIZER.encode("<|endoftext|>", add_special_tokens=False).ids
    assert list(prompt.token_ids) != [*whole, *[PAD_ID] * (LENGTH - len(whole))]
    assert prompt.token_ids[0] != PAD_ID


def test_a_tokenizer_without_the_padding_belongs_to_another_model() -> None:
    with pytest.raises(ConfigError, match="the tokenizer lacks <nothing>"):
        builder(replace(ROW, padding=Special("<nothing>")))


def test_a_row_without_padding_takes_shorter_prompts() -> None:
    (prompt,) = built("fox", row=replace(ROW, padding=None), max_length=5)
    assert isinstance(prompt, Prompt)
    assert list(prompt.token_ids) == [*ids("fox"), END_ID]


@pytest.mark.parametrize(
    ("text", "lower", "canonical"),
    [
        ("The FOX, jumps!", "the fox, jumps!", "the fox jumps"),
        (" a\n\tb  C ", " a\n\tb  c ", "a b c"),
        ("it's_12%", "it's_12%", "its12"),
        ("</s> a", "</s> a", "s a"),
        ("ΟΔΟΣ", "οδοσ", "οδος"),  # a tokenizer lowers each letter for itself, Python looks at the next one
        ("İ", "i\u0307", "i\u0307"),
        ("¿Qué?", "¿qué?", "¿qué"),  # only ASCII punctuation goes
        ("!?", "!?", ""),
        ("", "", ""),
    ],
)
def test_a_text_as_the_published_code_gives_it_to_its_tokenizer(text: str, lower: str, canonical: str) -> None:
    assert (normalized(text, None), normalized(text, "lower"), normalized(text, "canonical")) == (
        text,
        lower,
        canonical,
    )
    assert normalized(lower, "lower") == lower
    assert normalized(canonical, "canonical") == canonical


def test_lower_case_is_that_of_the_tokenizers_library() -> None:
    normalizers = pytest.importorskip("tokenizers.normalizers")
    letters = map(chr, [*range(0x20, 0xD800), *range(0xE000, 0x11000)])
    text = "".join(letter for letter in letters if unicodedata.category(letter) != "Cn")  # Python's Unicode is older
    assert normalized(text, "lower") == normalizers.Lowercase().normalize_str(text)


@pytest.mark.parametrize("how", ["lower", "canonical"])
def test_a_row_says_how_its_texts_are_normalised(how: Any) -> None:
    row = replace(ROW, normalization=how)
    (prompt,) = built("The QUICK, brown fox", row=row)
    own = [*ids("the quick, brown fox" if how == "lower" else "the quick brown fox"), END_ID]
    assert list(prompt.token_ids[: len(own)]) == own
    whole = builder(row).build_whole(items.good(items.mixed(["The QUICK, brown fox"])), **OPTIONS)
    assert whole == [prompt]
