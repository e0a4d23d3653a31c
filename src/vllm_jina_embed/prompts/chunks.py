"""Divide texts that are too long at the borders of tokens, and find the tokens of chunks that a caller made.

A text that is too long becomes several prompts, each with the whole template around its part. The chunks of a caller
are spans of one prompt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import InputError
from ..inputs.items import Item, TextItem
from .base import Chunks, Prompt, Spans, Truncate
from .parts import Parts
from .pieces import PieceBuilder
from .tokenizing import SPLIT, Tokens, tokenize


class ChunkBuilder(PieceBuilder):
    """A builder of prompts that can leave a long text whole."""

    def build_whole(
        self, items: Sequence[Item], *, role: str, task: str, max_length: int, truncate: Truncate
    ) -> list[Prompt | Chunks | InputError]:
        """Return what ``build`` does, but the chunks of each text that is too long; nothing of it is cut off.

        Each text is tokenised as a whole, at a cost that grows with its length. ``truncate`` is for texts with images.
        """
        others = iter(
            self.build(
                [item for item in items if not isinstance(item, TextItem)],
                role=role,
                task=task,
                max_length=max_length,
                truncate=truncate,
            )
        )
        own, parts = self._text_parts(role, task)
        texts = [item for item in map(self._as_tokenized, items) if isinstance(item, TextItem)]

        def finished(prompt: Prompt) -> Prompt:
            return self._finished(self._with_images(prompt, own, own.blank) if own.blank else prompt, role, task)

        def whole(item: TextItem, tokens: Tokens | InputError) -> Prompt | Chunks | InputError:
            try:
                found = self._whole(item, tokens, parts, max_length)
            except InputError as error:
                return error
            if isinstance(found, Chunks):
                return replace(found, prompts=tuple(map(finished, found.prompts)))
            return finished(found)

        wholes = (whole(*one) for one in zip(texts, self._encoded(texts, parts, max_length), strict=True))
        return [next(wholes) if isinstance(item, TextItem) else next(others) for item in items]

    def _encoded(self, texts: Sequence[TextItem], parts: Parts, max_length: int) -> Iterator[Tokens | InputError]:
        """Yield all tokens of each text."""
        return tokenize(
            self._plain.tokenizer,
            texts,
            text_prefix=parts.prefix,
            text_suffix=parts.suffix,
            max_length=max_length,
            truncate=None,
            special_tokens=False,
        )

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

    def _whole(self, item: TextItem, tokens: Tokens | InputError, parts: Parts, max_length: int) -> Prompt | Chunks:
        """Return the prompt of a text, or its chunks where it is too long.

        Raises:
            InputError: The text cannot be tokenised, or has the id of a special token.
        """
        if isinstance(tokens, InputError) or len(tokens.encoding.ids) + parts.fixed <= max_length:
            return self._text_prompt(tokens, item, parts, max_length, "error")
        if parts.suffix:  # behind each chunk it is tokenised alone
            apart = parts.apart()
            (alone,) = self._encoded([item], apart, max_length)
            return self._whole(item, alone, apart, max_length)
        ids, room, head = tokens.encoding.ids, max_length - parts.fixed, parts.head
        starts = range(room, len(ids), room - len(head))
        own = [ids[:room], *(ids[start : start + room - len(head)] for start in starts)]
        prompts = [
            self._prompt_of(part if place == 0 else [*head, *part], item, parts) for place, part in enumerate(own)
        ]
        return Chunks(prompts=tuple(prompts), weights=(parts.of_text(tokens, room), *map(len, own[1:])))
