"""Tokens that a training added behind a vocabulary keep their ids, whatever is done to keep special tokens out."""

from __future__ import annotations

import json

import pytest
from tokenizers import AddedToken, Tokenizer

from tests.support.tokenizer import make_tokenizer
from tests.support.unigram import make_unigram
from tests.support.wordpiece import make_wordpiece
from vllm_jina_embed.checkpoints.registry import row_named
from vllm_jina_embed.errors import ConfigError
from vllm_jina_embed.prompts.plain import plain_tokenizer

WORDS = ("zebra", "zebra stripes", "a giraffe and zebra")
KINDS = {"xlm-roberta": make_unigram, "snowflake-arctic-embed": make_wordpiece, "jina-v4": make_tokenizer}


def trained_further(tokenizer: Tokenizer) -> Tokenizer:
    """Add a special token, and then two words that are none."""
    tokenizer.no_padding()
    tokenizer.add_special_tokens([AddedToken("[Q]", special=True)])
    tokenizer.add_tokens([AddedToken("zebra"), AddedToken("giraffe")])
    return tokenizer


@pytest.mark.parametrize("name", KINDS)
def test_words_behind_a_special_token_have_their_own_ids(name: str) -> None:
    """The tokenizers library counts them anew where one in front of them is left out: other rows of the embedding."""
    tokenizer = trained_further(KINDS[name]())
    plain = plain_tokenizer(row_named(name), tokenizer.to_str().encode(), origin="here")
    for text in WORDS:
        assert list(plain.ids(text)) == tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.token_to_id("zebra") in plain.ids(text)
    assert plain.special("[Q]") == tokenizer.token_to_id("[Q]")
    assert plain.special("[Q]") not in plain.ids("[Q] a[Q]a  [Q]")


@pytest.mark.parametrize("name", KINDS)
def test_a_gap_before_an_added_token_is_refused(name: str) -> None:
    """The library gives the next free id, and a row would put the file's into its prompts."""
    content = json.loads(trained_further(KINDS[name]()).to_str())
    content["added_tokens"][-1]["id"] += 7
    own = content["added_tokens"][-1]["id"]
    with pytest.raises(ConfigError, match=rf"has id {own} among .* gives it {own - 7}\."):
        plain_tokenizer(row_named(name), json.dumps(content).encode(), origin="here")
