"""A backend that looks into a store before it asks another backend. Hits start no engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from .._telemetry import add_lookups
from ..embedding.abilities import check_request
from ..embedding.backend import Backend, Request
from ..embedding.outcomes import BothKinds, Outcome, empty_rows
from ..errors import InputError
from ..inputs.items import with_opened
from ..prompts.base import check_role
from ..prompts.build import role_of
from ..settings import Settings
from . import keys
from .parts import Kind, Lookup, Part, Question
from .safety import ForgivingStore
from .stores import Store

ITEMS, MULTI_ITEMS = 1024, 64
"""Items whose embeddings, or multi-vectors, are looked up, computed and stored together; an interrupted call loses at
most these."""
PIXELS = 64_000_000
"""Pixels of opened images, 0.2 GB, after which no further item joins a part."""


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
            for question in part.questions(jointly=_is_joint(settings)):
                self._take(part, question, self._backend.run(part.request(question, request)))
            part.fill(outcome)
        return outcome

    async def arun(self, request: Request) -> Outcome:
        """See ``Backend.arun``."""
        settings = self._begin(request)
        if self._is_passed_on(request):
            return await self._backend.arun(request)
        outcome = _empty(request, settings)
        parts = self._parts(request, settings)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            for question in part.questions(jointly=_is_joint(settings)):
                computed = await self._backend.arun(part.request(question, request))
                await asyncio.to_thread(self._take, part, question, computed)
            await asyncio.to_thread(part.fill, outcome)
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

    def _kinds(self, request: Request, settings: Settings) -> list[Kind]:
        """Return what a request asks for."""
        single = Kind(multi=False, length=settings.dimensions, identity=keys.identity(settings))
        if not request.both and not request.multi_vector:
            return [single]
        identity = keys.identity(settings, multi_vector=True)
        length = settings.checkpoint.token_dimensions
        multi = Kind(multi=True, length=length, identity=identity, kept=self._keeps_multi)
        return [single, multi] if request.both else [multi]

    def _parts(self, request: Request, settings: Settings) -> Iterator[Part]:
        """Yield all items in order, in parts of bounded size, looked up in the store."""
        kinds, items = self._kinds(request, settings), request.items
        start, most = 0, MULTI_ITEMS if kinds[-1].multi and kinds[-1].kept else ITEMS
        while start < len(items):
            part = Part(start=start, lookups=tuple(Lookup(kind=kind) for kind in kinds))
            pixels = 0
            while start < len(items) and len(part.items) < most and pixels < PIXELS:
                item = items[start]
                start += 1
                try:
                    item, size = with_opened(item, self.settings.media)  # the hashed pixels are those embedded
                    pixels += size
                    role, content = role_of(settings.checkpoint.row, item, request.prompt_name), keys.content(item)
                    own: list[str | None] = [keys.key(kind.identity, role, content) for kind in kinds]
                except InputError as error:
                    own = [None] * len(kinds)
                    part.errors.append(error)
                for lookup, key in zip(part.lookups, own, strict=True):
                    lookup.keys.append(key)
                part.items.append(item)
            for lookup in part.lookups:
                self._look_up(lookup)
            yield part

    def _look_up(self, lookup: Lookup) -> None:
        names = list(dict.fromkeys(key for key in lookup.keys if key is not None))
        if not names or not lookup.kind.kept:
            return
        for key, value in zip(names, self._safe.get_many(names), strict=True):
            if (found := lookup.kind.unpacked(key, value)) is not None:
                lookup.found[key] = found
        hits = sum(key in lookup.found for key in lookup.keys)
        add_lookups(hits, sum(key is not None for key in lookup.keys) - hits)

    def _take(self, part: Part, question: Question, computed: Outcome) -> None:
        """Take what was computed, and store it."""
        if new := part.take(question, computed):
            self._safe.put_many(new)


def _is_joint(settings: Settings) -> bool:
    """Tell whether both kinds come from one prompt: else a text may be cut for one kind alone."""
    return settings.long_text is None and settings.fusion is None


def _empty(request: Request, settings: Settings) -> Outcome:
    """Return an outcome whose rows are still to be filled in."""
    count, length = len(request.items), settings.checkpoint.token_dimensions
    if request.both:
        return Outcome(embeddings=BothKinds.empty(count, settings.dimensions, length))
    length = length if request.multi_vector else settings.dimensions
    return Outcome(embeddings=empty_rows(count, length, multi=request.multi_vector))
