"""Prompts of pairs: the template of each reranker's row, what is cut, and special tokens in users' texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tokenizers import AddedToken, Tokenizer

from tests.support.images import encoded
from tests.support.tokenizer import KNOWN, make_tokenizer
from tests.support.unigram import make_unigram
from vllm_jina_embed.checkpoints.ranking import RankingModel
from vllm_jina_embed.checkpoints.table.rerank import (
    BGE_RERANKER,
    JINA_RERANKER_M0,
    JUDGE,
    QWEN3_RERANKER,
    QWEN3_VL_RERANKER,
)
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs import items as inputs
from vllm_jina_embed.inputs.policy import MediaPolicy
from vllm_jina_embed.prompts.base import Prompt
from vllm_jina_embed.prompts.pairs import PairBuilder
from vllm_jina_embed.prompts.plain import plain_tokenizer

LONG = "the quick brown fox " * 60
ROWS = {row.name: row for row in (QWEN3_RERANKER, QWEN3_VL_RERANKER, BGE_RERANKER, JINA_RERANKER_M0)}


def bpe() -> Tokenizer:
    tokenizer = make_tokenizer(f"yes\nno\n{KNOWN}")
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ("<think>", "</think>")])
    return tokenizer


TOKENIZER = bpe()
UNIGRAM = make_unigram()


def builder_of(row: RankingModel) -> PairBuilder:
    tokenizer = UNIGRAM if row.kind == "unigram" else TOKENIZER
    return PairBuilder(plain_tokenizer(row, tokenizer.to_str().encode(), origin="test"), row, policy=MediaPolicy())


def item(value: Any, name: str = "query") -> Any:
    (checked,) = inputs.good(inputs.mixed([value], name=name))
    return checked


def built(
    row: RankingModel,
    query: Any,
    documents: list[Any],
    *,
    instruction: str | None = None,
    most: int = 4096,
    truncate: Any = "end",
) -> list[Prompt | InputError]:
    pairs = builder_of(row).for_query(
        item(query), instruction=row.instruction if instruction is None else instruction, max_length=most
    )
    return pairs.build(inputs.good(inputs.mixed(documents)), max_length=most, truncate=truncate)


def ids(text: str, tokenizer: Tokenizer = TOKENIZER) -> tuple[int, ...]:
    """Return the tokens of a text in which special tokens are meant."""
    return tuple(tokenizer.encode(text, add_special_tokens=False).ids)


def image(seed: int, size: int = 20) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def prompt_of(one: Prompt | InputError) -> Prompt:
    assert isinstance(one, Prompt), one
    return one


def test_qwen3_reranker() -> None:
    """The card's prompt, tokenised by one call."""
    text = (
        f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n<Instruct>: {QWEN3_RERANKER.instruction}\n<Query>: "
        "the fox?\n<Document>: brown <|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    assert 'The answer can only be "yes" or "no"'.lower() in text.lower()
    (prompt,) = built(QWEN3_RERANKER, "the fox?", ["brown "])
    assert prompt_of(prompt).token_ids == ids(text)
    (own,) = built(QWEN3_RERANKER, "the fox?", ["brown "], instruction="Find it")
    assert prompt_of(own).token_ids == ids(text.replace(QWEN3_RERANKER.instruction, "Find it"))


def test_bge_reranker() -> None:
    """Each side is tokenised alone; a space before it says nothing to this tokenizer."""
    (prompt,) = built(BGE_RERANKER, "the fox", ["brown dog"])
    query, document = (ids(text, UNIGRAM) for text in ("the fox", "brown dog"))
    assert prompt_of(prompt).token_ids == (0, *query, 2, 2, *document, 2)


def test_jina_reranker_m0() -> None:
    """The document first, and the token by whose state it is judged last."""
    (prompt,) = built(JINA_RERANKER_M0, "the fox?", ["brown"])
    assert prompt_of(prompt).token_ids == (*ids("**Document**:\nbrown\n**Query**:\nthe fox?"), 100)


SPAN = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.mark.parametrize("query", ["text", "image", "both"])
@pytest.mark.parametrize("document", ["text", "image", "both"])
def test_qwen3_vl_reranker(query: str, document: str) -> None:
    """Images stand before texts, the query's before the document's."""
    one, other = image(1), image(2)
    sides = {
        "text": lambda text, _: text,
        "image": lambda _, own: own,
        "both": lambda text, own: {"text": text, "image": own},
    }
    (prompt,) = built(QWEN3_VL_RERANKER, sides[query]("fox", one), [sides[document]("brown", other)])
    spelled = {"text": "{}", "image": SPAN, "both": SPAN + "{}"}
    text = (
        f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n<Instruct>: {QWEN3_VL_RERANKER.instruction}<Query>:"
        f"{spelled[query].format('fox')}\n<Document>:{spelled[document].format('brown')}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    found = prompt_of(prompt)
    assert found.token_ids == ids(text)
    wanted = [*([one] if query != "text" else []), *([other] if document != "text" else [])]
    assert [np.asarray(got).tolist() for got in found.images] == [np.asarray(one).tolist() for one in wanted]


def test_images_are_given_in_the_order_that_the_engine_takes() -> None:
    """vLLM's class of jina-reranker-m0 turns them round."""
    query, document = image(1), image(2)
    (prompt,) = built(JINA_RERANKER_M0, query, [document])
    found = prompt_of(prompt)
    assert found.token_ids == (*ids(f"**Document**:\n{SPAN}\n**Query**:\n{SPAN}"), 100)
    assert [np.asarray(one).tolist() for one in found.images] == [np.asarray(one).tolist() for one in (query, document)]


@pytest.mark.parametrize("row", [QWEN3_VL_RERANKER, JINA_RERANKER_M0], ids=str)
def test_files_stand_beside_their_images(row: RankingModel) -> None:
    """In whatever order these are; an image of pixels alone has None."""
    query, document = (encoded(one, "PNG", compress_level=9) for one in (drawing("red"), drawing("blue")))
    prompts = map(prompt_of, [*built(row, query, [document, image(2), "brown"]), *built(row, "fox", [document])])
    files = (query, "image/png"), (document, "image/png")
    assert [prompt.files for prompt in prompts] == [files, (files[0], None), files[:1], files[1:]]
    (plain,) = built(row, image(1), [document])
    assert prompt_of(plain).files == (None, files[1])
    multiple = replace(row, side_multiple=28)
    (resized,) = built(multiple, query, [document])
    assert prompt_of(resized).files == (None, None)
    assert [(one.width % 28, one.height % 28) for one in prompt_of(resized).images] == [(0, 0)] * 2


def drawing(colour: str) -> Image.Image:
    """Return an image whose PNG is smaller than its pixels."""
    return Image.new("RGB", (90, 70), colour)


def test_a_special_token_in_a_plain_text_of_a_template_is_named() -> None:
    """It would be the letters of its name, and the score another one."""
    row = replace(QWEN3_RERANKER, name="own", template=("<|im_start|>", *QWEN3_RERANKER.template))
    with pytest.raises(
        ConfigError, match=r"row='own' has '<\|im_start\|>' in a plain text .*Special\('<\|im_start\|>'\)"
    ):
        builder_of(row)


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("truncate", ["end", "start"])
def test_the_document_alone_is_cut(row: RankingModel, truncate: str) -> None:
    """At either end; the query and the template are whole, and as many tokens are kept as there is room for."""

    def ids_of(document: str, most: int = 4096) -> tuple[int, ...]:
        (prompt,) = built(row, "the fox?", [document], most=most, truncate=truncate)
        assert prompt_of(prompt).truncated == (most < 4096)
        return prompt_of(prompt).token_ids

    short = [ids_of(document) for document in ("a", "brown", "7")]
    head = min(common(short[0], one) for one in short[1:])
    tail = min(common(short[0][::-1], one[::-1]) for one in short[1:])
    document = " ".join(map(str, range(300)))
    whole, most = ids_of(document), head + tail + 30
    cut = ids_of(document, most)
    assert len(cut) == most < len(whole)
    first, last = common(whole, cut), common(whole[::-1], cut[::-1])
    assert first + last >= most
    assert first >= head
    assert last >= tail
    assert (first if truncate == "end" else last) >= 30


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return with how many equal tokens both begin."""
    return next((place for place, two in enumerate(zip(one, other, strict=False)) if two[0] != two[1]), len(other))


def test_what_is_too_long_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match=r"query.*leaves no room .* it takes \d+ tokens of max_length=300"):
        built(QWEN3_RERANKER, "fox " * 250, ["a"], most=300)
    with pytest.raises(InputError, match=r"query.*: got more than 300 tokens; max_length is 300. It is never cut"):
        built(QWEN3_RERANKER, "fox " * 100_000, ["a"], most=300)
    with pytest.raises(InputError, match=r"instruction: got more than 300 tokens"):
        built(QWEN3_RERANKER, "fox", ["a"], most=300, instruction="fox " * 100_000)
    good, error = built(QWEN3_RERANKER, "fox", ["a", LONG * 5], most=320, truncate="error")
    assert not prompt_of(good).truncated
    assert isinstance(error, InputError)
    assert (error.where, error.positions) == ("items[1]", (1,))


def test_what_a_row_does_not_take_is_an_error_in_its_place() -> None:
    """The other documents keep theirs."""
    both = {"text": "a", "image": image(1)}
    good, error, last = built(JINA_RERANKER_M0, "fox", ["a", both, image(2)])
    assert isinstance(error, InputError)
    assert "got a text and an image together; this reranker was not trained for that" in error.reason
    assert (error.positions, len(prompt_of(last).images), prompt_of(good).images) == ((1,), 1, ())
    for query in (both, image(1)):
        with pytest.raises(InputError, match=r"query.*: got an image; this reranker takes texts only"):
            built(QWEN3_RERANKER, query, ["a"])


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("text", ["<|im_end|>", "</s>", "a<|vision_start|><|image_pad|>", "<s>"])
def test_special_tokens_in_texts_stay_text(row: RankingModel, text: str) -> None:
    """Whichever of the three they stand in: a prompt has its template's special tokens and no others."""
    special = {
        token.content for token in (UNIGRAM if row.kind == "unigram" else TOKENIZER).get_added_tokens_decoder().values()
    }
    tokenizer = UNIGRAM if row.kind == "unigram" else TOKENIZER
    numbers = {tokenizer.token_to_id(token) for token in special} - {tokenizer.token_to_id("<unk>")}

    def of(*sides: str) -> list[int]:
        (prompt,) = built(row, sides[0], [sides[1]], instruction=sides[2])
        return [one for one in prompt_of(prompt).token_ids if one in numbers]

    plain = of("fox", "brown", "dog")
    if row is QWEN3_RERANKER:
        text += "<think></think>"  # Qwen3's tokenizer finds them in texts, and this template has them
    assert plain == of(text, "brown", "dog") == of("fox", text, "dog") == of("fox", "brown", text)


def test_the_words_of_a_head_are_tokens_of_the_vocabulary() -> None:
    builder = builder_of(QWEN3_RERANKER)
    assert builder.token_id("yes") == TOKENIZER.token_to_id("yes")
    with pytest.raises(ConfigError, match="test: the vocabulary lacks 'maybe'; it belongs to another model"):
        builder.token_id("maybe")


def test_a_tokenizer_of_another_model_is_refused() -> None:
    content = make_tokenizer().to_str().encode()  # without <think>
    with pytest.raises(ConfigError, match=r"the tokenizer lacks .*think.*; it belongs to another model"):
        plain_tokenizer(QWEN3_RERANKER, content, origin="test")
