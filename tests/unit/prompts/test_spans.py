"""Chunks of a document as spans of one prompt: every token in one of them, each in the one of its last character."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.prompts.test_chunks import TEMPLATES, around, build, builder_for
from vllm_jina_embed.errors import ConfigError, InputError
from vllm_jina_embed.inputs.documents import chunked
from vllm_jina_embed.inputs.items import good
from vllm_jina_embed.prompts.base import Spans

CHUNKS = [
    "the quick brown fox ",
    "jumps over ",
    "the lazy dog. ",
    "Ein Sonnenuntergang am Strand",
    " 浜辺に沈む",
    "美しい夕日 🙂",
]


def spans(name: str, *documents: Any, **changes: Any) -> list[Any]:
    items, ends = chunked(documents)
    options = {"role": "query", "task": "retrieval", "max_length": 1000, "truncate": "end", **changes}
    return list(builder_for(name).build_spans(good(items), ends=ends, **options))


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_token_of_the_usual_prompt_is_in_one_span(name: str) -> None:
    """The template's with the first and the last; one chunk is the whole prompt."""
    (usual,) = build(builder_for(name), ["".join(CHUNKS)], max_length=1000)
    several, alone = spans(name, CHUNKS, ["".join(CHUNKS)])
    assert several.prompt == alone.prompt == usual
    assert alone.counts == (len(usual.token_ids),)
    assert (sum(several.counts), len(several.counts)) == (len(usual.token_ids), len(CHUNKS))
    before, after = around(name)
    assert several.counts[0] > before
    assert several.counts[-1] > after


@pytest.mark.parametrize("name", ["prefix", "bare", "last token"])
def test_spans_hold_the_tokens_of_their_chunks(name: str) -> None:
    """By what they spell: a space in front of a word is in the token of the word, wherever the caller cut."""
    builder = builder_for(name)
    (found,) = spans(name, CHUNKS)
    before, after = around(name)
    decode, ids, start = builder._plain.tokenizer.decode, list(found.prompt.token_ids), 0
    for number, (chunk, count) in enumerate(zip(CHUNKS, found.counts, strict=True)):
        own = ids[start + before * (number == 0) : start + count - after * (number == len(CHUNKS) - 1)]
        assert decode(own).strip() == chunk.strip()
        start += count


def test_a_word_that_is_cut_belongs_to_where_it_ends() -> None:
    """Its token is not divided; a chunk without any is refused, at its place."""
    whole, cut = spans("bare", ["the ", "fox"], ["the f", "ox"])
    assert whole.counts == cut.counts
    (error,) = spans("bare", ["the", " f", "ox"])
    assert isinstance(error, InputError)
    assert str(error).startswith("documents[0]: chunk 1 has no token of its own: it is part of a word")
    (error,) = spans("prefix", ["f", "ox"])  # the prefix's tokens are not its own
    assert "documents[0]: chunk 0 has no token of its own" in str(error)


def test_a_document_that_is_too_long_is_its_own_error() -> None:
    """However long; nothing of it is cut."""
    good_one, long, longest = spans("prefix", ["a ", "b"], CHUNKS * 20, CHUNKS * 9000, max_length=60)
    assert isinstance(good_one, Spans)
    for error, where in ((long, 1), (longest, 2)):
        assert str(error).startswith(f"documents[{where}]: got ")
        assert "max_length is 60. Make two documents of it." in str(error)
    with pytest.raises(ConfigError, match="max_length=1 leaves no room"):
        spans("prefix", ["a"], max_length=1)
