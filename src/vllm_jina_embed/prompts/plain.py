"""Read a checkpoint's tokenizer so that a user's text can never become a special token."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import Tokenizer

from ..checkpoints.description import Model
from ..checkpoints.prompt_pieces import Special
from ..errors import ConfigError
from .tokenizing import encode

KINDS = {"bpe": "BPE", "unigram": "Unigram", "wordpiece": "WordPiece"}
"""By a row's ``kind``, the type of the model in tokenizer.json."""


@dataclass(frozen=True, slots=True)
class PlainTokenizer:
    """A tokenizer that neither cuts nor pads texts, and finds no special token in them.

    Attributes:
        tokenizer: The tokenizer.
        by_name: The ids of all added tokens, by their spelling.
        origin: Where it came from, for errors.
        special_ids: Ids that no text may have.
    """

    tokenizer: Tokenizer
    by_name: Mapping[str, int]
    origin: str
    special_ids: Set[int] = frozenset()

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text, without special tokens around it."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def special(self, token: str) -> int:
        """Return the id of a special token.

        Raises:
            ConfigError: The tokenizer has no such token.
        """
        if token not in self.by_name:
            raise ConfigError(f"{self.origin}: the tokenizer lacks {token}; it belongs to another model.")
        return self.by_name[token]


def plain_tokenizer(row: Model, content: bytes, *, origin: str) -> PlainTokenizer:
    """Return the tokenizer of a checkpoint.

    Args:
        row: The checkpoint's row.
        content: Its tokenizer.json.
        origin: Where that came from, for errors.

    Raises:
        ConfigError: ``content`` is not a tokenizer, or belongs to another model.
    """
    try:
        text = content.decode()
        told = json.loads(text)
        kind, expected = (told.get("model") or {}).get("type"), KINDS[row.kind]
        if kind not in (None, expected):  # old files of BPE name none
            raise ConfigError(
                f"{origin}: got a tokenizer of type {kind!r}; expected the model's own, {expected!r}. Copy the "
                f"tokenizer.json of the model; or if this is another model than {row.label}, describe it by row=."
            )
        added = told.get("added_tokens", [])
        if row.kind == "unigram":
            text = _without_special_tokens(told)
        tokenizer = Tokenizer.from_str(text)
    except ConfigError:
        raise
    except Exception as error:  # tokenizers raises bare exceptions
        raise ConfigError(f"{origin} cannot be read ({error}).") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # "<|image_pad|>" in a user's text stays ordinary text
    _check_ids(tokenizer, json.loads(text).get("added_tokens") or (), origin)
    plain = PlainTokenizer(tokenizer, {token["content"]: token["id"] for token in added}, origin)
    if any(layout.adds_ends for layout in row.layouts):
        _check_ends(plain, row)
    marked = {token["content"] for token in added if token["special"]} - _words_of(told["model"])
    checked = _checked(plain, {*_tokens_of(row), *marked}, told["model"])
    _check_texts(checked, row)
    return checked


def _check_ends(plain: PlainTokenizer, row: Model) -> None:
    """Check that the tokenizer adds the first and the last token of the row's prompts of texts, and no other.

    Raises:
        ConfigError: It adds others, or none.
    """
    got = plain.tokenizer.encode("", add_special_tokens=True)
    for (_, modality), template in row.templates.items():
        ends = [piece.token for piece in (template[0], template[-1]) if isinstance(piece, Special)]
        if modality == "text" and got.ids != [plain.special(token) for token in ends]:
            raise ConfigError(
                f"{plain.origin}: the tokenizer adds {' and '.join(got.tokens) or 'nothing'} around a text; expected "
                f"{' and '.join(ends)}, as the prompts of {row.label} have them. Copy the tokenizer.json of the model."
            )


