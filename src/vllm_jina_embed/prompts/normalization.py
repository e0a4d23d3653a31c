"""What a model's published code makes of a text before its tokenizer."""

from __future__ import annotations

import re
import string
from typing import Literal

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WHITE_SPACE = re.compile(r"\s+")


def normalized(text: str, how: Literal["lower", "canonical"] | None) -> str:
    """Return a text as it is tokenised.

    Args:
        text: The user's.
        how: ``lower`` for lower case, each letter for itself; ``canonical`` for lower case, without ASCII punctuation,
            and single spaces for white space, none at the ends; None for the text itself.
            Source: Lowercase of the tokenizers library; transformers, tokenization_siglip.py, canonicalize_text.
    """
    if how is None:
        return text
    if how == "lower":  # Python writes a Greek sigma at a word's end otherwise
        return text.replace("\N{GREEK CAPITAL LETTER SIGMA}", "\N{GREEK SMALL LETTER SIGMA}").lower()
    return _WHITE_SPACE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).strip()
