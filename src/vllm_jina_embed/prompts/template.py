"""Build prompts for a model with an image template: a text after its prefix, images in a user's turn.

A user's text can never become a special token. The model's row names the template's tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from tokenizers import Tokenizer

from ..checkpoints.description import ImageTemplate
from ..errors import ConfigError, InputError
from ..inputs.images import MediaPolicy
from ..inputs.items import ImageItem, Item, TextItem, opened
from .base import Prompt, Truncate
from .tokenizing import Tokens, tokenize, too_long


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialIds:
    """Token ids of the image template, read from the checkpoint's own tokenizer."""

    vision_start: int
    vision_end: int
    image: int
    turn_start: int
    turn_end: int


class PromptBuilder:
    """Turns items into prompts with one checkpoint's tokenizer; safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer, template: ImageTemplate, *, policy: MediaPolicy) -> None:
        """Store a tokenizer that ``plain_tokenizer`` returned.

        Raises:
            ConfigError: The tokenizer lacks the template's special tokens, or finds them in texts.
        """
        self._tokenizer = tokenizer
        self._policy = policy
        self._heads: dict[str, int] = {}
        names = template.special_tokens
        self.ids = _special_ids(tokenizer, names)
        if not set(self._plain("".join(names.values()))).isdisjoint(astuple(self.ids)):
            raise ConfigError(
                "the tokenizer does not mark the image template's tokens as special, so users could write them."
            )
        self._before = (self.ids.turn_start, *self._plain("user\n"))
        self._image = (self.ids.vision_start, self.ids.image, self.ids.vision_end)
        self._after = {
            role: (*self._plain(instruction), self.ids.turn_end, *self._plain("\n"))
            for role, instruction in template.instruction.items()
        }

    def build(
        self, items: Sequence[Item], *, role: str, text_prefix: str, max_length: int, truncate: Truncate
    ) -> list[Prompt | InputError]:
        """Return one prompt per item, or the error of this item.

        Args:
            items: Texts and images, in any order.
            role: ``query`` or ``passage``.
            text_prefix: Result of ``prefix``.
            max_length: Longest text in tokens, prefix included.
            truncate: Which end of a longer text to cut, or ``error``.

        Raises:
            ConfigError: ``max_length`` leaves no room for a text after its prefix.
        """
        if max_length <= (head := self._head(text_prefix)):
            raise ConfigError(
                f"max_length={max_length} leaves no room for a text: its prefix {text_prefix!r} takes {head} tokens."
            )
        texts = [item for item in items if isinstance(item, TextItem)]
        tokens = tokenize(
            self._tokenizer,
            texts,
            text_prefix=text_prefix,
            max_length=max_length,
            truncate=truncate,
            special_tokens=False,
        )
        prompts: list[Prompt | InputError] = []
        for item in items:
            try:
                if isinstance(item, TextItem):
                    prompts.append(self._text_prompt(next(tokens), item, text_prefix, max_length, truncate))
                else:
                    prompts.append(self._image_prompt(item, role))
            except InputError as error:
                prompts.append(error)
        return prompts

    def _text_prompt(
        self, tokens: Tokens | InputError, item: TextItem, text_prefix: str, max_length: int, truncate: Truncate
    ) -> Prompt:
        if isinstance(tokens, InputError):
            raise tokens
        ids = tokens.encoding.ids
        if len(ids) <= max_length:
            return Prompt(token_ids=tuple(ids), truncated=tokens.cut)
        if truncate == "error":
            raise too_long(item, len(ids), max_length)
        if truncate == "end":
            return Prompt(token_ids=tuple(ids[:max_length]), truncated=True)
        head = sum(1 for start, _ in tokens.encoding.offsets if start < len(text_prefix.rstrip()))
        return Prompt(token_ids=(*ids[:head], *ids[len(ids) - (max_length - head) :]), truncated=True)

    def _image_prompt(self, item: ImageItem, role: str) -> Prompt:
        images = tuple(image.pixels for image in opened(item, self._policy))
        after = self._after[role]
        return Prompt(
            token_ids=(*self._before, *self._image * len(images), *after),
            images=images,
            around=(len(self._before), len(after)),
        )

    def _head(self, text_prefix: str) -> int:
        """Return the number of tokens of a prefix; stored, as there are only a few prefixes."""
        if text_prefix not in self._heads:
            self._heads[text_prefix] = len(self._plain(text_prefix.rstrip()))
        return self._heads[text_prefix]

    def _plain(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _special_ids(tokenizer: Tokenizer, names: Mapping[str, str]) -> SpecialIds:
    by_field = {field: tokenizer.token_to_id(token) for field, token in names.items()}
    ids = {field: token_id for field, token_id in by_field.items() if token_id is not None}
    missing = [names[field] for field in names.keys() - ids.keys()]
    if missing:
        raise ConfigError(f"the tokenizer lacks {', '.join(missing)}; it belongs to another model.")
    return SpecialIds(**ids)
