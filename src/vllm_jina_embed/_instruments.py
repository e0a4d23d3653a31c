"""Instruments and spans of the OpenTelemetry API: the only file that imports it, and only where an SDK may be set up.

Names follow the GenAI semantic conventions 0.1.0, which left the repository of the others; what they have no name for
begins with ``vllm_jina_embed``. Source: github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai,
client-embeddings.md and gen-ai-metrics.md.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import cache
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any
from weakref import ref

NAME = "vllm_jina_embed"
OPERATION, PROVIDER, MODEL = "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"
DIMENSIONS, TOKENS, EMBEDDINGS = "gen_ai.embeddings.dimension.count", "gen_ai.usage.input_tokens", "embeddings"
ADDRESS, PORT, ERROR, STATUS = "server.address", "server.port", "error.type", "http.response.status_code"
CALL, MODALITY, RESULT = f"{NAME}.call", f"{NAME}.modality", f"{NAME}.cache.result"
ITEMS, FAILED, IMAGES = f"{NAME}.items", f"{NAME}.items.failed", f"{NAME}.images"
HITS, MISSES = f"{NAME}.cache.hits", f"{NAME}.cache.misses"
ENGINE, ROW, RESTART, STATE = f"{NAME}.engine", f"{NAME}.row", f"{NAME}.engine.restart", f"{NAME}.engine.state"

SECONDS = [0.01 * 2**step for step in range(14)]
"""Bounds of durations, as the conventions have them."""
COUNTS = [4**step for step in range(14)]
"""Bounds of numbers of tokens, as the conventions have them."""
START_SECONDS = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200]
"""Bounds of the time until an engine has started."""

Attributes = Mapping[str, Any]


def is_on() -> bool:
    """Return whether something in this process has imported OpenTelemetry's API, as every SDK does."""
    return "opentelemetry.trace" in sys.modules or "opentelemetry.metrics" in sys.modules


@cache
def instruments() -> SimpleNamespace:
    """Return the instruments; they do nothing before an SDK is set up."""
    from opentelemetry import metrics

    meter = metrics.get_meter(NAME, version("vllm-jina-embed"))

    def histogram(name: str, unit: str, about: str, bounds: Sequence[float]) -> Any:
        return meter.create_histogram(name, unit, about, explicit_bucket_boundaries_advisory=bounds)

    def observed(name: str, about: str, *states: str) -> Any:
        return meter.create_observable_up_down_counter(name, [_observing(*states)], "{request}", about)

    return SimpleNamespace(
        embeddings=histogram("gen_ai.client.embeddings.duration", "s", "Duration of embeddings.", SECONDS),
        duration=histogram("gen_ai.client.operation.duration", "s", "Duration of other calls.", SECONDS),
        served=histogram("gen_ai.server.request.duration", "s", "Duration of requests to a server.", SECONDS),
        embeddings_tokens=histogram(
            "gen_ai.client.embeddings.operation.input_tokens", "{token}", "Tokens of the prompts of embeddings.", COUNTS
        ),
        tokens=histogram(f"{NAME}.operation.input_tokens", "{token}", "Tokens of the prompts of other calls.", COUNTS),
        start=histogram(f"{NAME}.engine.start.duration", "s", "Time until an engine has started.", START_SECONDS),
        items=meter.create_counter(ITEMS, "{item}", "Items of calls; with error.type those without a result."),
        images=meter.create_counter(IMAGES, "{image}", "Images of calls."),
        lookups=meter.create_counter(f"{NAME}.cache.lookups", "{item}", "Items that a cache had, or did not have."),
        losses=meter.create_counter(f"{NAME}.server.losses", "{loss}", "Times that a server did not answer."),
        places=observed(f"{NAME}.engine.places", "Requests that engines take at the same time.", "limit"),
        requests=observed(f"{NAME}.engine.requests", "Requests in engines, and before them.", "running", "waiting"),
    )


