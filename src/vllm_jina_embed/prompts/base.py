"""Define a prompt and the builder that makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from PIL import Image

from ..errors import ConfigError, InputError
from ..inputs.items import Item

PromptName = Literal["query", "passage"]
_ROLES = get_args(PromptName)
Truncate = Literal["end", "start", "error"]
Spelling = Truncate | Literal["END", "START", "NONE"]
SPELLINGS: dict[str, Truncate] = {"END": "end", "START": "start", "NONE": "error"}
"""The words of vLLM and Cohere for what is done with a text that is too long."""


def spelled(truncate: Any) -> Any:
    """Return ``truncate`` in our words, whatever it is; that it is one of them is not checked."""
    return SPELLINGS.get(truncate, truncate) if isinstance(truncate, str) else truncate


def check_role(prompt_name: str) -> None:
    """Check the role of a call.

    Raises:
        ConfigError: ``prompt_name`` is unknown.
    """
    if prompt_name not in _ROLES:
        raise ConfigError(f"prompt_name={prompt_name!r} is unknown; choose one of {', '.join(_ROLES)}.")


Files = tuple[tuple[bytes, str] | None, ...]
"""The encoded bytes and the media type of each image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The input of the engine for one item.

    Attributes:
        token_ids: Prompt tokens; one image token per image, which the engine expands.
        images: RGB images in the order of their image tokens; empty for text.
        truncated: Whether tokens of the user's text were cut off.
        around: Numbers of tokens before and after the images, which a single vector leaves out; (0, 0) for text.
        is_both: Whether the user's text stands beside the images.
        files: For each of ``images`` what its pixels are decoded from, and its media type, if that may be sent in their
            place; None for another one, and empty if there is none at all.
    """

    token_ids: tuple[int, ...]
    images: tuple[Image.Image, ...] = ()
    truncated: bool = False
    around: tuple[int, int] = (0, 0)
    is_both: bool = False
    files: Files = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """The prompts of one text that is too long for one of them.

    Attributes:
        prompts: In the order of the text, each with the whole template around its part.
        weights: How many tokens of the user's text each holds.
    """

    prompts: tuple[Prompt, ...]
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The prompt of a document whose token states are pooled by spans, one for each of its chunks.

    Attributes:
        prompt: The prompt of the whole text.
        counts: How many tokens each span has; they stand side by side, and together they are the whole prompt.
    """

    prompt: Prompt
    counts: tuple[int, ...]


class Builder(Protocol):
    """Turns items into prompts; safe to share between threads."""

    @property
    def unweighted(self) -> Set[int]:
        """Ids of the tokens that have no weight; see ``Model.token_weights``."""
        ...

    def build(
        self, items: Sequence[Item], *, role: str, task: str, max_length: int, truncate: Truncate
    ) -> list[Prompt | InputError]:
        """Return one prompt per item, or the error of this item; see ``PieceBuilder.build``."""
        ...

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """Return the spelling of each token, where a part of a character is U+FFFD."""
        ...

    def build_whole(
        self, items: Sequence[Item], *, role: str, task: str, max_length: int, truncate: Truncate
    ) -> list[Prompt | Chunks | InputError]:
        """Return what ``build`` does, but the chunks of each text that is too long; nothing of it is cut off."""
        ...

    def build_spans(
        self,
        items: Sequence[Item],
        *,
        ends: Mapping[int, Sequence[int]],
        role: str,
        task: str,
        max_length: int,
        truncate: Truncate,
    ) -> list[Spans | InputError]:
        """Return one prompt per text, with a span for each of its chunks; see ``ChunkBuilder.build_spans``."""
        ...
