"""The prompts that a server of a reranker makes of requests, as ``JinaReranker`` makes them. Needs no vLLM."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from PIL import Image

from ..checkpoints.files import TOKENIZER, locate
from ..checkpoints.prompt_pieces import Special
from ..checkpoints.rankers import ranker_given
from ..checkpoints.ranking import RankingCheckpoint, RankingModel
from ..checkpoints.resolve_ranker import resolve_ranker
from ..engine.plugin_contract import RANKER_KEY
from ..errors import InputError
from ..inputs.images import LoadedImage
from ..inputs.items import BothItem, ImageItem, Item, TextItem, checked_text
from ..inputs.policy import MediaPolicy
from ..prompts.base import Prompt, Truncate
from ..prompts.pairs import PairBuilder
from ..prompts.plain import plain_tokenizer
from .given_ids import Choice, own_ids, prompt_of_ids

STRANGER = (
    "this server judges pairs of a query and a document: send them to /score or /rerank, or a whole prompt as token "
    "ids."
)


class PairPrompts:
    """Makes the prompts of one reranker; safe to share between threads.

    Attributes:
        checkpoint: The checkpoint.
        plain: Its tokenizer.
        strings_are_prompts: False: a string is not a pair.
    """

    strings_are_prompts = False

    def __init__(self, checkpoint: RankingCheckpoint, tokenizer: bytes, *, origin: str, policy: MediaPolicy) -> None:
        """Read a tokenizer.json.

        Raises:
            ConfigError: It belongs to another model.
        """
        self.checkpoint = checkpoint
        self.plain = plain_tokenizer(checkpoint.row, tokenizer, origin=origin)
        self._pairs = PairBuilder(self.plain, checkpoint.row, policy=policy)
        self._image = self._pairs.image_ids
        pieces = checkpoint.row.image
        self._markers = frozenset(self.plain.special(one.token) for one in pieces if isinstance(one, Special))

    def choice(self, told: Any) -> Choice:
        """Return what a request says under ``PROMPT_KEY``.

        Raises:
            InputError: It is not the ids of a whole prompt.
        """
        choice = own_ids(told) if isinstance(told, Mapping) else Choice() if told is None else None
        if choice is None:
            raise InputError(f"got {reprlib.repr(told)} as the choice of a prompt; expected token_ids.")
        return choice

    def of_ids(self, ids: Any, images: Sequence[Image.Image], *, vocabulary: int) -> Prompt:
        """See ``prompt_of_ids``."""
        return prompt_of_ids(ids, images, image=self._image, markers=self._markers, vocabulary=vocabulary)

    def of_item(self, *_: object, **__: object) -> NoReturn:
        """Refuse a prompt of one item.

        Raises:
            InputError: Always.
        """
        raise InputError(STRANGER)

    item = of_item

    def of_pair(
        self, query: Item, document: Item, *, instruction: str | None, max_length: int, truncate: Truncate
    ) -> Prompt:
        """Return the prompt of a query and a document, as ``JinaReranker`` makes it.

        Args:
            query: A text, images that were opened, or both.
            document: As ``query``.
            instruction: What stands in the prompt's place for it; None for the row's.
            max_length: Longest prompt in tokens, as in ``PairBuilder.for_query``.
            truncate: Which end of a longer document to cut, or ``error``.

        Raises:
            InputError: One of them cannot be in a prompt, or the model takes no instruction.
        """
        row = self.checkpoint.row
        if instruction is not None and not row.takes_instruction:
            raise InputError(f"instruction: {self.checkpoint.label} takes none. Leave it out.")
        asked = row.instruction if instruction is None else checked_text(instruction, name="instruction")
        documents = self._pairs.for_query(query, instruction=asked, max_length=max_length)
        (prompt,) = documents.build([document], max_length=max_length, truncate=truncate)
        if isinstance(prompt, InputError):
            raise prompt
        return prompt


def side_of(text: str, images: Sequence[Image.Image], where: str) -> Item:
    """Return a query or a document of a request.

    Args:
        text: Its text; empty where it has images alone.
        images: RGB images.
        where: Its name in errors.

    Raises:
        InputError: It is empty, or not a text.
    """
    loaded: Any = tuple(LoadedImage(pixels=image) for image in images)
    if not loaded:
        return TextItem(position=0, where=where, text=checked_text(text, name=where))
    if not text:
        return ImageItem(position=0, where=where, images=loaded)
    return BothItem(position=0, where=where, text=checked_text(text, name=where), images=loaded)


def served_ranker(hf_config: Any) -> RankingModel | None:
    """Return the row of a reranker that a server of ours serves; None where it serves vectors.

    Args:
        hf_config: The checkpoint's configuration, as vLLM has read it.

    Raises:
        ConfigError: There is no such row here.
    """
    told = getattr(hf_config, RANKER_KEY, None)
    return None if told is None else ranker_given("@".join(told))


def pair_prompts(model: Any, row: RankingModel, *, policy: MediaPolicy) -> PairPrompts:
    """Return the prompts of the reranker that a server serves.

    Args:
        model: vLLM's ``ModelConfig`` of a server of ours.
        row: The row.
        policy: Limits for images.

    Raises:
        ConfigError: The tokenizer belongs to another model.
    """
    checkpoint = resolve_ranker(str(model.model), model.revision, row)
    file = locate(str(model.tokenizer), model.tokenizer_revision).file(TOKENIZER)
    return PairPrompts(checkpoint, file.read_bytes(), origin=repr(str(file)), policy=policy)
