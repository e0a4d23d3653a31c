"""Prompts of pieces: one run of plain text, special tokens by name, and what a cut leaves alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tests.support.builders import builder_of, template_builder, text_builder
from tests.support.images import noise
from tests.support.tokenizer import SPECIAL, make_tokenizer
from tests.support.unigram import MASK, make_unigram
from vllm_jina_embed.checkpoints.description import Model
from vllm_jina_embed.checkpoints.prompt_pieces import Slot, Special, Template
from vllm_jina_embed.checkpoints.table.bge import XLM_ROBERTA
from vllm_jina_embed.checkpoints.table.jina_v4 import JINA_V4
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.pieces import PieceBuilder

START, END = Special("<|im_start|>"), Special("<|im_end|>")
CHAT: Template = (
    START,
    "system\nFind it.",
    END,
    "\n",
    START,
    "user\n",
    "Query: ",
    Slot.TEXT,
    END,
    "\n",
    START,
    "answer\n",
)
EOS: Template = ("Instruct: find\nQuery:", Slot.TEXT, Special("<|vision_end|>"))
E5: Template = (Special("<s>"), "query: ", Slot.TEXT, Special("</s>"))
TEXTS = ["fox", " the  quick\n", "日本語", "\n\n brown", "a: b", "ｆｕｌｌ"]


def of(row: Model, template: Template) -> Model:
    """Return a row of texts with this prompt for both roles."""
    return replace(row, templates={("any", "text"): template}, image=())


def ids_of(builder: PieceBuilder, item: Any, *, max_length: int = 1000, truncate: Any = "error") -> list[int]:
    (prompt,) = builder.build(
        inputs.mixed([item]), role="query", task="retrieval", max_length=max_length, truncate=truncate
    )
    assert isinstance(prompt, Prompt)
    return list(prompt.token_ids)


def spelled(template: Template, text: str) -> str:
    """Return the prompt as one string, which a tokenizer that reads special tokens gets."""
    return "".join(text if piece is Slot.TEXT else getattr(piece, "token", piece) for piece in template)


def make_wordpiece() -> Tokenizer:
    """Return a small tokenizer in the layout of BERT's, to which ``]`` is unknown; ``[UNK]`` is special too."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "represent", "this", ":", "fox", "the", "[", "cl", "##s"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = {word: number for number, word in enumerate([*words, *letters, *(f"##{one}" for one in letters[:18])])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(words[:5])
    return tokenizer


@pytest.mark.parametrize("template", [CHAT, EOS, ("Query: ", Slot.TEXT), (Slot.TEXT,), (Slot.TEXT, END)])
@pytest.mark.parametrize("text", TEXTS)
def test_a_prompt_has_the_ids_of_the_whole_string(template: Template, text: str) -> None:
    """Plain pieces and the text are one run, and special tokens are looked up by name."""
    builder = template_builder(row=of(JINA_V4, template))
    assert ids_of(builder, text) == make_tokenizer().encode(spelled(template, text), add_special_tokens=False).ids


@pytest.mark.parametrize("text", TEXTS)
def test_a_sentencepiece_prompt_has_the_ids_of_the_official_one(text: str) -> None:
    """The tokenizer puts both ends there by itself; here they stand in the row."""
    assert ids_of(text_builder(row=of(XLM_ROBERTA, E5)), text) == make_unigram().encode(f"query: {text}").ids


def test_pieces_by_themselves_are_other_ids() -> None:
    """So the tests above compare two different things."""
    tokenizer = make_tokenizer()
    joined = tokenizer.encode("Query: fox").ids
    assert joined != tokenizer.encode("Query: ").ids + tokenizer.encode("fox").ids
    whole = make_unigram().encode("query: fox", add_special_tokens=False).ids
    parts = [make_unigram().encode(part, add_special_tokens=False).ids for part in ("quer", "y: fox")]
    assert whole != parts[0] + parts[1]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("length", [1, 2, 5, 9])
def test_a_cut_takes_from_the_text_alone(kind: str, length: int) -> None:
    """At either end; every piece before and behind it stays, whatever is left of the text."""
    text = "the quick brown fox " * 5
    builder, template = (
        (template_builder(row=of(JINA_V4, CHAT)), CHAT)
        if kind == "bpe"
        else (text_builder(row=of(XLM_ROBERTA, E5)), E5)
    )
    whole = ids_of(builder, text)
    slot = template.index(Slot.TEXT)
    tokenizer = make_tokenizer() if kind == "bpe" else make_unigram()
    after = tokenizer.encode(spelled(template[slot + 1 :], ""), add_special_tokens=False).ids
    head = len(tokenizer.encode(spelled(template[:slot], "").rstrip(), add_special_tokens=False).ids)
    limit = head + length + len(after)
    assert ids_of(builder, text, max_length=limit, truncate="end") == whole[: head + length] + after
    assert ids_of(builder, text, max_length=limit, truncate="start") == whole[:head] + whole[-length - len(after) :]
    assert ids_of(builder, text, max_length=len(whole), truncate="error") == whole


