"""An embedder that asks a store first: what was embedded once is not embedded again.

Enters: an embedder and a store. Leaves: an embedder with the same calls. Hits start no engine.
This file refuses to know what decides a vector (``cache_keys``), where it lies (``cache_stores``) and frameworks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..embedding.calls import Calls
from ..embedding.outcomes import Outcome
from ..errors import ClosedError, ConfigError, InputError
from ..inputs.images import open_image
from ..inputs.items import ImageItem, Item
from ..prompts.build import prefix, role_of
from ..settings import Settings
from . import keys as cache_keys
from .safety import ForgivingStore
from .stores import SQLiteStore, Store, open_store

ITEMS = 1024
"""Items that are looked up, embedded and kept together; what an interrupted call lost at most."""
PIXELS = 64_000_000
"""Pixels of opened pictures, 0.2 GB, after which no further item joins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some neighbours of a call: items, their keys (None where a picture cannot be opened) and what the store had."""

    start: int
    items: list[Item]
    keys: list[str | None]
    known: dict[str, tuple[np.ndarray, bool]]
    errors: list[InputError] = field(default_factory=list)

    @property
    def missing(self) -> dict[str, Item]:
        """The first item of each key that the store does not have."""
        first: dict[str, Item] = {}
        for key, item in zip(self.keys, self.items, strict=True):
            if key is not None and key not in self.known:
                first.setdefault(key, item)
        return first


class CachedEmbedder(Calls):
    """The calls of ``embedder``, answered from ``store`` where it can; safe to call from any thread and event loop.

    A hit is the vector that was stored, bit for bit; a picture counts by its pixels, so an edited file is embedded
    again; equal items of one call are embedded once; an entry that is damaged is computed again, and so is everything
    while the store cannot be read or written, with one warning. Pictures are opened
    under the embedder's ``MediaPolicy`` before they are looked up, so a hit opens nothing that the policy refuses.
    Multi-vectors are computed every time: one takes hundreds of times the room of an embedding.
    """

    def __init__(self, embedder: Calls, store: Store | str | os.PathLike[str]) -> None:
        """Check that the embeddings can be told apart for ever.

        Args:
            embedder: What computes; ``close`` closes it too.
            store: A path for an SQLite file, or an object with ``get_many`` and ``put_many``.

        Raises:
            ConfigError: The checkpoint is a hub repository without a commit, or ``store`` is no store.
        """
        if not isinstance(embedder, Calls):
            raise ConfigError(f"got a {type(embedder).__name__} to cache; expected a JinaEmbedder.")
        cache_keys.identity(embedder.settings)
        self.embedder = embedder
        self.settings = embedder.settings
        self.store = open_store(store)
        self._safe = ForgivingStore(self.store)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether this or what computes was closed."""
        return self._closed or self.embedder.closed

    def close(self) -> None:
        """Close the embedder, and the SQLite file if there is one; further calls do nothing."""
        self._closed = True
        self.embedder.close()
        if isinstance(self.store, SQLiteStore):
            self.store.close()

    def __repr__(self) -> str:
        """Return the call that makes an equal embedder."""
        return f"CachedEmbedder({self.embedder!r}, {self.store!r})"

    # --- inside -----------------------------------------------------------------------------------------------------

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
        wanted = self._begin(prompt_name, dimensions, task)
        if multi:
            return self.embedder._run(items, prompt_name, True, task=wanted.task, show_progress=show_progress)
        call: dict[str, Any] = {"dimensions": wanted.dimensions, "task": wanted.task, "show_progress": show_progress}
        outcome = _empty(len(items), wanted)
        for part in self._parts(items, prompt_name, wanted):
            missing = part.missing
            computed = self.embedder._run(list(missing.values()), prompt_name, **call) if missing else None
            self._finish(part, outcome, missing, computed)
        return outcome

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
        wanted = self._begin(prompt_name, dimensions, task)
        if multi:
            return await self.embedder._arun(items, prompt_name, True, task=wanted.task, show_progress=show_progress)
        call: dict[str, Any] = {"dimensions": wanted.dimensions, "task": wanted.task, "show_progress": show_progress}
        outcome = _empty(len(items), wanted)
        parts = self._parts(items, prompt_name, wanted)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            missing = part.missing
            computed = await self.embedder._arun(list(missing.values()), prompt_name, **call) if missing else None
            await asyncio.to_thread(self._finish, part, outcome, missing, computed)
        return outcome

    def _begin(self, prompt_name: str, dimensions: int | None, task: str | None) -> Settings:
        """Check what an embedder checks first; return the call's settings."""
        if self.closed:
            raise ClosedError(f"{self!r} is closed.")
        wanted = self.settings.for_call(dimensions=dimensions, task=task)
        prefix(wanted.checkpoint.family, wanted.task, prompt_name)
        return wanted

    def _parts(self, items: list[Item], prompt_name: str, wanted: Settings) -> Iterator[_Part]:
        """Yield all items in order, in parts of bounded size, looked up in the store."""
        identity = cache_keys.identity(wanted)
        start = 0
        while start < len(items):
            part = _Part(start=start, items=[], keys=[], known={})
            pixels = 0
            while start < len(items) and len(part.items) < ITEMS and pixels < PIXELS:
                item = items[start]
                start += 1
                try:
                    item, opened = self._open(item)
                    pixels += opened
                    role = role_of(wanted.checkpoint.family, item, prompt_name)
                    part.keys.append(self._key(identity, role, cache_keys.content(item)))
                except InputError as error:
                    part.keys.append(None)
                    part.errors.append(error)
                part.items.append(item)
            self._look_up(part, wanted.dimensions)
            yield part

    def _key(self, identity: str, role: str, content: str) -> str:
        return cache_keys.key(identity, role, content)

    def _open(self, item: Item) -> tuple[Item, int]:
        """Return the item with its pictures opened, so that what is hashed is what is embedded; and their pixels."""
        if not isinstance(item, ImageItem):
            return item, 0
        pictures = []
        for number, source in enumerate(item.images):
            try:
                pictures.append(open_image(source, self.settings.media))
            except InputError as error:
                where = item.where if len(item.images) == 1 else f"{item.where}[{number}]"
                raise InputError(f"{where}: {error}", positions=[item.position]) from None
        return replace(item, images=tuple(pictures)), sum(picture.width * picture.height for picture in pictures)

    def _look_up(self, part: _Part, dimensions: int) -> None:
        keys = list(dict.fromkeys(key for key in part.keys if key is not None))
        if not keys:
            return
        for key, value in zip(keys, self._safe.get_many(keys), strict=True):
            found = cache_keys.unpack(key, value, dimensions)
            if found is not None:
                part.known[key] = found

    def _finish(self, part: _Part, outcome: Outcome, missing: dict[str, Item], computed: Outcome | None) -> None:
        """Keep what was computed, and fill in the part's rows, errors and cut texts."""
        failed: dict[str, str] = {}
        if computed is not None:
            failed = self._keep(part, missing, computed)
        outcome.errors.extend(part.errors)
        for row, (key, item) in enumerate(zip(part.keys, part.items, strict=True), part.start):
            if key in part.known:
                outcome.embeddings[row], truncated = part.known[key]
                if truncated:
                    outcome.truncated.append(item.position)
            elif key is not None:
                outcome.errors.append(InputError(item.where + failed[key], positions=[item.position]))
        outcome.errors.sort(key=lambda error: error.positions)

    def _keep(self, part: _Part, missing: dict[str, Item], computed: Outcome) -> dict[str, str]:
        """Store the new embeddings; return by key what is wrong with the other items, less where they stand."""
        errors = {error.positions[0]: str(error) for error in computed.errors}
        failed, new = {}, {}
        for (key, item), embedding in zip(missing.items(), computed.embeddings, strict=True):
            if item.position in errors:
                failed[key] = errors[item.position].removeprefix(item.where)
                continue
            truncated = item.position in computed.truncated
            part.known[key] = embedding, truncated
            if np.isfinite(embedding).all():
                new[key] = cache_keys.pack(key, embedding, truncated=truncated)
        if new:
            self._safe.put_many(new)
        return failed


def _empty(count: int, settings: Settings) -> Outcome:
    """Return an outcome whose rows are still to be filled in."""
    return Outcome(embeddings=np.full((count, settings.dimensions), np.nan, dtype=np.float32))
