"""Traces (OpenTelemetry): one for each request, through recall, tower and Milvus. None until `start` is called."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pagoda.distribution import install
from pagoda.errors import ConfigError
from pagoda.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

PARENT = "traceparent"
"""Request header that carries a trace from one service to the next (W3C Trace Context)."""
_NO_SPAN: AbstractContextManager[Any] = nullcontext()
_NO_HEADERS: dict[str, str] = {}
_tracer: Tracer | None = None


def start(service: str, settings: TracingSettings) -> None:
    """From now on, send traces where the settings say; without an address, do nothing.

    Raises:
        ConfigError: There is an address, but OpenTelemetry is not installed.
    """
    global _tracer
    if not settings.endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ImportError as error:
        raise ConfigError(f"tracing.endpoint is set, but {error.name} is missing: {install('tracing')}") from error
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"pagoda-{service}"}), sampler=ParentBasedTraceIdRatio(settings.share)
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.endpoint)))
    _tracer = provider.get_tracer("pagoda")


def on() -> bool:
    """Whether there are traces at all."""
    return _tracer is not None


def span(name: str, headers: Mapping[str, str] | None = None, **attributes: str | int) -> AbstractContextManager[Any]:
    """A step of the current request. With `headers`, it goes on with the trace that they carry."""
    if _tracer is None:
        return _NO_SPAN
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract(dict(headers)) if headers is not None else None
    return _tracer.start_as_current_span(name, context=parent, attributes=attributes)


def headers() -> dict[str, str]:
    """What carries the current trace to the next service; nothing where there is none."""
    if _tracer is None:
        return _NO_HEADERS
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carried: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carried)
    return carried


def trace_id() -> str:
    """The current trace, 32 hexadecimal digits; empty where there is none."""
    if _tracer is None:
        return ""
    from opentelemetry.trace import format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else ""