def _check_ids(tokenizer: Tokenizer, added: Collection[Mapping[str, Any]], origin: str) -> None:
    """Check that added tokens have the ids that the file gives them: the library counts on where there is a gap.

    Raises:
        ConfigError: One has another id.
    """
    for token in added:
        if (own := tokenizer.token_to_id(token["content"])) != token["id"]:
            raise ConfigError(
                f"{origin}: {token['content']!r} has id {token['id']} among the added tokens, and the tokenizer gives "
                f"it {own}. Copy the tokenizer.json of the model."
            )


def _check_texts(plain: PlainTokenizer, row: Model) -> None:
    """Check that no plain text of a row's prompts spells a special token, which it would not be: ``<s>`` is three.

    Raises:
        ConfigError: One does; says how to write it.
    """
    pieces = {piece for template in (row.image, *row.templates.values()) for piece in template}
    texts = [piece for piece in pieces if isinstance(piece, str)]
    for name, one in plain.by_name.items():
        if one in plain.special_ids and len(name) > 2 and not name.isalnum() and any(name in text for text in texts):
            raise ConfigError(
                f"row={row.name!r} has {name!r} in a plain text of its prompts, where it stays text, and "
                f"{plain.origin} has a special token of this name. Write it as a piece of its own: Special({name!r})."
            )


def _tokens_of(row: Model) -> list[str]:
    """Return the special tokens that a row's prompts name."""
    pieces = [*row.image, row.padding, *(piece for template in row.templates.values() for piece in template)]
    return [piece.token for piece in pieces if isinstance(piece, Special)]


def _words_of(model: Mapping[str, Any]) -> set[str]:
    """Return the tokens that BPE merges: one is the same piece of a text whether or not it is marked as special."""
    pairs = model.get("merges") or ()
    return {pair.replace(" ", "", 1) if isinstance(pair, str) else "".join(pair) for pair in pairs}


def _checked(plain: PlainTokenizer, names: Collection[str], model: Mapping[str, Any]) -> PlainTokenizer:
    """Return ``plain`` with the ids of ``names``, which it finds in no text; that of unknown letters may come out.

    Raises:
        ConfigError: The tokenizer lacks one of ``names``, or finds it in a text.
    """
    unknown = {model.get("unk_id"), plain.by_name.get(str(model.get("unk_token")))}
    special = {name: plain.special(name) for name in sorted(names)}
    kept = frozenset(special.values()) - unknown
    together = [between + between.join(special) for between in ("", " ")]
    alone = [form.format(name) for name in special for form in ("{}", "a{}a", ",{},", "\n{}\n")]
    for text in (*together, *alone):
        encoding = encode(plain.tokenizer, text, special_tokens=False)
        ids: Set[int] = kept.intersection(() if isinstance(encoding, Exception) else encoding.ids)
        if found := [name for name, one in special.items() if one in ids]:
            raise ConfigError(
                f"{plain.origin}: the tokenizer finds its special tokens in a text, so users could write them: "
                f"{', '.join(found)}. Copy the tokenizer.json of the model."
            )
    return replace(plain, special_ids=kept)


def _without_special_tokens(content: Mapping[str, Any]) -> str:
    """Return the JSON of a Unigram tokenizer that finds no special token in a text; all ids stay what they are.

    The unigram vocabulary itself holds ``<s>``, with the best score of all, so switching off the added tokens
    (``encode_special_tokens``) is not enough. A space is put before these entries, which a text never has after it was
    split: ``<s>`` in a text is then tokenised as in sentencepiece, where control symbols match nothing. The added
    tokens of these ids get it too, else they would be new ones, with other ids.
    """
    size = len(content["model"]["vocab"])
    spaced = {token["id"]: " " + token["content"] for token in content["added_tokens"] if token["special"]}
    vocabulary = [[spaced.get(place, one[0]), *one[1:]] for place, one in enumerate(content["model"]["vocab"])]
    added = [
        {**token, "content": spaced[token["id"]]} if token["special"] and token["id"] < size else token
        for token in content["added_tokens"]
    ]
    changed = {**content, "added_tokens": added, "model": {**content["model"], "vocab": vocabulary}}
    return json.dumps(changed, ensure_ascii=False)
