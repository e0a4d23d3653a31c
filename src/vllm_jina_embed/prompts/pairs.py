"""Build the prompts of pairs: a reranker's template around an instruction, a query and a document.

For one query, the template with the query in it is a template with one slot, that of the document. So a document is
tokenised with the plain texts beside it and cut as every text is (``pieces``), and nothing else is ever cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from ..checkpoints.files import TOKENIZER, Location
from ..checkpoints.prompt_pieces import Slot, Template
from ..checkpoints.ranking import RankingModel
from ..errors import ConfigError, InputError
from ..inputs.items import BothItem, ImageItem, Item, TextItem
from ..inputs.policy import MediaPolicy
from .base import Files, Prompt, Truncate
from .frames import Frame
from .item_images import images_of
from .normalization import normalized
from .pieces import PieceBuilder
from .plain import PlainTokenizer, plain_tokenizer
from .tokenizing import tokenize

DOCUMENTS: dict[str, Template] = {
    "text": (Slot.TEXT,),
    "image": (Slot.IMAGES,),
    "both": (Slot.IMAGES, Slot.TEXT),
}
"""By modality, what stands in the place of a document."""


def modality_of(item: Item) -> str:
    """Return ``text``, ``image`` or ``both``."""
    return "text" if isinstance(item, TextItem) else "both" if isinstance(item, BothItem) else "image"


class PairBuilder:
    """Turns queries and documents into prompts, as a row's template says; safe to share between threads."""

    def __init__(self, plain: PlainTokenizer, row: RankingModel, *, policy: MediaPolicy) -> None:
        """Store the tokenizer of one checkpoint and its row.

        Args:
            plain: The tokenizer.
            row: The row.
            policy: Limits for images.
        """
        self._plain, self._row, self._policy = plain, row, policy

    @property
    def image_ids(self) -> tuple[int, ...]:
        """The ids of one image in a prompt, one token for all its patches; none of a model that takes texts."""
        slots: dict[str, Template] = {"text": (Slot.TEXT,)}
        row = self._row
        frame = Frame(
            by_modality=slots, image=row.image, normalization=row.normalization, side_multiple=row.side_multiple
        )
        return PieceBuilder(self._plain, frame, policy=self._policy).image_ids

    def token_id(self, token: str) -> int:
        """Return the id of a token of the vocabulary, by its spelling there.

        Raises:
            ConfigError: There is none.
        """
        found = self._plain.tokenizer.token_to_id(token)
        if found is None:
            raise ConfigError(f"{self._plain.origin}: the vocabulary lacks {token!r}; it belongs to another model.")
        return int(found)

    def for_query(self, query: Item, *, instruction: str, max_length: int) -> DocumentBuilder:
        """Return what builds the prompts of one query's documents; opens the query's images.

        Args:
            query: A text, images, or both.
            instruction: What the prompt has for ``Slot.INSTRUCTION``; without that slot it is not used.
            max_length: Longest prompt in tokens; each image counts as its pieces in the row, as only the engine knows
                how many tokens it has.

        Raises:
            InputError: The query, or the instruction, is of a kind that the row does not take, has a special token, or
                leaves no room for a document; or an image cannot be opened.
        """
        check_modality(query, self._row)
        images, files = _images_of(query, self._row, self._policy)
        text = "" if isinstance(query, ImageItem) else self._normalized(query.text)
        asked = TextItem(position=0, where="instruction", text=self._normalized(instruction))
        counted = TextItem(position=query.position, where=query.where, text=text)
        for item in (counted, asked):
            self._check(item, max_length)
        filled = {
            Slot.INSTRUCTION: (asked.text,),
            Slot.QUERY: (*self._row.image * len(images), text),
        }
        templates: dict[str, Template] = {
            modality: _filled(self._row.template, {**filled, Slot.DOCUMENT: DOCUMENTS[modality]})
            for modality in self._row.modalities
        }
        frame = Frame(
            by_modality=templates,
            image=self._row.image,
            normalization=self._row.normalization,
            side_multiple=self._row.side_multiple,
        )
        pieces = PieceBuilder(self._plain, frame, policy=self._policy)
        least = pieces.least("passage", "")
        if least >= max_length:
            raise InputError(
                f"leaves no room for a document: with what stands around it, it takes {least} tokens of max_length="
                f"{max_length}. Shorten it, or pass a larger max_length.",
                where=query.where,
                positions=[query.position],
            )
        return DocumentBuilder(pieces, self._row, images, files)

    def _normalized(self, text: str) -> str:
        return normalized(text, self._row.normalization)

    def _check(self, item: TextItem, max_length: int) -> None:
        """Check that a text is no longer than a prompt, at a bounded cost, and has no special token."""
        (tokens,) = tokenize(
            self._plain.tokenizer,
            [item],
            text_prefix="",
            max_length=max_length,
            truncate="error",
            special_tokens=False,
        )
        if isinstance(tokens, InputError):
            reason = tokens.reason.partition(" Split the text")[0]
            raise InputError(f"{reason} It is never cut: shorten it.", where=item.where, positions=[item.position])
        if not self._plain.special_ids.isdisjoint(tokens.encoding.ids):
            raise InputError(
                "the tokenizer finds a special token in it. Write it otherwise.",
                where=item.where,
                positions=[item.position],
            )


