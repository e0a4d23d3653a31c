"""The prompts that a server makes of requests: the row's own builder makes them, as in the embedder.

Needs no vLLM. ``renderer.py`` gives them to vLLM's paths, ``cohere.py`` to ``/v2/embed``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from itertools import product, takewhile
from typing import Any

from PIL import Image

from ..checkpoints import resolve
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.files import TOKENIZER, locate
from ..checkpoints.prompt_pieces import Placeholder, Slot, Special, Template
from ..checkpoints.registry import row_named
from ..engine.plugin_contract import ROW_KEY, SERVED_TASK_KEY
from ..errors import InputError
from ..inputs.images import LoadedImage
from ..inputs.items import BothItem, ImageItem, Item, TextItem, checked_text
from ..inputs.policy import MediaPolicy
from ..prompts.base import Prompt, Truncate
from ..prompts.chunks import ChunkBuilder
from ..prompts.input_types import input_types
from ..prompts.plain import plain_tokenizer
from ..prompts.tokenizing import encode
from .given_ids import Choice, own_ids, prompt_of_ids
from .strings import string_ids

ROLES = ("query", "passage")
WORD = "fox"


class RowPrompts:
    """Makes the prompts of one checkpoint; safe to share between threads.

    Attributes:
        checkpoint: The checkpoint.
        task: The task of requests that name none.
        plain: Its tokenizer.
        strings_are_prompts: Whether a string with the model's own prefix, and the tokens that the tokenizer adds, is
            the prompt of a text in every role and task. Else the server makes it, by role.
    """

    def __init__(
        self, checkpoint: Checkpoint, tokenizer: bytes, *, origin: str, policy: MediaPolicy, task: str
    ) -> None:
        """Read a tokenizer.json.

        Raises:
            ConfigError: It belongs to another model.
        """
        self.checkpoint, self.task = checkpoint, task
        self.plain = plain_tokenizer(checkpoint.row, tokenizer, origin=origin)
        row = checkpoint.row
        self._builder = ChunkBuilder(self.plain, row, policy=policy, length=checkpoint.max_length)
        self._markers = frozenset(self.plain.special(one.token) for one in row.image if isinstance(one, Special))
        # The tokenizer adds no padding and changes no letters: a server makes such prompts, whatever its words.
        as_written = row.padding is None and row.normalization is None
        self.strings_are_prompts = as_written and all(
            self._is_string(*each) for each in product(ROLES, checkpoint.tasks)
        )

    def choice(self, told: Any) -> Choice:
        """Return what a request says under ``PROMPT_KEY``.

        Raises:
            InputError: It means nothing.
        """
        if told is None:
            return Choice()
        if isinstance(told, Mapping):
            if (choice := own_ids(told)) is not None:
                return choice
            role, task = told.get("role"), told.get("task")
            if {*told} <= {"role", "task"} and role in ROLES and (task is None or task in self.checkpoint.tasks):
                return Choice(role=role, task=task)
        raise InputError(f"got {reprlib.repr(told)} as the choice of a prompt; expected token_ids, or role and task.")

    def of_ids(self, ids: Any, images: Sequence[Image.Image], *, vocabulary: int) -> Prompt:
        """See ``prompt_of_ids``."""
        image = self._builder.image_ids
        return prompt_of_ids(ids, images, image=image, markers=self._markers, vocabulary=vocabulary)

    def of_item(self, item: Item, choice: Choice, *, max_length: int, truncate: Truncate) -> Prompt:
        """Return the prompt of one item, as the embedder makes it.

        Args:
            item: A text, images that were opened, or both.
            choice: Its role and task.
            max_length: Longest prompt of a text in tokens.
            truncate: Which end of a longer text to cut, or ``error``.

        Raises:
            InputError: The model has no prompt of such an item, it depends on a role that was not told, or the item
                cannot be in a prompt.
            ConfigError: ``max_length`` leaves no room for a text.
        """
        modality = "text" if isinstance(item, TextItem) else "both" if isinstance(item, BothItem) else "image"
        role, task = choice.role, choice.task or self.task
        if role is None and self._depends_on_role(modality):
            raise InputError(
                f"input_type is missing: {self.checkpoint.label} has another prompt for each; choose one of "
                f"{', '.join(input_types(self.checkpoint))}.",
                where=item.where,
                positions=[item.position],
            )
        options: dict[str, Any] = {"max_length": max_length, "truncate": truncate}
        (prompt,) = self._builder.build([item], role=role or "passage", task=task, **options)
        if isinstance(prompt, InputError):
            raise prompt
        return prompt

    def of_string(self, text: str, *, max_length: int, truncate: Truncate, where: str) -> Prompt:
        """Return the prompt of a string that has the model's own prefix; only where ``strings_are_prompts``.

        Raises:
            InputError: As ``string_ids``, or there is no text.
        """
        ids = string_ids(
            self.plain, checked_text(text, name=where), max_length=max_length, truncate=truncate, where=where
        )
        return Prompt(token_ids=tuple(ids))

    def item(self, text: str, images: Sequence[Image.Image], where: str, position: int = 0) -> Item:
        """Return the item of a text (which may be empty beside images) and of images.

        Beside images the words that stand behind them in the trained prompt may be sent or left out.

        Raises:
            InputError: The text is empty and there is no image, or it is no text.
        """
        loaded: Any = tuple(LoadedImage(pixels=image) for image in images)
        place: dict[str, Any] = {"where": where, "position": position}
        if not loaded:
            return TextItem(text=checked_text(text, name=where), **place)
        row = self.checkpoint.row
        if not text or (not row.takes_both and text in self._instructions()):
            return ImageItem(images=loaded, **place)
        if not row.takes_both and (own := sorted(self._instructions())):
            raise InputError(
                f'got a text and an image together; beside images only the text "{own[0]}" may stand, or none.',
                where=where,
                positions=[position],
            )
        return BothItem(text=checked_text(text, name=where), images=loaded, **place)

    def _instructions(self) -> set[str]:
        """Return the words that stand behind the images in the prompts of images, where there are some."""
        row = self.checkpoint.row
        pairs = product(ROLES, self.checkpoint.tasks if row.takes_images else ())
        templates = (row.template("image", *each) for each in pairs)
        return {words for template in templates if (words := _words_behind(template))}

    def _depends_on_role(self, modality: str) -> bool:
        row = self.checkpoint.row
        if not any(own == modality for _, own in row.templates):
            return False  # the builder refuses it
        pairs = {(row.template(modality, *each), row.adapter(*each)) for each in product(ROLES, self.checkpoint.tasks)}
        return len(pairs) > 1

    def _is_string(self, role: str, task: str) -> bool:
        """Tell whether the tokenizer makes the prompt of a text out of its plain words."""
        template = self.checkpoint.row.template("text", role, task)
        words = (WORD if one is Slot.TEXT else one for one in template if not isinstance(one, Special | Placeholder))
        encoding = encode(self.plain.tokenizer, "".join(map(str, words)), special_tokens=True)
        item = TextItem(text=WORD, where="text", position=0)
        choice = Choice(role=role, task=task)
        prompt = self.of_item(item, choice, max_length=self.checkpoint.max_length, truncate="error")
        return not isinstance(encoding, Exception) and not prompt.images and tuple(encoding.ids) == prompt.token_ids


def row_prompts(model: Any, *, policy: MediaPolicy) -> RowPrompts:
    """Return the prompts of what a server of vectors serves.

    Args:
        model: vLLM's ``ModelConfig`` of a server of ours.
        policy: Limits for images.
    """
    row = row_named(*getattr(model.hf_config, ROW_KEY))
    checkpoint = resolve.resolve(str(model.model), model.revision, row)
    file = locate(str(model.tokenizer), model.tokenizer_revision).file(TOKENIZER)
    task = getattr(model.hf_config, SERVED_TASK_KEY, None) or checkpoint.tasks[0]
    return RowPrompts(checkpoint, file.read_bytes(), origin=repr(str(file)), policy=policy, task=task)


def _words_behind(template: Template) -> str:
    behind = template[template.index(Slot.IMAGES) + 1 :]
    return "".join(takewhile(lambda piece: isinstance(piece, str), behind))  # type: ignore[arg-type]
