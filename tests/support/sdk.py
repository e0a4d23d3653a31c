"""OpenTelemetry's SDK in memory: what this process tells, as spans and as numbers by metric and attributes."""

from __future__ import annotations

from functools import cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

SCOPE = "vllm_jina_embed"
Numbers = dict[tuple[str, frozenset[tuple[str, Any]]], Any]


class _WhileOn(SimpleSpanProcessor):
    """Keeps spans between ``clear`` and ``stop`` alone, so that those of other tests fill no memory."""

    on = False

    def on_end(self, span: ReadableSpan) -> None:
        if self.on:
            super().on_end(span)


class Sdk:
    """The SDK of this process, which can be set up only once; a test takes what is told between its two calls."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        tracers = TracerProvider()
        self._kept = _WhileOn(self._spans)
        tracers.add_span_processor(self._kept)
        trace.set_tracer_provider(tracers)
        only_new = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
        self._reader = InMemoryMetricReader(preferred_temporality=only_new)
        metrics.set_meter_provider(MeterProvider([self._reader]))

    def clear(self) -> None:
        """Forget what was told, and keep what is told from here on."""
        self._kept.on = True
        self._spans.clear()
        self._reader.get_metrics_data()

    def stop(self) -> None:
        """Keep no spans any more."""
        self._kept.on = False
        self._spans.clear()

    @property
    def spans(self) -> list[ReadableSpan]:
        """Our spans since the last ``clear``, in the order of their ends."""
        spans = self._spans.get_finished_spans()
        scoped = [(span, span.instrumentation_scope) for span in spans]
        return [span for span, scope in scoped if scope is not None and scope.name == SCOPE]

    def numbers(self) -> Numbers:
        """Return each point of our metrics since the last call: its value, of histograms count and sum."""
        told: Numbers = {}
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics if scope.scope.name == SCOPE else ():
                    for point in metric.data.data_points:
                        value = getattr(point, "value", None)
                        key = metric.name, frozenset((point.attributes or {}).items())
                        told[key] = (point.count, point.sum) if value is None else value  # type: ignore[union-attr]
        return told


@cache
def sdk() -> Sdk:
    """Return the SDK of this process, set up by the first call."""
    return Sdk()