class DocumentBuilder:
    """Builds the prompts of one query's documents."""

    def __init__(self, pieces: PieceBuilder, row: RankingModel, images: tuple[Image.Image, ...], files: Files) -> None:
        """Store the prompts of one query's documents, and the images and files of the query."""
        self._pieces, self._row, self._images, self._files = pieces, row, images, files
        places = {piece: place for place, piece in enumerate(row.template) if isinstance(piece, Slot)}
        self._document_first = places[Slot.DOCUMENT] < places[Slot.QUERY]

    def build(self, items: Sequence[Item], *, max_length: int, truncate: Truncate) -> list[Prompt | InputError]:
        """Return one prompt per document, or the error of this document.

        Args:
            items: Texts, images and both.
            max_length: As in ``PairBuilder.for_query``.
            truncate: Which end of a document to cut, or ``error``.
        """
        errors: dict[int, InputError] = {}
        for place, item in enumerate(items):
            try:
                check_modality(item, self._row)
            except InputError as error:
                errors[place] = error
        good = [item for place, item in enumerate(items) if place not in errors]
        built = iter(self._pieces.build(good, role="passage", task="", max_length=max_length, truncate=truncate))
        return [errors[place] if place in errors else self._finished(next(built)) for place in range(len(items))]

    def _finished(self, prompt: Prompt | InputError) -> Prompt | InputError:
        """Return the prompt with the images of the query, all of them in the order that the engine takes."""
        if isinstance(prompt, InputError):
            return prompt
        files = prompt.files or (None,) * len(prompt.images)
        if self._document_first:
            images, files = (*prompt.images, *self._images), (*files, *self._files)
        else:
            images, files = (*self._images, *prompt.images), (*self._files, *files)
        if self._row.images_reversed:
            images, files = images[::-1], files[::-1]
        return replace(prompt, images=images, files=files, around=(0, 0), is_both=bool(images))


def _images_of(query: Item, row: RankingModel, policy: MediaPolicy) -> tuple[tuple[Image.Image, ...], Files]:
    """Return the images of a query, and the file of each, or None."""
    if isinstance(query, TextItem):
        return (), ()
    images, files = images_of(query, policy, row.side_multiple)
    return images, files or (None,) * len(images)


def pair_builder(row: RankingModel, location: Location, *, policy: MediaPolicy) -> PairBuilder:
    """Return the builder of a row's prompts with the tokenizer of the checkpoint at ``location``.

    Raises:
        ConfigError: tokenizer.json is missing, or belongs to another model.
    """
    content = location.file(TOKENIZER).read_bytes()
    return read_pair_builder(row, content, policy=policy, origin=f"{str(location)!r}: {TOKENIZER}")


def read_pair_builder(
    row: RankingModel, tokenizer: bytes, *, policy: MediaPolicy, origin: str = f"the server's {TOKENIZER}"
) -> PairBuilder:
    """Return the builder of a row's prompts with the content of a tokenizer.json, which came from ``origin``.

    Raises:
        ConfigError: It is not a tokenizer, or belongs to another model.
    """
    return PairBuilder(plain_tokenizer(row, tokenizer, origin=origin), row, policy=policy)


def check_modality(item: Item, row: RankingModel) -> None:
    """Check that a query or a document is of a kind that a row takes.

    Raises:
        InputError: It is not.
    """
    modality = modality_of(item)
    if modality in row.modalities:
        return
    if not row.takes_images:
        reason = "got an image; this reranker takes texts only."
    else:
        reason = "got a text and an image together; this reranker was not trained for that. Pass one of them alone."
    raise InputError(reason, where=item.where, positions=[item.position])


def _filled(template: Template, slots: dict[Slot, Template]) -> Template:
    """Return a template with pieces in the place of its slots."""
    parts = [slots[piece] if isinstance(piece, Slot) else (piece,) for piece in template]
    return tuple(piece for part in parts for piece in part)
