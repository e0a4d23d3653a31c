"""What every embedder offers: checked lists, roles, streams, and a life that ends with ``close``.

Enters: what callers pass. Leaves: float32 arrays. This file refuses to know how items become vectors: ``JinaEmbedder``
asks an engine, ``CachedEmbedder`` a store first.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Self

from tqdm.auto import tqdm

from . import inputs
from .checkpoints import Checkpoint
from .errors import InputError
from .inputs import EmbedInput, Item
from .media import ImageInput
from .pipeline import Outcome
from .pooling import Floats
from .prompts import PromptName
from .settings import Settings

WINDOW = 256
"""Items of a stream that are embedded together."""
STREAMS = 2
"""Windows of a stream that are in the engine at the same time, so that it never waits for the next one."""


class Calls(ABC):
    """The calls of an embedder; a subclass has ``settings`` and answers checked items."""

    settings: Settings

    @abstractmethod
    def _run(
        self, items: list[Item], prompt_name: str, *, dimensions: int | None = None, show_progress: bool | None = None
    ) -> Outcome:
        """Return one row per item, and the errors of the items that have none; see ``embed``."""

    @abstractmethod
    async def _arun(
        self, items: list[Item], prompt_name: str, *, dimensions: int | None = None, show_progress: bool | None = None
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
            **overrides: ``dimensions`` and ``show_progress`` for this call.

        Returns:
            float32, shape ``(n, dimension)``, rows of L2 norm 1, order kept; ``(0, dimension)`` for no items.

        Raises:
            InputError: Names every bad position. Items of a wrong type are found before anything runs; otherwise
                ``error.embeddings`` holds what was computed, with NaN rows for the bad ones.
            ConfigError: ``dimensions`` is no Matryoshka size.
            ClosedError: After ``close()``.
        """
        return self._wait(inputs.mixed(items), prompt_name, **overrides)

    async def aembed(
        self, items: Iterable[EmbedInput], *, prompt_name: PromptName = "passage", **overrides: Any
    ) -> Floats:
        """Await ``embed``."""
        return await self._await(inputs.mixed(items), prompt_name, **overrides)

    def embed_stream(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName = "passage",
        dimensions: int | None = None,
        show_progress: bool | None = None,
    ) -> Iterator[Floats]:
        """Yield one embedding ``(dimension,)`` per item, in order, for a corpus of any length in constant memory.

        ``items`` is read as it is needed: at most ``3 * WINDOW`` items ahead. See ``embed`` for the rest; an error
        names the position in the stream, and what came before it has been yielded.
        """
        call = partial(self._wait, prompt_name=prompt_name, dimensions=dimensions, show_progress=False)
        with ThreadPoolExecutor(STREAMS) as pool, self._bar(None, show_progress) as bar:
            pending: deque[concurrent.futures.Future[Floats]] = deque()
            try:
                for batch in _batches(items):
                    pending.append(pool.submit(call, batch))
                    if len(pending) > STREAMS:
                        yield from _told(pending.popleft().result(), bar)
                while pending:
                    yield from _told(pending.popleft().result(), bar)
            finally:
                for future in pending:
                    future.cancel()

    async def aembed_stream(
        self,
        items: Iterable[EmbedInput],
        *,
        prompt_name: PromptName = "passage",
        dimensions: int | None = None,
        show_progress: bool | None = None,
    ) -> AsyncIterator[Floats]:
        """Yield as ``embed_stream`` does, without blocking the loop."""
        with self._bar(None, show_progress) as bar:
            pending: deque[asyncio.Task[Floats]] = deque()
            try:
                for batch in _batches(items):
                    call = self._await(batch, prompt_name, dimensions=dimensions, show_progress=False)
                    pending.append(asyncio.create_task(call))
                    if len(pending) > STREAMS:
                        for embedding in _told(await pending.popleft(), bar):
                            yield embedding
                while pending:
                    for embedding in _told(await pending.popleft(), bar):
                        yield embedding
            finally:
                for task in pending:
                    task.cancel()

    # --- life -------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Await ``close`` without blocking the loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        """Return the embedder itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return the embedder itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _wait(self, items: list[Item], prompt_name: str, **overrides: Any) -> Floats:
        return self._checked(self._run(items, prompt_name, **overrides), len(items))

    async def _await(self, items: list[Item], prompt_name: str, **overrides: Any) -> Floats:
        return self._checked(await self._arun(items, prompt_name, **overrides), len(items))

    def _bar(self, total: int | None, show_progress: bool | None) -> tqdm[Any]:
        shown = self.settings.show_progress if show_progress is None else show_progress
        return tqdm(total=total, desc="Embedding", unit="item", disable=not shown)

    def _checked(self, outcome: Outcome, total: int) -> Floats:
        if outcome.truncated:
            warnings.warn(
                f"{len(outcome.truncated)} of {total} texts were longer than max_length and lost their "
                f"{self.settings.truncate} (positions {_listed(outcome.truncated)}).",
                stacklevel=4,
            )
        if outcome.errors:
            error = InputError.collect(outcome.errors, total=total)
            error.embeddings = outcome.embeddings
            if self.settings.on_error == "raise":
                raise error
            warnings.warn(f"rows are NaN: {error}", stacklevel=4)
        return outcome.embeddings


def _batches(items: Iterable[EmbedInput]) -> Iterator[list[Item]]:
    """Yield ``items`` in checked batches of ``WINDOW`` that know their positions in the whole."""
    start, rest = 0, iter(items)
    while batch := list(islice(rest, WINDOW)):
        yield inputs.mixed(batch, start=start)
        start += len(batch)


def _told(embeddings: Floats, bar: tqdm[Any]) -> Floats:
    bar.update(len(embeddings))
    return embeddings


def _listed(positions: list[int], most: int = 10) -> str:
    shown = ", ".join(map(str, sorted(positions)[:most]))
    return shown if len(positions) <= most else f"{shown}, ..."
