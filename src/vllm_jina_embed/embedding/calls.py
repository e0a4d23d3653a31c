"""The methods of every embedder: checked lists, roles, streams and scores, over a backend that computes."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from typing import Any

from .._arrays import Floats
from .._closing import Closing
from ..checkpoints.description import Checkpoint
from ..inputs import items as inputs
from ..inputs.images import ImageInput
from ..inputs.items import Checked, EmbedInput
from ..prompts.base import PromptName
from ..settings import Settings, check_on_error
from . import scoring
from .backend import Backend, Request
from .outcomes import Outcome
from .progress import progress_bar
from .streams import astream, stream


class Calls(Closing):
    """The calls of an embedder.

    Attributes:
        settings: The checked settings.
        backend: Computes the vectors.
    """

    settings: Settings
    backend: Backend

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether ``close`` was called."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The description of the checkpoint."""
        return self.settings.checkpoint

    @property
    def model(self) -> str:
        """The checkpoint's name, as it was passed."""
        return self.checkpoint.name

    @property
    def task(self) -> str:
        """A task of the checkpoint, such as ``retrieval``."""
        return self.settings.task

    @property
    def dimensions(self) -> int:
        """Length of the embeddings."""
        return self.settings.dimensions

    @property
    def dimension(self) -> int:
        """Old name of ``dimensions``, until the next version."""
        warnings.warn(f"{type(self).__name__}.dimension is now called dimensions", DeprecationWarning, stacklevel=2)
        return self.settings.dimensions

    @property
    def fingerprint(self) -> str:
        """All settings that change a vector, as one string: equal fingerprints, inputs and roles give equal vectors."""
        return self.settings.fingerprint

    # --- calls ------------------------------------------------------------------------------------------------------

    def embed_queries(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Return embeddings ``(n, dimension)`` of questions; see ``embed`` for overrides and errors."""
        rows: Floats = self._rows(inputs.texts(texts), "query", **overrides)
        return rows

    async def aembed_queries(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Await ``embed_queries``."""
        rows: Floats = await self._arows(inputs.texts(texts), "query", **overrides)
        return rows

    def embed_passages(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Return embeddings ``(n, dimension)`` of documents; see ``embed`` for overrides and errors."""
        rows: Floats = self._rows(inputs.texts(texts), "passage", **overrides)
        return rows

    async def aembed_passages(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Await ``embed_passages``."""
        rows: Floats = await self._arows(inputs.texts(texts), "passage", **overrides)
        return rows

    def embed_images(self, images: Iterable[ImageInput | Iterable[ImageInput]], **overrides: Any) -> Floats:
        """Return embeddings ``(n, dimension)`` of images; here a string is a path or a data URI.

        A list or tuple of images inside ``images`` is one item: the union of its vision spans is averaged.
        See ``embed`` for overrides and errors.
        """
        rows: Floats = self._rows(inputs.images(images), "passage", **overrides)
        return rows

    async def aembed_images(self, images: Iterable[ImageInput | Iterable[ImageInput]], **overrides: Any) -> Floats:
        """Await ``embed_images``."""
        rows: Floats = await self._arows(inputs.images(images), "passage", **overrides)
        return rows

    def embed(self, items: Iterable[EmbedInput], *, prompt_name: PromptName = "passage", **overrides: Any) -> Floats:
        """Return embeddings of texts, images and both together, mixed as they come.

        Args:
            items: A string is text, unless all of it is a ``data:image/...;base64,`` URI or a reference to an image;
                ``pathlib.Path``, bytes, ``BytesIO``, PIL images and uint8 arrays ``(height, width, 3)`` are
                images; a list or tuple of images is one item. ``{"text": ..., "image": ...}`` is one item of both, and
                so is a list of content blocks as LangChain and OpenAI write them: there a string under ``text`` is
                always a text, and one under ``image`` a path or a data URI, as in ``embed_images``. A model that was
                not trained for it refuses such items unless the embedder has ``fusion``.
            prompt_name: ``query`` or ``passage``; decides the texts' prefix; images have none.
            **overrides: ``dimensions``, ``task``, ``show_progress`` and ``on_error`` for this call.

        Returns:
            float32, shape ``(n, dimension)``, rows of L2 norm 1, order kept; ``(0, dimension)`` for no items.

        Raises:
            InputError: Some items cannot be embedded; names every position. ``error.embeddings`` holds the other rows,
                with NaN rows for the bad items; it is None where ``items`` as a whole is not a list.
            ConfigError: ``dimensions`` is not a Matryoshka size, or the checkpoint does not serve ``task``.
            ClosedError: After ``close()``.
        """
        rows: Floats = self._rows(inputs.mixed(items), prompt_name, **overrides)
        return rows

    async def aembed(
        self, items: Iterable[EmbedInput], *, prompt_name: PromptName = "passage", **overrides: Any
    ) -> Floats:
        """Await ``embed``."""
        rows: Floats = await self._arows(inputs.mixed(items), prompt_name, **overrides)
        return rows

    def embed_multi_vector(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName = "passage",
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> list[Floats]:
        """Return one vector per token of each text or image, for late interaction (MaxSim).

        Every token of the prompt has its row: a text's prefix, and around an image's tokens the words that ask the
        model to describe it. A checkpoint whose projector was trained for this (``jinaai/jina-embeddings-v4``) gives
        rows of 128 numbers; other checkpoints give each token's normalised state, which was not trained for this.
        Matryoshka sizes do not apply.

        Args:
            items: As in ``embed``.
            prompt_name: As in ``embed``.
            task: For this call; None takes the embedder's.
            show_progress: For this call; None takes the embedder's.

        Returns:
            float32 arrays ``(n_tokens, checkpoint.token_dimensions)``, rows of L2 norm 1, order kept.

        Raises:
            InputError: As in ``embed``; items with an error have an array ``(0, token_dimensions)``.
            ConfigError: The checkpoint does not serve ``task``.
            ClosedError: After ``close()``.
        """
        rows: list[Floats] = self._rows(
            inputs.mixed(items), prompt_name, multi_vector=True, task=task, show_progress=show_progress
        )
        return rows

    async def aembed_multi_vector(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName = "passage",
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> list[Floats]:
        """Await ``embed_multi_vector``."""
        rows: list[Floats] = await self._arows(
            inputs.mixed(items), prompt_name, multi_vector=True, task=task, show_progress=show_progress
        )
        return rows

    def embed_stream(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName = "passage",
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> Iterator[Floats]:
        """Yield one embedding ``(dimension,)`` per item, in order, for a corpus of any length in constant memory.

        ``items`` is read as it is needed: at most three windows of 256 items ahead. See ``embed`` for the rest; an
        error names the position in the stream and comes after all embeddings before that position; its ``embeddings``
        are those of the window around it.
        """
        call = partial(self._rows, dimensions=dimensions, task=task, show_progress=False)
        return stream(items, lambda batch: call(batch, prompt_name), progress_bar(self.settings, None, show_progress))

    def aembed_stream(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName = "passage",
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> AsyncIterator[Floats]:
        """Yield as ``embed_stream`` does, without blocking the loop."""
        call = partial(self._arows, dimensions=dimensions, task=task, show_progress=False)
        return astream(items, lambda batch: call(batch, prompt_name), progress_bar(self.settings, None, show_progress))

    def score(
        self,
        queries: Iterable[EmbedInput],
        items: Iterable[EmbedInput],
        *,
        multi_vector: bool = False,
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> Floats:
        """Return how well each item answers each query.

        Args:
            queries: Texts, which get the query prefix, and images, as in ``embed``.
            items: Texts, which get the passage prefix, and images, mixed; any iterable, read as it is needed.
            multi_vector: Whether to compare all tokens by MaxSim, which is slower and finer, or one vector per item.
            dimensions: Matryoshka size for this call; None takes the embedder's. Multi-vectors have none.
            task: For this call; None takes the embedder's.
            show_progress: For this call; None takes the embedder's.

        Returns:
            float32, shape ``(n_queries, n_items)``. Cosines lie between -1 and 1, MaxSim between minus and plus the
            query's number of tokens. With ``on_error="skip"``, bad queries and items have NaN.

        Raises:
            InputError: Some queries or items cannot be embedded; names every bad query, or else the bad items of the
                first window with bad items.
            ConfigError: ``dimensions`` is not a Matryoshka size or is passed with ``multi_vector=True``, or the
                checkpoint does not serve ``task``.
            ClosedError: After ``close()``.
        """
        call = partial(self._rows, **scoring.overrides(multi_vector, dimensions, task))
        return scoring.score(call, queries, items, progress_bar(self.settings, None, show_progress))

    async def ascore(
        self,
        queries: Iterable[EmbedInput],
        items: Iterable[EmbedInput],
        *,
        multi_vector: bool = False,
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> Floats:
        """Await ``score``."""
        call = partial(self._arows, **scoring.overrides(multi_vector, dimensions, task))
        return await scoring.ascore(call, queries, items, progress_bar(self.settings, None, show_progress))

    # --- checked items ----------------------------------------------------------------------------------------------

    def outcome(self, items: list[Checked], prompt_name: str, **overrides: Any) -> Outcome:
        """Return the rows of checked items, and the errors of the bad ones; ``overrides`` are fields of ``Request``."""
        outcome = self.backend.run(Request(items=inputs.good(items), prompt_name=prompt_name, **overrides))
        return outcome.among(items, self._row_length(**overrides))

    async def aoutcome(self, items: list[Checked], prompt_name: str, **overrides: Any) -> Outcome:
        """Await ``outcome``."""
        outcome = await self.backend.arun(Request(items=inputs.good(items), prompt_name=prompt_name, **overrides))
        return outcome.among(items, self._row_length(**overrides))

    def _rows(self, items: list[Checked], prompt_name: str, /, *, on_error: str | None = None, **overrides: Any) -> Any:
        mode = None if on_error is None else check_on_error(on_error)  # before anything is computed
        return self.outcome(items, prompt_name, **overrides).checked(self.settings, on_error=mode)

    async def _arows(
        self, items: list[Checked], prompt_name: str, /, *, on_error: str | None = None, **overrides: Any
    ) -> Any:
        mode = None if on_error is None else check_on_error(on_error)
        return (await self.aoutcome(items, prompt_name, **overrides)).checked(self.settings, on_error=mode)

    def _row_length(self, *, multi_vector: bool = False, dimensions: int | None = None, **_: Any) -> int:
        return self.checkpoint.token_dimensions if multi_vector else dimensions or self.dimensions
