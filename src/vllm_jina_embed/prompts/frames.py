"""What ``PieceBuilder`` reads of a row, and the same of the prompts of one query's documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from ..checkpoints.layout import Layout
from ..checkpoints.prompt_pieces import Special, Template
from ..checkpoints.token_layer import TokenLayer


class Prompts(Protocol):
    """The prompts of a row; see ``Model`` for each name."""

    @property
    def templates(self) -> Mapping[tuple[str, str], Template]: ...  # noqa: D102 - of Model
    @property
    def image(self) -> Template: ...  # noqa: D102
    @property
    def normalization(self) -> Literal["lower", "canonical"] | None: ...  # noqa: D102
    @property
    def side_multiple(self) -> int | None: ...  # noqa: D102
    @property
    def padding(self) -> Special | None: ...  # noqa: D102
    @property
    def token_weights(self) -> TokenLayer | None: ...  # noqa: D102
    @property
    def layouts(self) -> tuple[Layout, ...]: ...  # noqa: D102
    @property
    def takes_images(self) -> bool: ...  # noqa: D102
    @property
    def takes_both(self) -> bool: ...  # noqa: D102
    def template(self, modality: str, role: str, task: str) -> Template: ...  # noqa: D102
    def adapter(self, role: str, task: str) -> int | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The prompts of one query's documents: the same for both roles and every task.

    Attributes:
        by_modality: The prompt of a document by its modality, ``text``, ``image`` or ``both``; the query stands in it.
        image: As in a row.
        normalization: As in a row.
        side_multiple: As in a row.
        padding: None: pairs are not filled up.
        token_weights: None: tokens of a pair have no weights.
        layouts: None: what a document may be is checked before.
    """

    by_modality: Mapping[str, Template]
    image: Template
    normalization: Literal["lower", "canonical"] | None
    side_multiple: int | None
    padding: None = None
    token_weights: None = None
    layouts: tuple[Layout, ...] = ()

    @property
    def templates(self) -> Mapping[tuple[str, str], Template]:
        """The prompts as a row has them."""
        return {("any", modality): template for modality, template in self.by_modality.items()}

    @property
    def takes_images(self) -> bool:
        """Whether a document may be an image."""
        return "image" in self.by_modality

    @property
    def takes_both(self) -> bool:
        """Whether a document may be a text with images."""
        return "both" in self.by_modality

    def template(self, modality: str, role: str, task: str) -> Template:
        """Return the prompt of a document."""
        return self.by_modality[modality]

    def adapter(self, role: str, task: str) -> int | None:
        """Return None: no prompt has an adapter of its own."""
        return None