def test_what_is_too_long_is_told_in_tokens_of_the_whole_prompt() -> None:
    builder = template_builder(row=of(JINA_V4, CHAT))
    text = "the quick brown fox"
    count = len(ids_of(builder, text))
    for long, limit, message in (
        (text, count - 1, f"got {count} tokens"),
        (text * 9000, 50, "got more than 50 tokens"),
    ):
        (error,) = builder.build(inputs.mixed([long]), role="query", task="code", max_length=limit, truncate="error")
        assert isinstance(error, InputError)
        assert f"{message}; max_length is {limit}." in str(error)


def test_characters_that_give_no_token_are_counted_as_characters() -> None:
    """What is too long may have few tokens; both ends are among them."""
    builder = text_builder()
    (error,) = builder.build(
        inputs.mixed(["a" + " " * 200_000]), role="query", task="code", max_length=9, truncate="error"
    )
    assert "got 200001 characters and at least 3 tokens; max_length is 9." in str(error)


def test_no_room_for_a_text_names_what_stands_around_it() -> None:
    builder = template_builder(row=of(JINA_V4, EOS))
    around = len(make_tokenizer().encode(EOS[0]).ids) + 1
    with pytest.raises(ConfigError, match=f"max_length={around} leaves no room .* around it takes {around} tokens"):
        ids_of(builder, "fox", max_length=around)


def test_a_role_and_a_task_choose_the_prompt() -> None:
    """A symmetric task has the query's; images follow the role too where the row has two prompts."""
    builder = template_builder()
    first = [
        builder.build(inputs.texts(["x"]), role=role, task=task, max_length=99, truncate="end")[0].token_ids
        for role, task in (("query", "code"), ("passage", "code"), ("passage", "text-matching"))
    ]
    expected = [make_tokenizer().encode(prefix + "x").ids for prefix in ("Query: ", "Passage: ", "Query: ")]
    assert [list(ids) for ids in first] == expected


def test_images_stand_in_their_slot_with_what_is_around_them() -> None:
    pieces = (START, "user\n", "See ", Slot.IMAGES, " Look.", END, "\n")
    row = replace(JINA_V4, templates={("any", "text"): (Slot.TEXT,), ("any", "image"): pieces})
    (prompt,) = template_builder(row=row).build(
        inputs.mixed([[noise(9, 9), noise(9, 9)]]), role="query", task="code", max_length=9, truncate="error"
    )
    assert isinstance(prompt, Prompt)
    one = "<|vision_start|><|image_pad|><|vision_end|>"
    whole = f"<|im_start|>user\nSee {one * 2} Look.<|im_end|>\n"
    assert list(prompt.token_ids) == make_tokenizer().encode(whole).ids
    before, after = prompt.around
    assert len(prompt.token_ids) == before + 6 + after
    assert list(prompt.token_ids[:before]) == make_tokenizer().encode("<|im_start|>user\nSee ").ids


@pytest.mark.parametrize(
    ("row", "content", "special"),
    [
        (of(JINA_V4, CHAT), make_tokenizer().to_str(), SPECIAL),
        (of(XLM_ROBERTA, E5), make_unigram().to_str(), ["<s>", "<pad>", "</s>", MASK]),
        (
            replace(of(XLM_ROBERTA, (Special("[CLS]"), Slot.TEXT, Special("[SEP]"))), kind="wordpiece"),
            make_wordpiece().to_str(),
            ["[PAD]", "[CLS]", "[SEP]", "[MASK]"],
        ),
    ],
    ids=["bpe", "unigram", "wordpiece"],
)
def test_no_text_becomes_a_special_token(row: Model, content: str, special: list[str]) -> None:
    """In any family: the ids between the row's own pieces are those of plain text."""
    builder, tokenizer = builder_of(row, content), Tokenizer.from_str(content)
    empty = [tokenizer.token_to_id(name) for name in special]
    own = [tokenizer.token_to_id(piece.token) for piece in row.templates["any", "text"] if isinstance(piece, Special)]
    for name in special:
        for text in (name, f"a {name} b", name * 3, f"{name}{special[0]}"):
            ids = ids_of(builder, text)
            assert [one for one in ids if one in empty] == own, text


@pytest.mark.parametrize(
    ("row", "content"),
    [
        (JINA_V4, make_tokenizer().to_str()),
        (XLM_ROBERTA, make_unigram().to_str()),
        (replace(of(XLM_ROBERTA, (Special("[CLS]"), Slot.TEXT)), kind="wordpiece"), make_wordpiece().to_str()),
    ],
    ids=["bpe", "unigram", "wordpiece"],
)
def test_a_tokenizer_that_would_find_them_is_refused(row: Model, content: str) -> None:
    """Marked as ordinary added tokens, they are found in every text."""
    told = json.loads(content)
    for token in told["added_tokens"]:
        token["special"] = False
    with pytest.raises(ConfigError, match="finds its special tokens in a text, so users could write them"):
        builder_of(row, json.dumps(told))


