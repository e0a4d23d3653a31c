"""Texts that are too long as chunks: each with the whole template, nothing lost between them, nothing else changed."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders import builder_of, template_builder, text_builder
from tests.support.images import noise
from tests.support.tokenizer import make_tokenizer
from tests.support.unigram import make_unigram
from tests.unit.prompts.test_pieces import CHAT, E5, EOS, of, spelled
from vllm_jina_embed.checkpoints.adapted_ids import VOCABULARY_BITS
from vllm_jina_embed.checkpoints.prompt_pieces import Placeholder, Slot, Template
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.prompts import tokenizing
from vllm_jina_embed.prompts.base import Chunks, Prompt
from vllm_jina_embed.prompts.chunks import ChunkBuilder

TEXT = "the quick brown fox " * 30 + "日本語のテキスト 🙂 " * 4
QUERY: Template = ("Query: ", Slot.TEXT)
TEMPLATES: dict[str, tuple[str, Template]] = {
    "chat": ("bpe", CHAT),
    "last token": ("bpe", EOS),
    "prefix": ("bpe", QUERY),
    "bare": ("bpe", (Slot.TEXT,)),
    "text behind": ("bpe", ("Query: ", Slot.TEXT, "\nIn one word: ")),
    "sentencepiece": ("unigram", XLM_ROBERTA.templates["any", "text"]),
    "sentencepiece with a prefix": ("unigram", E5),
}


def builder_for(name: str) -> ChunkBuilder:
    kind, template = TEMPLATES[name]
    return template_builder(row=of(JINA_V4, template)) if kind == "bpe" else text_builder(row=of(XLM_ROBERTA, template))


def build(builder: ChunkBuilder, items: list[Any], *, whole: bool = True, **changes: Any) -> list[Any]:
    options = {"role": "query", "task": "retrieval", "max_length": 40, "truncate": "end", **changes}
    return list((builder.build_whole if whole else builder.build)(inputs.good(inputs.mixed(items)), **options))


def around(name: str) -> tuple[int, int]:
    """Return how many tokens every prompt has before and behind its text, by the tokenizer alone."""
    kind, template = TEMPLATES[name]
    tokenizer, slot = make_tokenizer() if kind == "bpe" else make_unigram(), template.index(Slot.TEXT)
    sides = spelled(template[:slot], "").rstrip(), spelled(template[slot + 1 :], "")
    before, after = (len(tokenizer.encode(side, add_special_tokens=False).ids) for side in sides)
    return before, after


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("limit", [40, 41, 64])
def test_chunks_hold_the_whole_text_each_with_the_whole_template(name: str, limit: int) -> None:
    """Full ones of equal length, and the rest; put together they are the tokens of the text that is not divided."""
    builder = builder_for(name)
    (whole,), (chunks,) = (build(builder, [TEXT], max_length=most) for most in (100_000, limit))
    assert isinstance(whole, Prompt)
    before, after = around(name)
    first, last = whole.token_ids[:before], whole.token_ids[len(whole.token_ids) - after :]
    assert isinstance(chunks, Chunks)
    assert len(chunks.prompts) > 2
    own = []
    for prompt in chunks.prompts:
        ids = prompt.token_ids
        assert (ids[:before], ids[len(ids) - after :]) == (first, last)
        assert (prompt.truncated, prompt.images) == (False, ())
        own.append(ids[before : len(ids) - after])
    assert [len(prompt.token_ids) for prompt in chunks.prompts[:-1]] == [limit] * (len(own) - 1)
    assert len(chunks.prompts[-1].token_ids) <= limit
    assert chunks.weights == tuple(map(len, own))
    assert (*first, *(token for part in own for token in part), *last) == whole.token_ids


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_text_that_fits_has_its_ordinary_prompt(name: str) -> None:
    """To the last token that does."""
    builder = builder_for(name)
    (prompt,) = build(builder, [TEXT[:60]], whole=False, max_length=1000)
    for limit in (len(prompt.token_ids), 1000):
        assert build(builder, [TEXT[:60]], max_length=limit) == [prompt]
    (chunks,) = build(builder, [TEXT[:60]], max_length=len(prompt.token_ids) - 1)
    assert len(chunks.prompts) == 2
    (cut,) = build(builder, [TEXT[:60]], whole=False, max_length=len(prompt.token_ids) - 1)
    assert cut.token_ids == chunks.prompts[0].token_ids  # the first is what is left of a text that is cut


def test_other_items_are_as_they_were_and_in_their_places() -> None:
    """Images, and bad texts as errors."""
    builder, image = template_builder(), noise(30, 40)
    items = ["fox", image, TEXT, [image, image], "a <|vision_start|>", {"text": TEXT, "image": image}]
    chunked = build(builder, items)
    ordinary = build(builder, items, whole=False)
    assert [type(one) for one in chunked] == [Prompt, Prompt, Chunks, Prompt, Prompt, InputError]
    for place in (0, 1, 3, 4):
        assert chunked[place] == ordinary[place]
    assert str(chunked[5]) == str(ordinary[5])


def test_a_text_that_cannot_be_tokenised_is_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(tokenizer: Any, text: str, special_tokens: bool) -> Any:
        return RuntimeError("too much") if "§" in text else tokenizer.encode(text, add_special_tokens=special_tokens)

    monkeypatch.setattr(tokenizing, "encode", encode)
    monkeypatch.setattr(tokenizing, "_translated", lambda call: RuntimeError("the list"))  # then each by itself
    first, second = build(builder_for("prefix"), [TEXT, f"§{TEXT}"])
    assert isinstance(first, Chunks)
    assert str(second).startswith(
        f"items[1]: the tokenizer fails on this text of {len(TEXT) + 1} characters (too much)"
    )


def test_special_tokens_in_a_chunk_are_refused_as_in_a_prompt() -> None:
    """However the tokenizer comes to one."""
    builder = template_builder()
    token = next(iter(builder._plain.special_ids))

    class Finds:
        ids, offsets = [300] * 499 + [token], [(7, 8)] * 500

    (item,) = inputs.good(inputs.texts([TEXT]))
    parts = builder._parts[builder._row.template("text", "query", "code")]
    with pytest.raises(InputError, match=r"texts\[0\]: the tokenizer finds a special token in this text"):
        builder._whole(item, tokenizing.Tokens(Finds()), parts, 40)  # type: ignore[arg-type]


def test_no_room_for_a_text_is_told() -> None:
    builder = builder_for("chat")
    least = sum(around("chat")) + 1
    with pytest.raises(ConfigError, match=f"max_length={least - 1} leaves no room for a text"):
        build(builder, [TEXT], max_length=least - 1)
    (chunks,) = build(builder, ["the fox"], max_length=least)
    assert set(chunks.weights) == {1}


def test_a_prefix_that_takes_more_tokens_in_a_text_has_no_weight() -> None:
    row = of(JINA_V4, ("日本語: ", Slot.TEXT))
    builder = builder_of(row, template_builder()._plain.tokenizer.to_str())
    parts = builder._parts[row.template("text", "query", "code")]
    (item,) = inputs.good(inputs.texts([TEXT]))

    class Longer:
        ids, offsets = [300] * 150, [(0, 1)] * 40 + [(9, 10)] * 110

    chunks = builder._whole(item, tokenizing.Tokens(Longer()), parts, 50)  # type: ignore[arg-type]
    assert isinstance(chunks, Chunks)
    assert chunks.weights[0] == 10
    assert sum(chunks.weights) == 110


def test_a_token_that_joins_the_prefix_with_the_text_is_the_texts() -> None:
    """As ":black" of "Query:black": it stands in the first chunk alone, and has its weight there."""
    builder = template_builder(row=of(JINA_V4, ("the qu", Slot.TEXT)))
    whole = builder._plain.ids("the quick" + " fox" * 40)
    head = builder._plain.ids("the qu")
    assert whole[: len(head)] != head
    (chunks,) = build(builder, ["ick" + " fox" * 40], max_length=12)
    assert isinstance(chunks, Chunks)
    first, *others = (prompt.token_ids for prompt in chunks.prompts)
    assert {ids[: len(head)] for ids in others} == {head}
    assert (*first, *itertools.chain.from_iterable(ids[len(head) :] for ids in others)) == whole
    of_prefix = sum(1 for _, end in builder._plain.tokenizer.encode("the quick").offsets if end <= len("the qu"))
    assert sum(chunks.weights) == len(whole) - of_prefix


@pytest.mark.parametrize("length", [4, 40, 400])
def test_a_text_that_fits_with_what_stands_behind_it_is_not_divided(length: int) -> None:
    """Joined with the row's own text behind, it may have fewer tokens than apart."""
    builder = template_builder(row=of(JINA_V4, ("q: ", Slot.TEXT, "ick fox")))
    text = "fox " * length + "the qu"
    ids = builder._plain.ids(f"q: {text}ick fox")
    assert len(ids) < len(builder._plain.ids(f"q: {text}")) + len(builder._plain.ids("ick fox"))
    for max_length in (len(ids), len(ids) + 1):
        (prompt,) = build(builder, [text], max_length=max_length)
        assert isinstance(prompt, Prompt)
        assert prompt.token_ids == ids
    (chunks,) = build(builder, [text], max_length=len(ids) - 1)
    assert isinstance(chunks, Chunks)


