"""Hands finished spans to the OpenTelemetry SDK's batching OTLP exporter."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from paddock_operator.telemetry.tracing import SpanRecord


class SpanExporter:
    """Exports in the background; what cannot be delivered is dropped, as OpenTelemetry does."""

    def __init__(self) -> None:
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._resource = Resource.create({"service.name": "paddock-operator"})

    def export(self, span: SpanRecord) -> None:
        """Queue one span."""
        parent = None if span.parent_id is None else _context(span.trace_id, span.parent_id)
        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=_context(span.trace_id, span.span_id),
                parent=parent,
                resource=self._resource,
                attributes=dict(span.attributes),
                kind=SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
                start_time=int(span.start.timestamp() * 1e9),
                end_time=int(span.end.timestamp() * 1e9),
            )
        )

    def close(self) -> None:
        """Flush what is queued."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1))
