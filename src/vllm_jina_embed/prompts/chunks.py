"""Divide texts that are too long into chunks at the borders of tokens, each with the whole template around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..inputs.items import Item, TextItem
from .base import Chunks, Prompt, Truncate
from .pieces import Parts, PieceBuilder
from .tokenizing import Tokens, tokenize, too_long


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an encoding."""

    ids: list[int]


def _tokens(ids: list[int]) -> Tokens:
    part: Any = _Part(ids)
    return Tokens(part)


class ChunkBuilder(PieceBuilder):
    """A builder of prompts that can leave a long text whole."""

    def build_whole(
        self, items: Sequence[Item], *, role: str, task: str, max_length: int, truncate: Truncate
    ) -> list[Prompt | Chunks | InputError]:
        """Return what ``build`` does, but the chunks of each text that is too long; nothing of it is cut off.

        Each text is tokenised as a whole, at a cost that grows with its length. ``truncate`` is for texts with images.
        """
        options: dict[str, Any] = {"role": role, "task": task, "max_length": max_length, "truncate": truncate}
        others = iter(self.build([item for item in items if not isinstance(item, TextItem)], **options))
        parts = self._parts[self._row.template("text", role, task)]
        texts = [item for item in items if isinstance(item, TextItem)]
        encoded = tokenize(
            self._plain.tokenizer,
            texts,
            text_prefix=parts.prefix,
            max_length=max_length,
            truncate=None,
            special_tokens=False,
        )
        whole = (self._whole(*one, parts, max_length) for one in zip(texts, encoded, strict=True))
        return [next(whole) if isinstance(item, TextItem) else next(others) for item in items]

    def _whole(
        self, item: TextItem, tokens: Tokens | InputError, parts: Parts, max_length: int
    ) -> Prompt | Chunks | InputError:
        """Return the prompt of a text, its chunks where it is too long, or its error."""
        room = max_length - len(parts.before) - len(parts.after)
        try:
            if isinstance(tokens, InputError) or len(tokens.encoding.ids) <= room:
                return self._text_prompt(tokens, item, parts, max_length, "error")
            ids, head = tokens.encoding.ids, parts.head_of(tokens)
            if head >= room:
                raise too_long(item, len(ids) + max_length - room, max_length)
            own = [ids[start : start + room - head] for start in range(head, len(ids), room - head)]
            each = [_tokens([*ids[:head], *part]) for part in own]
            prompts = [self._text_prompt(part, item, parts, max_length, "error") for part in each]
        except InputError as error:
            return error
        return Chunks(prompts=tuple(prompts), weights=tuple(map(len, own)))
