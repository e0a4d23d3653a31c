"""A backend that looks into a store before it asks another backend. Hits start no engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from .._telemetry import add_lookups
from ..embedding.abilities import check_request
from ..embedding.backend import Backend, Request
from ..embedding.outcomes import Outcome, empty_rows
from ..errors import InputError
from ..inputs.items import Item, with_opened
from ..prompts.base import check_role
from ..prompts.build import role_of
from ..settings import Settings
from . import keys
from .safety import ForgivingStore
from .stores import Store

ITEMS, MULTI_ITEMS = 1024, 64
"""Items whose embeddings, or multi-vectors, are looked up, computed and stored together; an interrupted call loses at
most these."""
PIXELS = 64_000_000
"""Pixels of opened images, 0.2 GB, after which no further item joins a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Neighbouring items of a call, their keys (None where an image cannot be opened) and the cached vectors by key."""

    start: int
    items: list[Item]
    keys: list[str | None]
    cached: dict[str, tuple[np.ndarray, bool]]
    errors: list[InputError] = field(default_factory=list)

    @property
    def missing(self) -> dict[str, Item]:
        """The first item of each key that the store does not have."""
        first: dict[str, Item] = {}
        for key, item in zip(self.keys, self.items, strict=True):
            if key is not None and key not in self.cached:
                first.setdefault(key, item)
        return first


class CacheBackend:
    """Answers from a store where it can, and asks ``backend`` for the rest."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        settings: Settings,
        check_open: Callable[[], None],
        *,
        multi_vectors: bool = False,
    ) -> None:
        """Keep the parts; ``check_open`` raises once the embedder is closed."""
        self.settings = settings
        self._backend, self._check_open = backend, check_open
        self._safe, self._keeps_multi = ForgivingStore(store), multi_vectors

    def run(self, request: Request) -> Outcome:
        """See ``Backend.run``."""
        settings = self._begin(request)
        if self._is_passed_on(request):
            return self._backend.run(request)
        outcome = _empty(request, settings)
        for part in self._parts(request, settings):
            missing = part.missing
            computed = self._backend.run(_rest(request, missing)) if missing else None
            self._finish(part, outcome, missing, computed)
        return outcome

    async def arun(self, request: Request) -> Outcome:
        """See ``Backend.arun``."""
        settings = self._begin(request)
        if self._is_passed_on(request):
            return await self._backend.arun(request)
        outcome = _empty(request, settings)
        parts = self._parts(request, settings)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            missing = part.missing
            computed = await self._backend.arun(_rest(request, missing)) if missing else None
            await asyncio.to_thread(self._finish, part, outcome, missing, computed)
        return outcome

    def _begin(self, request: Request) -> Settings:
        """Check the request as an embedder does, and return its settings."""
        self._check_open()
        settings = self.settings.for_call(dimensions=request.dimensions, task=request.task, normalize=request.normalize)
        check_role(request.prompt_name)
        check_request(settings.checkpoint, request)
        return settings

    def _is_passed_on(self, request: Request) -> bool:
        """Tell whether a request is answered without the store."""
        kept = self._keeps_multi or not request.multi_vector
        return request.weights or request.ends is not None or not kept

    def _parts(self, request: Request, settings: Settings) -> Iterator[_Part]:
        """Yield all items in order, in parts of bounded size, looked up in the store."""
        identity, items = keys.identity(settings, multi_vector=request.multi_vector), request.items
        start, most = 0, MULTI_ITEMS if request.multi_vector else ITEMS
        while start < len(items):
            part = _Part(start=start, items=[], keys=[], cached={})
            pixels = 0
            while start < len(items) and len(part.items) < most and pixels < PIXELS:
                item = items[start]
                start += 1
                try:
                    item, size = with_opened(item, self.settings.media)  # the hashed pixels are those embedded
                    pixels += size
                    role = role_of(settings.checkpoint.row, item, request.prompt_name)
                    part.keys.append(keys.key(identity, role, keys.content(item)))
                except InputError as error:
                    part.keys.append(None)
                    part.errors.append(error)
                part.items.append(item)
            self._look_up(part, request, settings)
            yield part

    def _look_up(self, part: _Part, request: Request, settings: Settings) -> None:
        names = list(dict.fromkeys(key for key in part.keys if key is not None))
        if not names:
            return
        for key, value in zip(names, self._safe.get_many(names), strict=True):
            if request.multi_vector:
                unpacked = keys.unpack_rows(key, value, settings.checkpoint.token_dimensions)
            else:
                unpacked = keys.unpack(key, value, settings.dimensions)
            if unpacked is not None:
                part.cached[key] = unpacked
        hits = sum(key in part.cached for key in part.keys)
        add_lookups(hits, sum(key is not None for key in part.keys) - hits)

    def _finish(self, part: _Part, outcome: Outcome, missing: dict[str, Item], computed: Outcome | None) -> None:
        """Store the computed embeddings, and fill in the part's rows, errors and cut texts."""
        failed: dict[str, InputError] = {}
        if computed is not None:
            failed = self._keep(part, missing, computed)
        outcome.errors.extend(part.errors)
        for row, (key, item) in enumerate(zip(part.keys, part.items, strict=True), part.start):
            if key in part.cached:
                outcome.embeddings[row], truncated = part.cached[key]
                if truncated:
                    outcome.truncated.append(item.position)
            elif key is not None:
                outcome.errors.append(failed[key].at(item.where, item.position))
        outcome.errors.sort(key=lambda error: error.positions)

    def _keep(self, part: _Part, missing: dict[str, Item], computed: Outcome) -> dict[str, InputError]:
        """Store the new embeddings; return by key the errors of the other items."""
        errors = {error.positions[0]: error for error in computed.errors}
        failed: dict[str, InputError] = {}
        new: dict[str, bytes] = {}
        for (key, item), embedding in zip(missing.items(), computed.embeddings, strict=True):
            if item.position in errors:
                failed[key] = errors[item.position]
                continue
            truncated = item.position in computed.truncated
            part.cached[key] = embedding, truncated
            if np.isfinite(embedding).all():
                new[key] = keys.pack(key, embedding, truncated=truncated)
        if new:
            self._safe.put_many(new)
        return failed


def _rest(request: Request, missing: dict[str, Item]) -> Request:
    """Return the request for the items that the store does not have."""
    return replace(request, items=list(missing.values()))


def _empty(request: Request, settings: Settings) -> Outcome:
    """Return an outcome whose rows are still to be filled in."""
    length = settings.checkpoint.token_dimensions if request.multi_vector else settings.dimensions
    return Outcome(embeddings=empty_rows(len(request.items), length, multi=request.multi_vector))
