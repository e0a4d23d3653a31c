"""Divide texts that are too long at the borders of tokens, and find the tokens of chunks that a caller made.

A text that is too long becomes several prompts, each with the whole template around its part. The chunks of a caller
are spans of one prompt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from ..inputs.items import Item, TextItem
from .base import Chunks, Prompt, Spans, Truncate
from .parts import Parts
from .pieces import PieceBuilder
from .tokenizing import SPLIT, Tokens, tokenize, too_long


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
        own = self._parts[self._row.template("text", role, task)]
        others = iter(self.build([item for item in items if not isinstance(item, TextItem)], **options))
        parts = own.with_images(self._image * len(own.blank)).apart()
        texts = [item for item in map(self._as_tokenized, items) if isinstance(item, TextItem)]
        encoded = tokenize(
            self._plain.tokenizer,
            texts,
            text_prefix=parts.prefix,
            max_length=max_length,
            truncate=None,
            special_tokens=False,
        )

        def finished(prompt: Prompt) -> Prompt:
            return self._finished(self._with_images(prompt, own, own.blank) if own.blank else prompt, role, task)

        def whole(item: TextItem, tokens: Tokens | InputError) -> Prompt | Chunks | InputError:
            found = self._whole(item, tokens, parts, max_length)
            if isinstance(found, Chunks):
                return replace(found, prompts=tuple(map(finished, found.prompts)))
            if isinstance(found, InputError):
                return found
            if own.suffix:  # a text that is not cut is tokenised with it
                return self.build([item], **options | {"truncate": "error"})[0]
            return finished(found)

        wholes = (whole(*one) for one in zip(texts, encoded, strict=True))
        return [next(wholes) if isinstance(item, TextItem) else next(others) for item in items]

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
        """Return one prompt per text, with a span for each of its chunks, or the error of this text.

        A token belongs to the chunk that its last character is in. What stands in front of the text belongs to the
        first one, and what stands behind it to the last.
        Source: jina-ai/late-chunking, chunked_pooling/chunked_eval_tasks.py, _extend_special_tokens.

        Args:
            items: Texts.
            ends: By the position of each, where its chunks end in it, in characters.
            role: As in ``build``.
            task: As in ``build``.
            max_length: As in ``build``; a text that is longer is an error.
            truncate: Not used: a cut would take whole chunks.

        Raises:
            ConfigError: ``max_length`` leaves no room for a text.
        """
        self.build([], role=role, task=task, max_length=max_length, truncate=truncate)
        parts = self._parts[self._row.template("text", role, task)]
        texts = [item for item in items if isinstance(item, TextItem)]
        encoded = zip(texts, self._tokens(texts, parts, max_length, "error"), strict=True)
        found = [self._spans(item, tokens, parts, ends[item.position], max_length) for item, tokens in encoded]
        return [
            one if isinstance(one, InputError) else replace(one, prompt=self._finished(one.prompt, role, task))
            for one in found
        ]

    def _spans(
        self, item: TextItem, tokens: Tokens | InputError, parts: Parts, ends: Sequence[int], max_length: int
    ) -> Spans | InputError:
        """Return the prompt of a text with its spans, or its error."""
        try:
            prompt = self._text_prompt(tokens, item, parts, max_length, "error")
        except InputError as error:
            return InputError(
                error.reason.replace(SPLIT, "Make two documents of it."), where=error.where, positions=error.positions
            )
        assert isinstance(tokens, Tokens)
        counts, own, prefix = [0] * len(ends), 0, 0
        for _, end in tokens.encoding.offsets:
            last = end - 1 - len(parts.prefix)  # where its last character stands in the text
            if last < 0:
                prefix += 1
                continue
            own = max(own, min(bisect_right(ends, last), len(ends) - 1))
            counts[own] += 1
        if 0 in counts:
            return InputError(
                f"chunk {counts.index(0)} has no token of its own: it is part of a word with its neighbour, or the "
                "tokenizer drops it. Join it with the next one.",
                where=item.where,
                positions=[item.position],
            )
        counts[0] += len(parts.before) + prefix
        counts[-1] += len(parts.after)
        return Spans(prompt=prompt, counts=tuple(counts))

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