@pytest.mark.parametrize("split", [None, "\n", ","])
def test_a_tokenizer_that_finds_one_by_itself_is_refused(split: str | None) -> None:
    """A vocabulary of whole words holds it, and nothing in front of it splits it."""
    row = replace(of(XLM_ROBERTA, (Special("[CLS]"), Slot.TEXT, Special("[SEP]"))), kind="wordpiece")
    tokenizer = make_wordpiece()
    tokenizer.normalizer = normalizers.NFC()
    told = json.loads(tokenizer.to_str())
    splitting = pre_tokenizers.Split(split or "", "removed")
    tokenizer.pre_tokenizer = splitting
    told["pre_tokenizer"] = None if split is None else json.loads(tokenizer.to_str())["pre_tokenizer"]
    with pytest.raises(ConfigError, match=r"^test: the tokenizer finds its special tokens .*: \[.*\]\. Copy the tok"):
        builder_of(row, json.dumps(told))


def test_a_vocabulary_that_needs_no_merges_is_no_way_around() -> None:
    """BPE with ``ignore_merges`` takes a whole piece from its vocabulary."""
    vocabulary = {"</s>": 0, "a": 1, "<": 2, "/": 3, "s": 4, ">": 5}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], ignore_merges=True))
    tokenizer.add_special_tokens(["</s>"])
    with pytest.raises(ConfigError, match=r"finds its special tokens in a text, .*: </s>"):
        builder_of(of(JINA_V4, (Slot.TEXT, Special("</s>"))), tokenizer.to_str())


def test_a_special_token_that_no_check_at_the_start_foresees_is_an_error_of_its_text() -> None:
    """Here the normaliser makes it of another letter. The other texts are embedded."""
    row = replace(of(XLM_ROBERTA, (Special("[CLS]"), Slot.TEXT, Special("[SEP]"))), kind="wordpiece")
    tokenizer = make_wordpiece()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace("§", "[SEP]")])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    first, second = builder_of(row, tokenizer.to_str()).build(
        inputs.mixed(["the fox", "the §"]), role="query", task="retrieval", max_length=99, truncate="end"
    )
    assert isinstance(first, Prompt)
    assert isinstance(second, InputError)
    assert (second.positions, "finds a special token in this text" in str(second)) == ((1,), True)


def test_a_tokenizer_that_fails_on_what_it_does_not_know_is_one_all_the_same() -> None:
    """The texts that it fails on are errors of their own."""
    row = replace(of(XLM_ROBERTA, (Special("[CLS]"), Slot.TEXT, Special("[SEP]"))), kind="wordpiece")
    told = json.loads(make_wordpiece().to_str())
    told["model"]["unk_token"] = "[NONE]"
    first, second = builder_of(row, json.dumps(told)).build(
        inputs.mixed(["the fox", "日本"]), role="query", task="retrieval", max_length=99, truncate="end"
    )
    assert isinstance(first, Prompt)
    assert isinstance(second, InputError)


def test_a_word_that_somebody_marked_as_special_is_a_word() -> None:
    """It has the id that BPE gives it anyway, as in version 0.1."""
    tokenizer = make_tokenizer()
    merged = [token for token in sorted(tokenizer.get_vocab()) if token.isascii() and token.isalpha() and token[1:]]
    tokenizer.add_special_tokens(merged[:3])
    for word in merged[:3]:
        ids = ids_of(template_builder(tokenizer), word)
        assert ids == make_tokenizer().encode(f"Query: {word}").ids


def test_a_prompt_that_grows_into_the_text_is_never_longer_than_it_may_be() -> None:
    """The text begins with a mark that goes with the prompt's last letter, so more tokens hold a part of the prompt."""
    builder = template_builder(row=of(JINA_V4, ("the qu", Slot.TEXT)))
    text = "\u0301" + " fox" * 9
    head = builder._plain.ids("the qu")
    for limit in range(4, 12):
        (prompt,) = builder.build(
            inputs.mixed([text]), role="query", task="retrieval", max_length=limit, truncate="start"
        )
        assert isinstance(prompt, Prompt)
        assert prompt.token_ids == (*head, *builder._plain.ids(" fox" * (limit - len(head))))


def test_a_long_text_that_fits_has_the_tokens_of_any_limit() -> None:
    """It is tokenised with what stands behind it, though its many characters could have been too many tokens."""
    builder = template_builder(row=of(JINA_V4, ("q: ", Slot.TEXT, "ick fox")))
    text = " " * 9000 + "the qu"
    ids = builder._plain.ids(f"q: {text}ick fox")
    for truncate in ("end", "start", "error"):
        for limit in (len(ids), len(ids) + 9, 9999):
            (prompt,) = builder.build(
                inputs.mixed([text]), role="query", task="retrieval", max_length=limit, truncate=truncate
            )
            assert isinstance(prompt, Prompt)
            assert (prompt.token_ids, prompt.truncated) == (ids, False), (truncate, limit)


def test_a_special_token_that_the_tokenizer_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"test: the tokenizer lacks <\|endoftext-x\|>; it belongs to another model"):
        template_builder(row=of(JINA_V4, (Slot.TEXT, Special("<|endoftext-x|>"))))
