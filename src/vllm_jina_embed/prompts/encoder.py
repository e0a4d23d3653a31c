"""Build prompts for an XLM-RoBERTa checkpoint: ``<s>``, the text's tokens, ``</s>``.

A text can never become a special token. Queries and passages get the same prompt.
Source: transformers, tokenization_xlm_roberta.py; FlagEmbedding, M3Embedder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Tokenizer

from ..errors import ConfigError, InputError
from ..inputs.items import Item, TextItem
from .base import Prompt, Truncate
from .tokenizing import Tokens, tokenize, too_long


class TextPromptBuilder:
    """Turns texts into prompts with one checkpoint's tokenizer; safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Store a tokenizer that ``plain_tokenizer`` returned.

        Raises:
            ConfigError: The tokenizer does not put two tokens around a text.
        """
        self._tokenizer = tokenizer
        self._ends = len(self._tokenizer.encode("").ids)
        if self._ends != 2:
            raise ConfigError(f"the tokenizer puts {self._ends} tokens around a text; expected <s> and </s>.")

    def build(
        self, items: Sequence[Item], *, role: str, text_prefix: str, max_length: int, truncate: Truncate
    ) -> list[Prompt | InputError]:
        """Return one prompt per item, or the error of this item.

        Args:
            items: Texts; an image becomes an error in its place.
            role: Ignored.
            text_prefix: What stands before each text.
            max_length: Longest prompt in tokens, ``<s>`` and ``</s>`` included.
            truncate: Which end of a longer text to cut, or ``error``.

        Raises:
            ConfigError: ``max_length`` leaves no room for a text.
        """
        if max_length <= self._ends:
            raise ConfigError(f"max_length={max_length} leaves no room for a text: <s> and </s> take {self._ends}.")
        texts = [item for item in items if isinstance(item, TextItem)]
        tokens = tokenize(
            self._tokenizer,
            texts,
            text_prefix=text_prefix,
            max_length=max_length,
            truncate=truncate,
            special_tokens=True,
        )
        return [
            _text_prompt(next(tokens), item, max_length, truncate)
            if isinstance(item, TextItem)
            else InputError(
                "got an image; this checkpoint takes texts only.", where=item.where, positions=[item.position]
            )
            for item in items
        ]


def _text_prompt(
    tokens: Tokens | InputError, item: TextItem, max_length: int, truncate: Truncate
) -> Prompt | InputError:
    if isinstance(tokens, InputError):
        return tokens
    ids = tokens.encoding.ids
    if len(ids) <= max_length:
        return Prompt(token_ids=tuple(ids), truncated=tokens.cut)
    if truncate == "error":
        return too_long(item, len(ids), max_length)
    if truncate == "end":
        return Prompt(token_ids=(*ids[: max_length - 1], ids[-1]), truncated=True)
    return Prompt(token_ids=(ids[0], *ids[len(ids) - max_length + 1 :]), truncated=True)


def without_special_tokens(tokenizer_json: str) -> Tokenizer:
    """Return a tokenizer that puts special tokens around a text and finds none in it.

    The unigram vocabulary itself holds ``<s>``, with the best score of all, so switching off the added tokens
    (``encode_special_tokens``) is not enough. A space is put before these entries, which a text never has after it was
    split: ``<s>`` in a text is then tokenised as in sentencepiece, where control symbols match nothing.

    Raises:
        ConfigError: It is not a Unigram tokenizer, or still finds special tokens in a text.
    """
    content = json.loads(tokenizer_json)
    model = content.get("model") or {}
    if model.get("type") != "Unigram":
        raise ConfigError(f"got a tokenizer of type {model.get('type')!r}; XLM-RoBERTa's is 'Unigram'.")
    special = [token for token in content["added_tokens"] if token["special"]]
    for token in special:
        if token["id"] < len(model["vocab"]):
            model["vocab"][token["id"]][0] = " " + token["content"]
    content["added_tokens"] = [token for token in content["added_tokens"] if not token["special"]]
    tokenizer = Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    hostile = "".join(f" {token['content']}" for token in special)
    hostile_ids = set(tokenizer.encode(hostile, add_special_tokens=False).ids) - {model.get("unk_id")}
    if not hostile_ids.isdisjoint(token["id"] for token in special):
        raise ConfigError("the tokenizer finds its special tokens in a text, so users could write them.")
    return tokenizer
