"""The interface of the embedder that adapters call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from .._arrays import Floats
from ..inputs.images import ImageInput
from ..inputs.items import EmbedInput
from ..prompts.base import PromptName
from ..settings import Settings


@runtime_checkable
class Embedder(Protocol):
    """The methods of an embedder that an adapter calls; ``JinaEmbedder`` has them."""

    settings: Settings

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return embeddings ``(n, dimension)`` of questions."""
        ...

    def embed_passages(self, texts: Sequence[str]) -> Floats:
        """Return embeddings ``(n, dimension)`` of documents."""
        ...

    def embed_images(self, images: Sequence[ImageInput]) -> Floats:
        """Return embeddings ``(n, dimension)`` of images, as passages."""
        ...

    def embed(
        self, items: Sequence[EmbedInput], *, prompt_name: PromptName = "passage", show_progress: bool | None = None
    ) -> Floats:
        """Return embeddings ``(n, dimension)`` of texts, images and both, as ``JinaEmbedder.embed`` takes them."""
        ...

    async def aembed_queries(self, texts: Sequence[str]) -> Floats:
        """Await ``embed_queries``."""
        ...

    async def aembed_passages(self, texts: Sequence[str]) -> Floats:
        """Await ``embed_passages``."""
        ...

    async def aembed_images(self, images: Sequence[ImageInput]) -> Floats:
        """Await ``embed_images``."""
        ...

    async def aembed(
        self, items: Sequence[EmbedInput], *, prompt_name: PromptName = "passage", show_progress: bool | None = None
    ) -> Floats:
        """Await ``embed``."""
        ...

    def close(self) -> None:
        """Release the engine."""
        ...

    async def aclose(self) -> None:
        """Await ``close``."""
        ...
