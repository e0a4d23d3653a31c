"""One checkpoint of a row: where it is, with its sizes and tasks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .description import DEMO, Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        name: As the user passed it.
        location: Folder or hub repository that the engine loads.
        row: Prompts, start and pooling.
        tasks: Tasks that these weights serve; the first is the default.
        hidden_size: Length of a full embedding; of a row of a multi-vector where there are these alone.
        matryoshka_sizes: Lengths of an embedding that were trained, ascending; the last is ``hidden_size``.
        token_dimensions: Length of one row of a multi-vector; ``hidden_size`` where no projector was trained for them.
        has_adapters: Whether one engine serves every task by adapters.
        min_pixels: Smallest area of an image in pixels; smaller images are enlarged to it.
        max_pixels: Largest area of an image in pixels; larger images are reduced to it.
        max_length: Longest prompt of a text in tokens.
        architecture: The one in config.json; empty for that of the row's first layout.
        options: Default engine arguments of this checkpoint.
    """

    name: str
    location: str
    row: Model
    tasks: tuple[str, ...]
    hidden_size: int
    matryoshka_sizes: tuple[int, ...]
    token_dimensions: int
    has_adapters: bool = False
    min_pixels: int
    max_pixels: int
    max_length: int
    architecture: str = field(default="", compare=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def published(cls, name: str, row: Model, *, sizes: tuple[int, ...], max_length: int) -> Checkpoint:
        """Return a repository with the same weights for all tasks of its row.

        Args:
            name: The repository, such as ``BAAI/bge-m3``.
            row: Its row.
            sizes: Lengths of an embedding that were trained, ascending, the full one last.
            max_length: Longest prompt of a text in tokens.
        """
        return cls(
            name=name,
            location=name,
            row=row,
            tasks=row.tasks,
            hidden_size=sizes[-1],
            matryoshka_sizes=sizes,
            token_dimensions=sizes[-1],
            min_pixels=row.min_pixels,
            max_pixels=row.max_pixels,
            max_length=max_length,
        )

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Old name of ``matryoshka_sizes``, until the next version."""
        warnings.warn("Checkpoint.dimensions is now called matryoshka_sizes", DeprecationWarning, stacklevel=2)
        return self.matryoshka_sizes

    @property
    def family(self) -> Model:
        """Old name of ``row``, until the next version."""
        warnings.warn("Checkpoint.family is now called row", DeprecationWarning, stacklevel=2)
        return self.row

    @property
    def supports_images(self) -> bool:
        """Whether images have embeddings too."""
        return self.row.takes_images

    def was_trained_for(self, dimensions: int) -> bool:
        """Tell whether embeddings of this length were trained."""
        least = self.row.min_dimensions
        return dimensions in self.matryoshka_sizes or (least is not None and least <= dimensions <= self.hidden_size)

    @property
    def has_pixel_bounds(self) -> bool:
        """Whether ``min_pixels`` and ``max_pixels`` decide the size of an image."""
        return self.row.takes_images and not self.row.fixed_size

    @property
    def label(self) -> str:
        """The name without its path, to show to observers and stores."""
        path = Path(self.location)
        return path.name if path.is_absolute() and self.name != DEMO else self.name
