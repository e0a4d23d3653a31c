"""Descriptions of rerankers, models that give a query and a document together one score.

A ``RankingModel`` is a row of the table, a ``RankingCheckpoint`` one of its checkpoints; ``description`` has those of
models that embed items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from .heads import Head
from .prompt_pieces import Slot, Template
from .row import Row

Modality = Literal["text", "image", "both"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RankingModel(Row):
    """A row of rerankers: the prompt of a pair, and how a score is made of it.

    Attributes (further ones are those of ``Row``; ``pooling`` is ``first_token`` or ``last_token``):
        template: The prompt, with the slots ``QUERY`` and ``DOCUMENT``, and perhaps ``INSTRUCTION``. Nothing but these
            pieces stands in it. In a slot with images these come first, each as the pieces of ``image``.
        instruction: What stands in ``INSTRUCTION`` unless a caller says otherwise.
        modalities: What a query and a document may be: ``text``, ``image``, and ``both`` if one side was trained with a
            text and images together.
        head: What makes a score of the state of the token that ``pooling`` names.
        images_reversed: Whether vLLM's class takes the images from the last one in the prompt to the first.
    """

    kind_of_result: ClassVar[str] = "scores"
    kind_of_head: ClassVar[str] = "head"
    template: Template
    instruction: str = ""
    modalities: tuple[Modality, ...] = ("text",)
    head: Head
    images_reversed: bool = False

    @property
    def takes_images(self) -> bool:
        """Whether a query or a document may be an image."""
        return "image" in self.modalities

    @property
    def takes_both(self) -> bool:
        """Whether a query or a document may be a text with images, as one item."""
        return "both" in self.modalities

    @property
    def takes_instruction(self) -> bool:
        """Whether the prompt has a place for one."""
        return Slot.INSTRUCTION in self.template

    @property
    def pieces(self) -> Template:
        """Everything that its prompts are made of."""
        return (*self.image, *self.template)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingCheckpoint:
    """One reranker.

    Attributes:
        name: As the user passed it.
        location: Folder or hub repository that the engine loads.
        row: Prompt, start and head.
        min_pixels: Smallest area of an image in pixels; smaller images are enlarged to it.
        max_pixels: Largest area of an image in pixels; larger images are reduced to it.
        max_length: Longest prompt of a pair in tokens.
        architecture: The one in config.json; empty for that of the row's first layout.
    """

    name: str
    location: str
    row: RankingModel
    min_pixels: int
    max_pixels: int
    max_length: int
    architecture: str = ""

    @classmethod
    def published(cls, name: str, row: RankingModel, *, max_length: int) -> RankingCheckpoint:
        """Return a repository of the hub.

        Args:
            name: The repository, such as ``BAAI/bge-reranker-v2-m3``.
            row: Its row.
            max_length: Longest prompt of a pair in tokens.
        """
        return cls(
            name=name,
            location=name,
            row=row,
            min_pixels=row.min_pixels,
            max_pixels=row.max_pixels,
            max_length=max_length,
        )

    @property
    def supports_images(self) -> bool:
        """Whether a query or a document may be an image."""
        return self.row.takes_images

    @property
    def has_pixel_bounds(self) -> bool:
        """Whether ``min_pixels`` and ``max_pixels`` decide the size of an image."""
        return self.row.takes_images and not self.row.fixed_size

    @property
    def label(self) -> str:
        """The name without its path, to show to observers and stores."""
        path = Path(self.location)
        return path.name if path.is_absolute() else self.name
