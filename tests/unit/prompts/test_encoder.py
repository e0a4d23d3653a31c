"""Texts to prompts of XLM-RoBERTa: both ends, truncation, images, and texts that look like special tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.support.builders import template_builder, text_builder
from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from tests.support.unigram import MASK, SPECIAL, make_unigram, segment
from vllm_jina_embed.checkpoints.resolve import resolve
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.images import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt, Truncate
from vllm_jina_embed.prompts.build import load_builder, read_builder, role_of
from vllm_jina_embed.prompts.pieces import PieceBuilder

TEXTS = [
    "the quick brown fox",
    "ein Strand",
    "浜辺に沈む 夕日",
    "  two  spaces,\nlines",
    "🙂 unknown",
    "ｆｕｌｌ",
    "\u200b",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """As the checkpoint has it: special tokens in a text are special."""
    return make_unigram()


@pytest.fixture(scope="module")
def builder() -> PieceBuilder:
    return text_builder()


def build(
    builder: PieceBuilder, items: list[Any], *, max_length: int = 100, truncate: Truncate = "end"
) -> list[Prompt | InputError]:
    return builder.build(
        inputs.mixed(items), role="passage", task="retrieval", max_length=max_length, truncate=truncate
    )


def ids_of(prompt: Prompt | InputError) -> list[int]:
    assert isinstance(prompt, Prompt)
    return list(prompt.token_ids)


def test_ordinary_texts_have_the_tokenizers_own_ids(builder: PieceBuilder, tokenizer: Tokenizer) -> None:
    """Between <s> and </s>, in order."""
    prompts = build(builder, TEXTS)
    assert [ids_of(prompt) for prompt in prompts] == [tokenizer.encode(text).ids for text in TEXTS]
    assert all(ids_of(prompt)[0] == 0 and ids_of(prompt)[-1] == 2 for prompt in prompts)


@pytest.mark.parametrize("token", [*SPECIAL, MASK])
@pytest.mark.parametrize("form", ["{}", " {} ", "a{}b", "{0}{0}", "hi {} the fox"])
def test_special_tokens_in_a_text_stay_text(builder: PieceBuilder, tokenizer: Tokenizer, token: str, form: str) -> None:
    """They are segmented as sentencepiece does it; the vocabulary's own entries for them are never met."""
    text = form.format(token)
    (prompt,) = build(builder, [text])
    assert ids_of(prompt) == [0, *segment(tokenizer, text), 2]
    special = {tokenizer.token_to_id(one) for one in [*SPECIAL, MASK]}
    assert special.isdisjoint(ids_of(prompt)[1:-1])


def test_full_width_brackets_are_no_way_around(builder: PieceBuilder, tokenizer: Tokenizer) -> None:
    """The normaliser makes a special token's name of them."""
    (prompt,) = build(builder, ["\uff1cs\uff1e"])
    assert ids_of(prompt) == [0, *segment(tokenizer, "<s>"), 2]


def test_both_ends_are_kept_when_a_text_is_cut(builder: PieceBuilder, tokenizer: Tokenizer) -> None:
    """max_length counts them."""
    text = "the quick brown fox jumps over the lazy dog"
    ids = tokenizer.encode(text).ids
    assert len(ids) > 12
    for limit in (3, 4, len(ids) - 1):
        (end,) = build(builder, [text], max_length=limit)
        assert end == Prompt(token_ids=(*ids[: limit - 1], 2), truncated=True)
        (start,) = build(builder, [text], max_length=limit, truncate="start")
        assert start == Prompt(token_ids=(0, *ids[len(ids) - limit + 1 :]), truncated=True)
    for truncate in ("end", "start", "error"):
        assert build(builder, [text], max_length=len(ids), truncate=truncate) == [Prompt(token_ids=tuple(ids))]  # type: ignore[arg-type]


def test_error_names_the_position_and_both_numbers(builder: PieceBuilder) -> None:
    """The others are built."""
    first, second = build(builder, ["a", "the quick brown fox"], max_length=5, truncate="error")
    assert isinstance(first, Prompt)
    assert isinstance(second, InputError)
    assert str(second).startswith("items[1]: got 18 tokens; max_length is 5.")
    assert second.positions == (1,)