@contextmanager
def timed(name: str, histogram: str, attributes: Attributes, *, own: Attributes, kind: str) -> Iterator[Any]:
    """Yield a span, and record how long the block took; both with the type of the error that it raised.

    Args:
        name: The span's name.
        histogram: One of ``instruments``.
        attributes: Of the span and the duration.
        own: Further ones of the span.
        kind: ``CLIENT``, ``SERVER`` or ``INTERNAL``.
    """
    begin, error = time.perf_counter(), {}
    try:
        with spanned(name, {**attributes, **own}, kind=kind) as span:
            yield span
    except BaseException as raised:
        error = {ERROR: type(raised).__name__}
        raise
    finally:
        getattr(instruments(), histogram).record(time.perf_counter() - begin, {**attributes, **error})


@contextmanager
def spanned(name: str, attributes: Attributes, *, kind: str, parent: Any = None) -> Iterator[Any]:
    """Yield a span that tells an error by its type; where no SDK makes spans, one that does nothing."""
    from opentelemetry import trace

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield trace.INVALID_SPAN
        return
    quiet = {"record_exception": False, "set_status_on_exception": False}
    options: dict[str, Any] = {"context": parent, "kind": trace.SpanKind[kind], "attributes": attributes, **quiet}
    with _tracer().start_as_current_span(name, **options) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute(ERROR, type(error).__name__)
            mark(span)
            raise


def mark(span: Any) -> None:
    """Let a span be that of an error; nothing says more, since a message may quote a text."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)


def injected() -> dict[str, str]:
    """Return the headers that carry the trace of this context to a server (``traceparent``); none without a trace."""
    carrier: dict[str, str] = {}
    if is_on():
        from opentelemetry import propagate

        propagate.inject(carrier)
    return carrier


def extracted(headers: Mapping[str, str]) -> Any:
    """Return the context of the trace that headers carry."""
    from opentelemetry import propagate

    return propagate.extract(headers)


@cache
def _tracer() -> Any:
    from opentelemetry import trace

    return trace.get_tracer(NAME, version("vllm-jina-embed"))


class Places:
    """How many requests have a place in an engine, and how many wait for one.

    Attributes:
        attributes: What the numbers are told with.
        limit: How many have a place at the same time.
        running: How many have one.
        waiting: How many wait for one.
    """

    def __init__(self, attributes: Attributes, limit: int) -> None:
        self.attributes, self.limit = dict(attributes), limit
        self.running = self.waiting = 0
        self._ref = ref(self, _forget)
        _PLACES.append(self._ref)

    def close(self) -> None:
        """Tell nothing of them any more; further calls do nothing."""
        _forget(self._ref)

    @asynccontextmanager
    async def taken(
        self, first: AbstractAsyncContextManager[Any], second: AbstractAsyncContextManager[Any]
    ) -> AsyncIterator[None]:
        """Hold two semaphores; whoever waits for one is counted."""
        waits = 1
        self.waiting += 1
        try:
            async with first, second:
                waits = 0
                self.waiting -= 1
                self.running += 1
                try:
                    yield
                finally:
                    self.running -= 1
        finally:
            self.waiting -= waits


_PLACES: list[ref[Places]] = []


def _forget(place: ref[Places]) -> None:
    if place in _PLACES:
        _PLACES.remove(place)


def _observing(*states: str) -> Any:
    """Return what an SDK calls for numbers of ``Places``, added up over engines that are told alike."""

    def observe(_: Any) -> Any:
        from opentelemetry.metrics import Observation

        sums: Counter[tuple[tuple[str, Any], ...]] = Counter()
        for places in [one for known in list(_PLACES) if (one := known()) is not None]:
            for state in states:
                named = {} if state == "limit" else {STATE: state}
                sums[tuple({**places.attributes, **named}.items())] += getattr(places, state)
        return [Observation(count, dict(attributes)) for attributes, count in sums.items()]

    return observe
