"""Build prompts of pieces: a row's plain texts and special tokens around the user's text or images.

A plain text beside the user's is tokenised together with it: in two parts, ``"Query: "`` and ``"foo"`` have other ids.
A user's text can never become a special token (``plain.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..checkpoints.description import Model, Slot, Special, Template
from ..errors import ConfigError, InputError
from ..inputs.images import MediaPolicy
from ..inputs.items import ImageItem, Item, TextItem, opened
from .base import Prompt, Truncate
from .plain import PlainTokenizer
from .tokenizing import Tokens, tokenize, too_long


@dataclass(frozen=True, slots=True)
class Parts:
    """A template in token ids.

    Attributes:
        before: Ids in front of the slot and of the plain text beside it.
        prefix: Plain text in front of the user's, tokenised with it; empty in front of images.
        head: Number of tokens of ``prefix``, which are never cut.
        after: Ids behind the slot.
    """

    before: tuple[int, ...]
    prefix: str
    head: int
    after: tuple[int, ...]


class PieceBuilder:
    """Turns items into prompts, as a row's templates say; safe to share between threads."""

    def __init__(self, plain: PlainTokenizer, row: Model, *, policy: MediaPolicy) -> None:
        """Store the tokenizer of one checkpoint and the prompts of its row.

        Raises:
            ConfigError: The tokenizer lacks a special token of the row.
        """
        self._plain, self._row, self._policy = plain, row, policy
        self._image = self._ids(row.image)
        self._parts = {template: self._compiled(template) for template in row.templates.values()}

    def build(
        self, items: Sequence[Item], *, role: str, task: str, max_length: int, truncate: Truncate
    ) -> list[Prompt | InputError]:
        """Return one prompt per item, or the error of this item.

        Args:
            items: Texts and images, in any order; what the row has no template for becomes an error in its place.
            role: ``query`` or ``passage``.
            task: ``retrieval``, ``text-matching`` or ``code``.
            max_length: Longest prompt of a text in tokens, what stands around the text included.
            truncate: Which end of a longer text to cut, or ``error``.

        Raises:
            ConfigError: ``max_length`` leaves no room for a text.
        """
        parts = self._parts[self._row.template("text", role, task)]
        fixed = len(parts.before) + len(parts.after)
        if max_length <= fixed + parts.head:
            raise ConfigError(
                f"max_length={max_length} leaves no room for a text: what stands around it takes "
                f"{fixed + parts.head} tokens."
            )
        tokens = tokenize(
            self._plain.tokenizer,
            [item for item in items if isinstance(item, TextItem)],
            text_prefix=parts.prefix,
            max_length=max_length,
            truncate=truncate,
            special_tokens=False,
            fixed=fixed,
        )
        prompts: list[Prompt | InputError] = []
        for item in items:
            try:
                if isinstance(item, TextItem):
                    prompts.append(self._text_prompt(next(tokens), item, parts, max_length, truncate))
                else:
                    prompts.append(self._image_prompt(item, role, task))
            except InputError as error:
                prompts.append(error)
        return prompts

    def _text_prompt(
        self, tokens: Tokens | InputError, item: TextItem, parts: Parts, max_length: int, truncate: Truncate
    ) -> Prompt:
        """Return the prompt of a text whose tokens are known.

        Raises:
            InputError: The text cannot be tokenised, has the id of a special token, or is too long and must not be cut.
        """
        if isinstance(tokens, InputError):
            raise tokens
        ids, truncated = tokens.encoding.ids, tokens.cut
        fixed = len(parts.before) + len(parts.after)
        room = max_length - fixed
        if len(ids) > room:
            if truncate == "error":
                raise too_long(item, len(ids) + fixed, max_length)
            head, truncated = 0, True
            if truncate == "start":
                head = sum(1 for start, _ in tokens.encoding.offsets if start < len(parts.prefix.rstrip()))
            if head >= room:
                raise too_long(item, len(ids) + fixed, max_length)
            ids = ids[:room] if truncate == "end" else [*ids[:head], *ids[len(ids) - (room - head) :]]
        if not self._plain.special_ids.isdisjoint(ids):  # no list of checks at the start knows every tokenizer
            raise InputError(
                "the tokenizer finds a special token in this text. Write it otherwise, or copy the tokenizer.json of "
                "the model.",
                where=item.where,
                positions=[item.position],
            )
        return Prompt(token_ids=(*parts.before, *ids, *parts.after), truncated=truncated)

    def _image_prompt(self, item: ImageItem, role: str, task: str) -> Prompt:
        if not self._row.takes_images:
            raise InputError(
                "got an image; this checkpoint takes texts only.", where=item.where, positions=[item.position]
            )
        parts = self._parts[self._row.template("image", role, task)]
        images = tuple(image.pixels for image in opened(item, self._policy))
        return Prompt(
            token_ids=(*parts.before, *self._image * len(images), *parts.after),
            images=images,
            around=(len(parts.before), len(parts.after)),
        )

    def _compiled(self, template: Template) -> Parts:
        (slot,) = (place for place, piece in enumerate(template) if isinstance(piece, Slot))
        beside = slot  # where the plain text begins that is tokenised with the user's
        while template[slot] is Slot.TEXT and beside > 0 and isinstance(template[beside - 1], str):
            beside -= 1
        prefix = "".join(piece for piece in template[beside:slot] if isinstance(piece, str))
        return Parts(
            before=self._ids(template[:beside]),
            prefix=prefix,
            head=len(self._plain.ids(prefix.rstrip())),
            after=self._ids(template[slot + 1 :]),
        )

    def _ids(self, pieces: Template) -> tuple[int, ...]:
        """Return the ids of special tokens and of plain texts, those that stand side by side as one text."""
        ids: list[int] = []
        text = ""
        for piece in pieces:
            if isinstance(piece, Special):
                ids += [*self._plain.ids(text), self._plain.special(piece.token)]
                text = ""
            elif isinstance(piece, str):
                text += piece
        return (*ids, *self._plain.ids(text))
