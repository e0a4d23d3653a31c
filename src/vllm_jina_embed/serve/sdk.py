"""Sets up OpenTelemetry's SDK in a server's process where its environment names a collector.

A library leaves that to the application; ``serve`` is one. vLLM brings the SDK and the exporters.
"""

from __future__ import annotations

import logging
import os

ENDPOINTS = {
    "traces": ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    "metrics": ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
}
"""Variables that name a collector; the exporters read them, and headers, timeouts and intervals, by themselves."""
SERVICE = "OTEL_SERVICE_NAME"

logger = logging.getLogger(__name__)


def set_up() -> None:
    """Send spans and metrics to the collector that the environment names; nothing where it names none.

    What was set up before, for example by ``opentelemetry-instrument``, stays.
    """
    wanted = {signal for signal, names in ENDPOINTS.items() if any(os.environ.get(name) for name in names)}
    if not wanted or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    os.environ.setdefault(SERVICE, "vllm-jina-embed")
    try:
        if "traces" in wanted:
            _trace()
        if "metrics" in wanted:
            _measure()
    except ImportError as error:
        logger.warning(
            "no spans and metrics: %s. Run: pip install opentelemetry-sdk opentelemetry-exporter-otlp", error
        )


def _is_grpc(signal: str) -> bool:
    general = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    return (os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or general) == "grpc"


def _trace() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    if _is_grpc("TRACES"):
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        exporter: SpanExporter = Grpc()
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

        exporter = Http()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def _measure() -> None:
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader

    if isinstance(metrics.get_meter_provider(), MeterProvider):
        return
    if _is_grpc("METRICS"):
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc

        exporter: MetricExporter = Grpc()
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

        exporter = Http()
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(exporter)]))
