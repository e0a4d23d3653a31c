"""The token ids of one template, around the place of the user's item."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PIL import Image

from .tokenizing import Tokens


def own_prefix(prefix: str) -> str:
    """Return the part of a prefix that is never cut: a space at its end may be a piece with the user's first word."""
    return prefix.rstrip(" ")


@dataclass(frozen=True, slots=True)
class Parts:
    """A template in token ids.

    Attributes:
        before: Ids in front of the slot and of the plain text beside it; with a text, of the text's slot.
        prefix: Plain text in front of the user's, tokenised with it; empty in front of images.
        head: Ids of ``prefix`` without a space at its end, which are never cut.
        after: Ids behind the slot and the plain text beside it.
        suffix: Plain text behind the user's, tokenised with it.
        tail: The ids of ``suffix`` alone.
        blank: The image that stands in the prompt of a text, if there is one.
        images_before: How many ids of ``before`` stand in front of the images, if a text stands behind these.
        images_after: How many ids of ``after`` stand in front of the images, if a text stands in front of these.
        hidden: How many tokens the engine computes for ``blank`` beyond its ids.
    """

    before: tuple[int, ...]
    prefix: str
    head: tuple[int, ...]
    after: tuple[int, ...]
    suffix: str = ""
    tail: tuple[int, ...] = ()
    blank: tuple[Image.Image, ...] = ()
    images_before: int | None = None
    images_after: int | None = None
    hidden: int = 0

    def of_text(self, tokens: Tokens, count: int) -> int:
        """Return how many of the first ``count`` tokens of a prefix with its text hold something of the text."""
        border = len(own_prefix(self.prefix))
        return sum(1 for start, end in tokens.encoding.offsets[:count] if start >= border or end > border)

    @property
    def fixed(self) -> int:
        """Number of tokens around the text that is tokenised."""
        return len(self.before) + len(self.after) + self.hidden

    @property
    def least(self) -> int:
        """Number of tokens that are never cut."""
        return self.fixed + len(self.head) + len(self.tail)

    def apart(self) -> Parts:
        """Return the parts with the plain text behind the user's tokenised alone."""
        return replace(self, suffix="", tail=(), after=(*self.tail, *self.after))

    def with_images(self, ids: tuple[int, ...]) -> Parts:
        """Return the parts with the ids of images in their place."""
        before, after = _inserted(self.before, self.images_before, ids), _inserted(self.after, self.images_after, ids)
        return replace(self, before=before, after=after)

    def around(self, length: int, images: int) -> tuple[int, int]:
        """Return the numbers of ids before and after the images in a prompt of ``length`` ids, those of them included.

        Args:
            length: Number of ids of the prompt.
            images: Number of ids of the images.
        """
        if self.images_before is not None:
            return self.images_before, length - self.images_before - images
        behind = len(self.after) - (self.images_after or 0)
        return length - behind - images, behind


def _inserted(ids: tuple[int, ...], place: int | None, more: tuple[int, ...]) -> tuple[int, ...]:
    return ids if place is None else (*ids[:place], *more, *ids[place:])