ADAPTERS = {("query", "retrieval"): 0, ("passage", "retrieval"): 1}


def test_chunks_and_spans_name_their_adapter() -> None:
    """As the prompts of short texts do: without it the engine cannot compute them."""
    builder = text_builder(row=replace(of(XLM_ROBERTA, E5), name="stacked", adapters=ADAPTERS))
    (chunks,) = build(builder, [TEXT], role="passage")
    (short,) = build(builder, ["short"], role="passage")
    (spans,) = builder.build_spans(
        inputs.good(inputs.mixed(["a text"])), ends={0: [2, 6]}, role="passage", task="retrieval", max_length=40,
        truncate="end",
    )  # fmt: skip
    for prompt in (*chunks.prompts, short, spans.prompt):
        assert {one >> VOCABULARY_BITS for one in prompt.token_ids} == {2}


def test_chunks_have_the_placeholder_of_a_text() -> None:
    """Each, where the model was trained with one."""
    template: Template = (Placeholder(28, 28, 1), "Query: ", Slot.TEXT)
    builder = template_builder(row=of(JINA_V4, template))
    (chunks,) = build(builder, [TEXT])
    (short,) = build(builder, ["short"])
    for prompt in (*chunks.prompts, short):
        assert [image.size for image in prompt.images] == [(28, 28)]
        assert len(prompt.token_ids) <= 40
        assert prompt.token_ids[0] == short.token_ids[0]
        assert prompt.around[0] == 0
