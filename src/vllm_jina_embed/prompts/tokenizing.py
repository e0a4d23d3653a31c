"""Tokenise texts at a cost that is bounded by ``max_length``, not by the length of the text.

Of a long text only the part is tokenised that its first (or last) tokens come from. Next to the cut, the tokens may
differ from those of the whole text, so those of the last ``MARGIN`` characters do not count, and a part with too few
others is doubled. This ends where ``max_length`` of the longest tokens would end. Only characters that a tokenizer
drops, such as white space in XLM-RoBERTa's, can take more; if the side to keep has nothing else, they are skipped.

Inside a run longer than the margin that is one piece (a letter, combining marks), the tokens of ``truncate="start"``
can differ from the whole text's, since they depend on where the run begins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding, Tokenizer

from ..errors import InputError
from ..inputs.items import BothItem, TextItem

CHARACTERS = 8
"""Characters per token in the first part that is tried; English has 4 to 5."""
MARGIN = 4096
"""Characters at the cut whose tokens do not count: so many words that the pieces before equal the whole text's."""

DROPPED = 64
"""Least number of characters per token to examine where a tokenizer drops most of them."""
COMPOSED = 4
"""Most characters that become one when a text is normalised."""

_WHITE_SPACE = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*")
_LINE_END = re.compile(r"[\r\n]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a text, or of the part that matters.

    Attributes:
        encoding: Ids and the characters that they come from.
        cut: Whether it is a part, of which only the first (or last) ``max_length`` tokens equal the whole text's.
    """

    encoding: Encoding
    cut: bool = False


def tokenize(
    tokenizer: Tokenizer,
    items: Sequence[TextItem | BothItem],
    *,
    text_prefix: str,
    max_length: int,
    truncate: str | None,
    special_tokens: bool,
    text_suffix: str = "",
    fixed: int = 0,
) -> Iterator[Tokens | InputError]:
    """Yield the tokens of each text after its prefix, or the error of this text.

    Args:
        tokenizer: A tokenizer that neither truncates nor pads.
        items: The texts.
        text_prefix: What stands before each text.
        max_length: Number of tokens to keep.
        truncate: ``end`` keeps the first tokens, ``start`` the last; ``error`` gives an error if a part of the text is
            already too long; None keeps all tokens, whatever they cost.
        special_tokens: Whether the tokenizer adds special tokens around each text.
        text_suffix: What stands behind each text; one that is tokenised in part comes without it.
        fixed: How many of ``max_length`` tokens are the prompt's own and not tokenised here.
    """
    window = math.inf if truncate is None else CHARACTERS * max_length + MARGIN
    whole = [text_prefix + item.text + text_suffix for item in items if len(item.text) <= window]
    encodings = iter(_all(tokenizer, whole, special_tokens))
    for item in items:
        if cut := len(item.text) > window:
            encoding, cut = _part(
                tokenizer, item.text, text_prefix, max_length, truncate == "start", special_tokens, truncate != "error"
            )
            if text_suffix and not cut:
                encoding = encode(tokenizer, text_prefix + item.text + text_suffix, special_tokens)
        else:
            encoding = next(encodings)
        if isinstance(encoding, Exception):
            yield _unreadable(item, encoding)
        elif cut and truncate == "error":
            least = len(encoding) + fixed
            many = f"{len(item.text)} characters and at least {least}"
            count = f"more than {max_length}" if least > max_length else many
            yield too_long(item, count, max_length)
        else:
            yield Tokens(encoding, cut)


SPLIT = "Split the text, or pass truncate='end'."
"""What to do about a text that is too long."""
LONG = "long"
"""The kind of its error."""


def too_long(item: TextItem | BothItem, count: int | str, max_length: int) -> InputError:
    """Return the error of a text of ``count`` tokens."""
    return InputError(
        f"got {count} tokens; max_length is {max_length}. {SPLIT}",
        where=item.where,
        positions=[item.position],
        kind=LONG,
    )


def _unreadable(item: TextItem | BothItem, error: Exception) -> InputError:
    return InputError(
        f"the tokenizer fails on this text of {len(item.text)} characters ({error}). Split the text, or shorten its "
        "white space.",
        where=item.where,
        positions=[item.position],
    )


def _all(tokenizer: Tokenizer, texts: list[str], special_tokens: bool) -> list[Encoding | Exception]:
    """Return the encoding or the error of each text."""
    if len(texts) == 1:
        return [encode(tokenizer, texts[0], special_tokens)]
    together = _translated(lambda: tokenizer.encode_batch(texts, add_special_tokens=special_tokens))
    if isinstance(together, list):
        return together
    return [encode(tokenizer, text, special_tokens) for text in texts]


def encode(tokenizer: Tokenizer, text: str, special_tokens: bool) -> Encoding | Exception:
    """Return the encoding of a text, or the error of the tokenizer."""
    encoding: Encoding | Exception = _translated(lambda: tokenizer.encode(text, add_special_tokens=special_tokens))
    return encoding


def _translated(call: Any) -> Any:
    """Return the result of ``call``, or its error.

    If a search takes too long, tokenizers 0.23 panics with an error that is not an ``Exception``.
    """
    try:
        return call()
    except Exception as error:
        return error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return RuntimeError(str(error))


def _part(
    tokenizer: Tokenizer,
    text: str,
    text_prefix: str,
    max_length: int,
    from_end: bool,
    special_tokens: bool,
    strip: bool = True,
) -> tuple[Encoding | Exception, bool]:
    """Return the encoding of a part of ``text`` that holds the tokens to keep, and whether the rest was left out."""
    size, most = CHARACTERS * max_length, 0
    while size + MARGIN < len(text):
        part = text[-size - MARGIN :] if from_end else _beginning(text, size + MARGIN)
        encoding = encode(tokenizer, text_prefix + part, special_tokens)
        if isinstance(encoding, Exception) or _safe(encoding, len(text_prefix), size, from_end) > max_length:
            return encoding, True
        most = most or max_length * max(DROPPED, COMPOSED * max(map(len, tokenizer.get_vocab())))
        if size >= most:
            counted = part[MARGIN:] if from_end else part[:size]
            if not strip or _has_tokens(encoding, len(text_prefix), size, from_end):
                return encoding, True
            dropped = "".join(set(counted))  # none of them gives a token: the tokens to keep begin behind them
            left = text.rstrip(dropped) if from_end else counted[:1] + text.lstrip(dropped)
            if len(left) <= 1 or len(left) >= len(text):
                return encoding, True
            encoding, _ = _part(tokenizer, left, text_prefix, max_length, from_end, special_tokens)
            return encoding, True
        size *= 2
    return encode(tokenizer, text_prefix + text, special_tokens), False


def _beginning(text: str, length: int) -> str:
    """Return the first characters of ``text``.

    Tokenizers like Qwen2's take white space up to its last line end as one piece of any length. If the cut divides such
    a piece, a line end is added.
    """
    run = _WHITE_SPACE.match(text, length)
    cuts_line_ends = run is not None and _LINE_END.search(text, length, run.end())
    return text[:length] + ("\n" if cuts_line_ends else "")


def _has_tokens(encoding: Encoding, prefix: int, size: int, from_end: bool) -> bool:
    """Tell whether a token comes from the text itself, outside the margin."""
    first, last = (prefix + MARGIN, None) if from_end else (prefix, prefix + size)
    return any(start < end and end > first and (last is None or end <= last) for start, end in encoding.offsets)


def _safe(encoding: Encoding, prefix: int, size: int, from_end: bool) -> int:
    """Count the tokens that do not touch the margin; special tokens have no characters."""
    if from_end:
        return sum(1 for start, end in encoding.offsets if end > start >= prefix + MARGIN)
    return sum(1 for start, end in encoding.offsets if start < end <= prefix + size)
