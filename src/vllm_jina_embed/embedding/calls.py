"""What every embedder offers: checked lists, roles, streams, and a life that ends with ``close``.

Enters: what callers pass. Leaves: float32 arrays. This file refuses to know how items become vectors: ``JinaEmbedder``
asks an engine, ``CachedEmbedder`` a store first.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import cache, partial
from typing import Any

from tqdm.auto import tqdm

from .._arrays import Floats
from .._closing import Closing
from ..checkpoints.description import Checkpoint
from ..inputs import items as inputs
from ..inputs.images import ImageInput
from ..inputs.items import Checked, EmbedInput, Item
from ..prompts.base import PromptName
from ..settings import Settings, check_on_error
from .outcomes import Outcome
from .scoring import Scores
from .streams import astream, stream


class Calls(Closing, Scores):
    """The calls of an embedder; a subclass has ``settings`` and answers checked items."""

    settings: Settings

    @abstractmethod
    def _run(
        self,
        items: list[Item],
        prompt_name: str,
        multi: bool = False,
        /,
        *,
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> Outcome:
        """Return one row per item, and the errors of the items that have none; see ``embed``."""

    @abstractmethod
    async def _arun(
        self,
        items: list[Item],
        prompt_name: str,
        multi: bool = False,
        /,
        *,
        dimensions: int | None = None,
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> Outcome:
        """Await ``_run``."""

    @abstractmethod
    def close(self) -> None:
        """Give back what this embedder holds; further calls do nothing."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether ``close`` was called."""

    @property
    def checkpoint(self) -> Checkpoint:
        """Facts about the checkpoint."""
        return self.settings.checkpoint

    @property
    def model(self) -> str:
        """The name that was given."""
        return self.checkpoint.name

    @property
    def task(self) -> str:
        """``retrieval``, ``text-matching`` or ``code``."""
        return self.settings.task

    @property
    def dimension(self) -> int:
        """Length of the embeddings."""
        return self.settings.dimensions

    @property
    def fingerprint(self) -> str:
        """What decides a vector, as one string: equal ones give equal vectors for equal inputs and roles."""
        return self.settings.fingerprint

    # --- calls ------------------------------------------------------------------------------------------------------

    def embed_queries(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Return embeddings ``(n, dimension)`` of questions; see ``embed`` for overrides and errors."""
        return self._wait(inputs.texts(texts), "query", **overrides)

    async def aembed_queries(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Await ``embed_queries``."""
        return await self._await(inputs.texts(texts), "query", **overrides)

    def embed_passages(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Return embeddings ``(n, dimension)`` of documents; see ``embed`` for overrides and errors."""
        return self._wait(inputs.texts(texts), "passage", **overrides)

    async def aembed_passages(self, texts: Iterable[str], **overrides: Any) -> Floats:
        """Await ``embed_passages``."""
        return await self._await(inputs.texts(texts), "passage", **overrides)

    def embed_images(self, images: Iterable[ImageInput | Iterable[ImageInput]], **overrides: Any) -> Floats:
        """Return embeddings ``(n, dimension)`` of pictures; here a string is a path or a data URI.

        A list or tuple of pictures inside ``images`` is one item: the union of its vision spans is averaged.
        See ``embed`` for overrides and errors.
        """
        return self._wait(inputs.images(images), "passage", **overrides)

    async def aembed_images(self, images: Iterable[ImageInput | Iterable[ImageInput]], **overrides: Any) -> Floats:
        """Await ``embed_images``."""
        return await self._await(inputs.images(images), "passage", **overrides)

    def embed(self, items: Iterable[EmbedInput], *, prompt_name: PromptName = "passage", **overrides: Any) -> Floats:
        """Return embeddings of texts and pictures, mixed as they come.

        Args:
            items: A string is text, unless all of it is a ``data:image/...;base64,`` URI or a reference to a picture;
                ``pathlib.Path``, bytes, ``BytesIO``, PIL images and uint8 arrays ``(height, width, 3)`` are
                pictures; a list or tuple of pictures is one item.
            prompt_name: ``query`` or ``passage``; decides the texts' prefix, pictures have none.
            **overrides: ``dimensions``, ``task``, ``show_progress`` and ``on_error`` for this call.

        Returns:
            float32, shape ``(n, dimension)``, rows of L2 norm 1, order kept; ``(0, dimension)`` for no items.

        Raises:
            InputError: Names every bad position; ``error.embeddings`` holds what was computed all the same, with NaN
                rows for the bad ones. It is None where ``items`` as a whole is not a list.
            ConfigError: ``dimensions`` is no Matryoshka size, or the checkpoint does not serve ``task``.
            ClosedError: After ``close()``.
        """
        return self._wait(inputs.mixed(items), prompt_name, **overrides)

    async def aembed(
        self, items: Iterable[EmbedInput], *, prompt_name: PromptName = "passage", **overrides: Any
    ) -> Floats:
        """Await ``embed``."""
        return await self._await(inputs.mixed(items), prompt_name, **overrides)

    def embed_multi_vector(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName = "passage",
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> list[Floats]:
        """Return one vector per token of each text or picture, for late interaction (MaxSim).

        Every token of the prompt has its row: a text's prefix, and around a picture's tokens the words that ask the
        model to describe it. A checkpoint whose projector was trained for this (``jinaai/jina-embeddings-v4``) gives
        rows of 128 numbers; the others have none, and give each token's state, normalised, for which nothing was
        trained. Matryoshka sizes do not apply.

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
        return self._wait_multi(inputs.mixed(items), prompt_name, task=task, show_progress=show_progress)

    async def aembed_multi_vector(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName = "passage",
        task: str | None = None,
        show_progress: bool | None = None,
    ) -> list[Floats]:
        """Await ``embed_multi_vector``."""
        return await self._await_multi(inputs.mixed(items), prompt_name, task=task, show_progress=show_progress)

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
        error names the position in the stream, and what came before it has been yielded; its ``embeddings`` are those
        of the window around it.
        """
        call = partial(self._wait, dimensions=dimensions, task=task, show_progress=False)
        return stream(items, lambda batch: call(batch, prompt_name), self._bar(None, show_progress))

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
        call = partial(self._await, dimensions=dimensions, task=task, show_progress=False)
        return astream(items, lambda batch: call(batch, prompt_name), self._bar(None, show_progress))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _wait(
        self, items: list[Checked], prompt_name: str, /, *, on_error: str | None = None, **overrides: Any
    ) -> Floats:
        told = self._telling(on_error)
        rows: Floats = self._outcome(items, prompt_name, **overrides).checked(**told)
        return rows

    async def _await(
        self, items: list[Checked], prompt_name: str, /, *, on_error: str | None = None, **overrides: Any
    ) -> Floats:
        told = self._telling(on_error)
        rows: Floats = (await self._aoutcome(items, prompt_name, **overrides)).checked(**told)
        return rows

    def _wait_multi(self, items: list[Checked], prompt_name: str, /, **overrides: Any) -> list[Floats]:
        rows: list[Floats] = self._outcome(items, prompt_name, True, **overrides).checked(**self._telling(None))
        return rows

    async def _await_multi(self, items: list[Checked], prompt_name: str, /, **overrides: Any) -> list[Floats]:
        outcome = await self._aoutcome(items, prompt_name, True, **overrides)
        rows: list[Floats] = outcome.checked(**self._telling(None))
        return rows

    def _outcome(self, items: list[Checked], prompt_name: str, multi: bool = False, /, **overrides: Any) -> Outcome:
        """Run the good items, and put the errors of the others in between."""
        outcome = self._run(inputs.good(items), prompt_name, multi, **overrides)
        return outcome.among(items, self._row_length(multi, overrides))

    async def _aoutcome(
        self, items: list[Checked], prompt_name: str, multi: bool = False, /, **overrides: Any
    ) -> Outcome:
        """Await ``_outcome``."""
        outcome = await self._arun(inputs.good(items), prompt_name, multi, **overrides)
        return outcome.among(items, self._row_length(multi, overrides))

    def _row_length(self, multi: bool, overrides: dict[str, Any]) -> int:
        return self.checkpoint.token_dimensions if multi else overrides.get("dimensions") or self.dimension

    def _telling(self, on_error: str | None) -> dict[str, Any]:
        """Return what ``Outcome.checked`` needs to know of the settings."""
        mode = self.settings.on_error if on_error is None else check_on_error(on_error)
        return {"on_error": mode, "truncate": self.settings.truncate}

    def _bar(self, total: int | None, show_progress: bool | None) -> tqdm[Any]:
        shown = self.settings.show_progress if show_progress is None else show_progress
        return tqdm(total=total, desc="Embedding", unit="item") if shown else _no_bar()


@cache
def _no_bar() -> tqdm[Any]:
    """Return the bar of all calls that show none: making one takes a tenth of a question's work here."""
    return tqdm(disable=True)