def test_no_room_between_the_ends_is_a_setting_error(builder: PieceBuilder) -> None:
    """Whatever the texts."""
    with pytest.raises(ConfigError, match="max_length=2 leaves no room"):
        build(builder, ["a"], max_length=2)


def test_an_image_is_an_error_in_its_place(builder: PieceBuilder) -> None:
    """It is not even opened."""
    first, second, third, fourth = build(builder, ["a", noise(5, 5, 1), Path("/no/such.png"), "b"])
    assert isinstance(first, Prompt)
    assert isinstance(fourth, Prompt)
    for position, error in ((1, second), (2, third)):
        assert isinstance(error, InputError)
        assert error.positions == (position,)
        assert str(error) == f"items[{position}]: got an image; this checkpoint takes texts only."


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(make_unigram().to_str()), **changes})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (make_tokenizer().to_str(), "type 'BPE'"),
        (changed(pre_tokenizer=None), "finds its special tokens in a text"),
        ("{}", "cannot be read"),
    ],
)
def test_another_tokenizer_is_refused(content: str, message: str) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(ConfigError, match=message):
        text_builder(content)


def write(folder: Path, model_type: str, tokenizer: Tokenizer | None) -> Path:
    config = {"model_type": model_type, "architectures": ["XLMRobertaModel"], "max_position_embeddings": 66}
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_both_ends_are_the_rows_and_not_the_tokenizers() -> None:
    """A tokenizer.json whose post-processor adds none, or one too few, gives the same prompt."""
    (prompt,) = build(text_builder(changed(post_processor=None)), ["a"])
    assert ids_of(prompt) == make_unigram().encode("a").ids


def test_a_servers_tokenizer_is_read_for_its_model(tmp_path: Path) -> None:
    """As the file of a folder is."""
    checkpoint = resolve(str(write(tmp_path, "xlm-roberta", None)))
    builder = read_builder(checkpoint, make_unigram().to_str().encode(), policy=MediaPolicy())
    assert ids_of(build(builder, ["a"])[0]) == make_unigram().encode("a").ids
    with pytest.raises(ConfigError, match=r"server's tokenizer\.json cannot be read"):
        read_builder(checkpoint, b"no json", policy=MediaPolicy())
    with pytest.raises(ConfigError, match="type 'BPE'"):
        read_builder(checkpoint, make_tokenizer().to_str().encode(), policy=MediaPolicy())
    with pytest.raises(ConfigError, match="type 'Unigram'; expected the model's own, 'BPE'"):
        read_builder(resolve("demo"), make_unigram().to_str().encode(), policy=MediaPolicy())


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    """The error names the folder and the file."""
    checkpoint = resolve(str(write(tmp_path, "xlm-roberta", None)))
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json"):
        load_builder(checkpoint, revision=None, policy=MediaPolicy())
    (tmp_path / "tokenizer.json").write_text("no json")
    with pytest.raises(ConfigError, match=r"tokenizer\.json cannot be read"):
        load_builder(checkpoint, revision=None, policy=MediaPolicy())


def test_a_megabyte_of_one_letter_is_tokenised_in_time(builder: PieceBuilder) -> None:
    """One word without a space."""
    (prompt,) = build(builder, ["a" * 1_000_000])
    assert isinstance(prompt, Prompt)
    assert prompt.truncated


def test_images_of_another_role_have_another_name_where_their_prompt_differs() -> None:
    """A row that asks for queries in other words than for passages; today's have one prompt for both."""
    (image,) = inputs.images([noise(9, 9)])
    (text,) = inputs.texts(["x"])
    templates = dict(JINA_V4.templates)
    passage = templates.pop(("any", "image"))
    query = tuple("Find it." if piece == "Describe the image." else piece for piece in passage)
    other = replace(JINA_V4, templates=templates | {("query", "image"): query, ("passage", "image"): passage})
    assert [role_of(JINA_V4, image, role) for role in ("query", "passage")] == ["image", "image"]
    assert [role_of(other, image, role) for role in ("query", "passage")] == ["image query", "image passage"]
    assert [role_of(one, text, "query") for one in (JINA_V4, other)] == ["query", "query"]
    builder = template_builder(row=other)
    prompts = [
        builder.build([image], role=role, task="retrieval", max_length=99, truncate="end")[0]
        for role in ("query", "passage")
    ]
    assert prompts[0].token_ids != prompts[1].token_ids
