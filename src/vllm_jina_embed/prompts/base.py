"""Define a prompt and the builder that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL import Image

from ..errors import InputError
from ..inputs.items import Item

PromptName = Literal["query", "passage"]
Truncate = Literal["end", "start", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The input of the engine for one item.

    Attributes:
        token_ids: Prompt tokens; one image token per image, which the engine expands.
        images: RGB images in the order of their image tokens; empty for text.
        truncated: Whether tokens of the user's text were cut off.
        around: Numbers of tokens before and after the images, which a single vector leaves out; (0, 0) for text.
    """

    token_ids: tuple[int, ...]
    images: tuple[Image.Image, ...] = ()
    truncated: bool = False
    around: tuple[int, int] = (0, 0)


class Builder(Protocol):
    """Turns items into prompts; safe to share between threads."""

    def build(
        self, items: Sequence[Item], *, role: str, text_prefix: str, max_length: int, truncate: Truncate
    ) -> list[Prompt | InputError]:
        """Return one prompt per item, or the error of this item; see ``PromptBuilder.build``."""
        ...
