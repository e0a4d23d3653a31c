"""Build prompts of pieces: a row's plain texts and special tokens around the user's text, images, or both.

A plain text beside the user's is tokenised together with it: in two parts, ``"Query: "`` and ``"foo"`` have other ids.
Only behind a text that is cut, it is tokenised alone.
A user's text can never become a special token (``plain.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from PIL import Image

from ..checkpoints.adapted_ids import adapted
from ..checkpoints.description import Model
from ..checkpoints.prompt_pieces import Placeholder, Slot, Special, Template
from ..errors import ConfigError, InputError
from ..inputs.image_sizes import in_multiples
from ..inputs.images import MediaPolicy
from ..inputs.items import BothItem, ImageItem, Item, TextItem, opened
from .base import Files, Prompt, Truncate
from .normalization import normalized
from .padding import Padding
from .parts import Parts, own_prefix
from .plain import PlainTokenizer
from .tokenizing import Tokens, tokenize, too_long


class PieceBuilder:
    """Turns items into prompts, as a row's templates say; safe to share between threads.

    Attributes:
        unweighted: See ``Builder.unweighted``.
    """

    def __init__(self, plain: PlainTokenizer, row: Model, *, policy: MediaPolicy, length: int | None = None) -> None:
        """Store the tokenizer of one checkpoint and the prompts of its row.

        Args:
            plain: The tokenizer.
            row: The row.
            policy: Limits for images.
            length: How many tokens the checkpoint takes; only a row with ``padding`` needs it.

        Raises:
            ConfigError: The tokenizer lacks a special token of the row.
        """
        self._plain, self._row, self._policy = plain, row, policy
        self._padding = None if row.padding is None else Padding(plain.special(row.padding.token), length)
        skips = () if row.token_weights is None else row.token_weights.skips
        self.unweighted = frozenset(map(plain.special, skips))
        self._image = self._ids(row.image)
        self._parts = {template: self._compiled(template) for template in row.templates.values()}

    @property
    def image_ids(self) -> tuple[int, ...]:
        """The ids of one image in a prompt."""
        return self._image

    def build(
        self, items: Sequence[Item], *, role: str, task: str, max_length: int, truncate: Truncate
    ) -> list[Prompt | InputError]:
        """Return one prompt per item, or the error of this item.

        Args:
            items: Texts, images and both, in any order; what the row has no template for becomes an error in its place.
            role: ``query`` or ``passage``.
            task: A task of the row, such as ``retrieval``.
            max_length: Longest prompt of a text in tokens, what stands around the text included. Beside images these
                count as their pieces in the row, one token for all patches of an image: only the engine knows how many
                there are, and it refuses a prompt that is too long with them. Images are never cut.
            truncate: Which end of a longer text to cut, or ``error``.

        Raises:
            ConfigError: ``max_length`` leaves no room for a text, or for the padding that the model was trained with.
        """
        items = [self._as_tokenized(item) for item in items]
        own, parts = self._text_parts(role, task)
        if self._padding is not None:
            self._padding.check(max_length)
        if max_length <= parts.least:
            raise ConfigError(
                f"max_length={max_length} leaves no room for a text: what stands around it takes {parts.least} tokens."
            )
        tokens = self._tokens([item for item in items if isinstance(item, TextItem)], parts, max_length, truncate)
        prompts: list[Prompt | InputError] = []
        for item in items:
            try:
                if isinstance(item, TextItem):
                    prompt = self._text_prompt(next(tokens), item, parts, max_length, truncate)
                    prompts.append(self._with_images(prompt, own, own.blank) if own.blank else prompt)
                elif isinstance(item, BothItem):
                    prompts.append(self._both_prompt(item, role, task, max_length, truncate))
                else:
                    prompts.append(self._image_prompt(item, role, task))
            except InputError as error:
                prompts.append(error)
        return [one if isinstance(one, InputError) else self._finished(one, role, task) for one in prompts]

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """See ``Builder.spelled``."""
        return [self._plain.tokenizer.decode([one], skip_special_tokens=False) for one in ids]

    def _text_parts(self, role: str, task: str) -> tuple[Parts, Parts]:
        """Return the parts of a text's prompt, without and with the ids of its placeholder, if it has one."""
        own = self._parts[self._row.template("text", role, task)]
        return own, own.with_images(self._image * len(own.blank))

    def _as_tokenized(self, item: Item) -> Item:
        """Return an item whose text is what the tokenizer of the published code gets."""
        how = self._row.normalization
        return item if how is None or isinstance(item, ImageItem) else replace(item, text=normalized(item.text, how))

    def _finished(self, prompt: Prompt, role: str, task: str) -> Prompt:
        """Return a prompt filled up, if the row says so, whose ids say which adapter computes it, if there are some."""
        if self._padding is not None and not prompt.images:
            prompt = replace(prompt, token_ids=self._padding.fill(prompt.token_ids))
        adapter = self._row.adapter(role, task)
        return prompt if adapter is None else replace(prompt, token_ids=adapted(prompt.token_ids, adapter))

    def _tokens(
        self, items: Sequence[TextItem | BothItem], parts: Parts, max_length: int, truncate: Truncate
    ) -> Iterator[Tokens | InputError]:
        return tokenize(
            self._plain.tokenizer,
            items,
            text_prefix=parts.prefix,
            max_length=max_length,
            truncate=truncate,
            special_tokens=False,
            text_suffix=parts.suffix,
            fixed=parts.fixed,
        )

    def _text_prompt(
        self, tokens: Tokens | InputError, item: TextItem | BothItem, parts: Parts, max_length: int, truncate: Truncate
    ) -> Prompt:
        """Return the prompt of a text whose tokens are known.

        Raises:
            InputError: The text cannot be tokenised, has the id of a special token, or is too long and must not be cut.
        """
        if isinstance(tokens, InputError):
            raise tokens
        ids, truncated, fixed = tokens.encoding.ids, tokens.cut, parts.fixed
        room = max_length - fixed
        if len(ids) > room and truncate == "error" and not truncated:
            raise too_long(item, len(ids) + fixed, max_length)
        if parts.suffix and (truncated or len(ids) > room):
            apart = parts.apart()
            (tokens,) = self._tokens([item], apart, max_length, truncate)
            return self._text_prompt(tokens, item, apart, max_length, truncate)
        if len(ids) > room:
            head, truncated = parts.head, True
            ids = ids[:room] if truncate == "end" else [*head, *ids[len(ids) - (room - len(head)) :]]
        return self._prompt_of(ids, item, parts, truncated=truncated)

    def _prompt_of(
        self, ids: Sequence[int], item: TextItem | BothItem, parts: Parts, *, truncated: bool = False
    ) -> Prompt:
        """Return the prompt of these tokens of a text and its prefix.

        Raises:
            InputError: One is a special token.
        """
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
            reason = next((f": {layout.texts_only}" for layout in self._row.layouts if layout.texts_only), ".")
            raise InputError(
                f"got an image; this checkpoint takes texts only{reason}", where=item.where, positions=[item.position]
            )
        parts = self._parts[self._row.template("image", role, task)]
        images, files = self._images(item)
        return Prompt(
            token_ids=(*parts.before, *self._image * len(images), *parts.after),
            images=images,
            around=(len(parts.before), len(parts.after)),
            files=files,
        )

    def _both_prompt(self, item: BothItem, role: str, task: str, max_length: int, truncate: Truncate) -> Prompt:
        """Return the prompt of a text with its images.

        Raises:
            InputError: The row has none, nothing is left for the text, the text cannot be in a prompt, or an image
                cannot be opened.
        """
        if not self._row.takes_both:
            raise _refused_together(item, takes_images=self._row.takes_images)
        own = self._parts[self._row.template("both", role, task)]
        image_ids = self._image * len(item.images)
        parts = own.with_images(image_ids)
        if max_length <= parts.least:
            raise InputError(
                f"max_length={max_length} leaves no room for its text: what stands around it takes {parts.least} "
                "tokens.",
                where=item.where,
                positions=[item.position],
            )
        (tokens,) = self._tokens([item], parts, max_length, truncate)
        text = self._text_prompt(tokens, item, parts, max_length, truncate)
        images, files = self._images(item)
        return replace(self._with_images(text, own, images), files=files)

    def _images(self, item: ImageItem | BothItem) -> tuple[tuple[Image.Image, ...], Files]:
        """Return the RGB images of an item, as the model's code gives them to the processor, and the files of these."""
        images, multiple = opened(item, self._policy), self._row.side_multiple
        if multiple is not None:
            return tuple(in_multiples(image.pixels, multiple) for image in images), ()
        files = (None if one.data is None or one.media_type is None else (one.data, one.media_type) for one in images)
        return tuple(image.pixels for image in images), tuple(files)

    def _with_images(self, prompt: Prompt, own: Parts, images: tuple[Image.Image, ...]) -> Prompt:
        """Return the prompt of a text, which holds the ids of images, with these."""
        around = own.around(len(prompt.token_ids), len(self._image) * len(images))
        return replace(prompt, images=images, around=around, is_both=True)

    def _compiled(self, template: Template) -> Parts:
        slot = template.index(Slot.TEXT if Slot.TEXT in template else Slot.IMAGES)
        beside = slot  # where the plain text begins that is tokenised with the user's
        while template[slot] is Slot.TEXT and beside > 0 and isinstance(template[beside - 1], str):
            beside -= 1
        beyond = slot + 1  # where that behind it ends
        while template[slot] is Slot.TEXT and beyond < len(template) and isinstance(template[beyond], str):
            beyond += 1
        prefix, suffix = _joined(template[beside:slot]), _joined(template[slot + 1 : beyond])
        before, images_before = self._ids_and_place(template[:beside])
        after, images_after = self._ids_and_place(template[beyond:])
        blanks = [Image.new("RGB", (one.width, one.height)) for one in template if isinstance(one, Placeholder)]
        return Parts(
            before=before,
            prefix=prefix,
            head=self._plain.ids(own_prefix(prefix)),
            after=after,
            suffix=suffix,
            tail=self._plain.ids(suffix),
            blank=tuple(blanks),
            images_before=images_before,
            images_after=images_after,
            hidden=sum(one.tokens - 1 for one in template if isinstance(one, Placeholder)),
        )

    def _ids_and_place(self, pieces: Template) -> tuple[tuple[int, ...], int | None]:
        """Return the ids of pieces, and how many of them stand in front of the images if these are among the pieces."""
        places = [place for place, one in enumerate(pieces) if one is Slot.IMAGES or isinstance(one, Placeholder)]
        if not places:
            return self._ids(pieces), None
        (place,) = places
        first = self._ids(pieces[:place])
        return (*first, *self._ids(pieces[place + 1 :])), len(first)

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


def _joined(pieces: Template) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _refused_together(item: BothItem, *, takes_images: bool) -> InputError:
    """Return the error of a text with an image for a model that was not trained with both together."""
    advice = (
        "Pass fusion='mean' to the embedder for the mean of their two vectors, or embed them as two items."
        if takes_images
        else "It takes texts only: embed the text alone."
    )
    return InputError(
        f"got a text and an image together; this model was not trained for that. {advice}",
        where=item.where,
        positions=[item.position],
    )
