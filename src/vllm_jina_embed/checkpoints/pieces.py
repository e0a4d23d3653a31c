"""What a prompt is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Special:
    """A special token by its name, such as ``<s>``; no user's text ever becomes one."""

    token: str

    @property
    def plain(self) -> dict[str, str]:
        """What JSON holds of it: a special token is not a text of its spelling."""
        return {"special": self.token}


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A black image of this size in pixels, in the prompts of texts of a model that was trained with one."""

    width: int
    height: int

    @property
    def plain(self) -> dict[str, list[int]]:
        """What JSON holds of it."""
        return {"placeholder": [self.width, self.height]}


class Slot(Enum):
    """Where the user's item stands in a prompt."""

    TEXT = "text"
    IMAGES = "images"

    @property
    def plain(self) -> dict[str, str]:
        """What JSON holds of it: a slot is not a text of its name."""
        return {"slot": self.value}


Template: TypeAlias = "tuple[str | Special | Slot | Placeholder, ...]"
"""A prompt in pieces: plain texts, special tokens and one slot, or both of them; a text's may have a placeholder. The
user's text alone may be cut."""
