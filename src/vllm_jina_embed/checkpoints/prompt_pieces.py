"""What the prompts of a row are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Special:
    """A special token by its name, such as ``<s>``; no user's text ever becomes one.

    ``marked`` is whether the published tokenizer says that it is special, which Qwen3's does not say of ``<think>``.
    """

    token: str
    marked: bool = True

    @property
    def plain(self) -> dict[str, str]:
        """What JSON holds of it: a special token is not a text of its spelling."""
        return {"special": self.token}


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A black image of this size in pixels, in the prompts of texts of a model that was trained with one.

    ``tokens`` is how many the engine computes for its patches.
    """

    width: int
    height: int
    tokens: int

    @property
    def plain(self) -> dict[str, list[int]]:
        """What JSON holds of it."""
        return {"placeholder": [self.width, self.height]}


@dataclass(frozen=True, slots=True)
class TokenId:
    """A token by its id, where the published code appends a number; users may write its text, which is an ordinary one.

    Only the prompts of rerankers have one.
    """

    token_id: int

    @property
    def plain(self) -> dict[str, int]:
        """What JSON holds of it."""
        return {"token_id": self.token_id}


class Slot(Enum):
    """Where the user's item stands in a prompt; of a reranker's, the instruction, the query and the document."""

    TEXT = "text"
    IMAGES = "images"
    INSTRUCTION = "instruction"
    QUERY = "query"
    DOCUMENT = "document"

    @property
    def plain(self) -> dict[str, str]:
        """What JSON holds of it: a slot is not a text of its name."""
        return {"slot": self.value}


Template: TypeAlias = tuple[str | Special | Slot | Placeholder | TokenId, ...]
"""A prompt in pieces: plain texts, special tokens and one slot, or both of them; a text's may have a placeholder. The
user's text alone may be cut."""
