"""Strings of requests: the ids of one that is a whole prompt, and the first tokens of one that is a part of it."""

from __future__ import annotations

from ..errors import InputError
from ..inputs.items import TextItem
from ..prompts.plain import PlainTokenizer
from ..prompts.tokenizing import CHARACTERS, MARGIN, Tokens, encode, tokenize, too_long


def string_ids(
    plain: PlainTokenizer, text: str, *, max_length: int, truncate: str, special_tokens: bool = True, where: str
) -> list[int]:
    """Return the token ids of a text; no more of it is tokenised than fits into the prompt.

    Args:
        plain: The tokenizer.
        text: The text.
        max_length: Number of tokens to keep.
        truncate: ``end`` keeps the first tokens, ``start`` the last; ``error`` keeps all of them.
        special_tokens: Whether the tokenizer adds its own around the text.
        where: The text's place in the request, for errors.

    Raises:
        InputError: It cannot be tokenised, has the id of a special token, is too long and must not be cut, or no token
            would be left of it.
    """
    item = TextItem(text=text, where=where, position=0)
    options = {"text_prefix": "", "max_length": max_length, "truncate": truncate, "special_tokens": special_tokens}
    (tokens,) = tokenize(plain.tokenizer, [item], **options)  # type: ignore[arg-type]
    if isinstance(tokens, InputError):
        raise tokens
    ids, own = tokens.encoding.ids, tokens.encoding.special_tokens_mask
    if any(one in plain.special_ids for one, is_own in zip(ids, own, strict=True) if not is_own):
        raise InputError("the tokenizer finds a special token in this text.", where=where)
    if truncate != "error":
        return _shortened(tokens, max_length, truncate, where)
    if len(ids) > max_length:
        raise too_long(item, len(ids), max_length)
    return ids


def _shortened(tokens: Tokens, keep: int, truncate: str, where: str) -> list[int]:
    """Return ``keep`` ids: the tokenizer's own around the text, and the rest of the text."""
    ids = list(tokens.encoding.ids)
    if len(ids) <= keep:
        return ids
    mask = tokens.encoding.special_tokens_mask
    first = next((place for place, special in enumerate(mask) if not special), len(ids))
    last = next((place for place, special in enumerate(reversed(mask)) if not special), 0)
    room = keep - first - last
    if room < 1:
        raise InputError(f"max_length={keep} leaves no room for the text.", where=where)
    text = ids[first : len(ids) - last]
    return ids[:first] + (text[-room:] if truncate == "start" else text[:room]) + ids[len(ids) - last :]


def first_tokens(plain: PlainTokenizer, text: str, most: int, *, where: str) -> str:
    """Return the beginning of a text that takes at most ``most`` tokens as a prompt has it: with no special token.

    Of a long text only the part is tokenised that they come from.

    Args:
        plain: The tokenizer.
        text: The text; all of it is returned if it is short enough.
        most: How many tokens are left, at least one.
        where: The text's place in the request, for errors.

    Raises:
        InputError: It cannot be tokenised, or nothing would be left of it.
    """
    size, left = CHARACTERS * most + MARGIN, text
    while left:
        part = left[:size]
        encoding = encode(plain.tokenizer, part, special_tokens=False)
        if isinstance(encoding, Exception):
            raise InputError(f"the tokenizer fails on this text of {len(text)} characters ({encoding}).", where=where)
        offsets = encoding.offsets
        if len(offsets) > most:  # may be more of a shorter text too, so it is tokenised again
            left = part[: min(offsets[most - 1][1], offsets[most][0], len(part) - 1)]
        elif len(part) == len(left):
            break
        else:
            size *= 2
    if text.strip() and not left.strip():
        raise InputError(f"{most} tokens leave nothing of this text; pass a larger limit.", where=where)
    return left
