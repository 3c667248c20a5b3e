"""One trace per session, drawn from its status when it has ended; off unless OTLP is set.

The trace id is the creator's (annotation opentelemetry.io/trace-context) or the session's uid
without dashes; span ids are hashes of what they stand for. So nothing is kept in memory, a
crash loses no span, and drawing a trace twice draws the same one.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from paddock_operator.plan.views import ObjectView, parse_time, trace_context


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One finished span, independent of any SDK. Times are UTC."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    failed: bool = False


def enabled() -> bool:
    """Whether the standard OTLP variables ask for traces."""
    return bool(
        os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )


def trace_ids(session: ObjectView) -> tuple[int, int | None]:
    """Trace id and parent span id of a session."""
    context = trace_context(session)
    if context is not None:
        _, trace, span, _ = context.split("-")
        try:
            return int(trace, 16), int(span, 16)
        except ValueError:
            pass
    digits = session.uid.replace("-", "")
    try:
        return int(digits, 16) or 1, None
    except ValueError:
        return int.from_bytes(hashlib.sha256(digits.encode()).digest()[:16], "big"), None


def span_id(*what: str) -> int:
    """The id of the span that stands for these words; never 0."""
    return int.from_bytes(hashlib.sha256("/".join(what).encode()).digest()[:8], "big") or 1


def traceparent(session: ObjectView, step: str) -> str:
    """The W3C header under which a step's execution is asked for."""
    trace, _ = trace_ids(session)
    return f"00-{trace:032x}-{span_id(session.uid, 'step', step):016x}-01"


def spans(session: ObjectView) -> Iterator[SpanRecord]:
    """The whole trace of a finished session."""
    status = session.status
    trace, parent = trace_ids(session)
    root = span_id(session.uid, "session")
    ended = parse_time(status.get("finishedAt")) or session.created_at
    result = status.get("result") or {}
    yield SpanRecord(
        "AgentSession",
        trace,
        root,
        parent,
        session.created_at,
        ended,
        {
            "k8s.namespace.name": session.namespace,
            "paddock.session.name": session.name,
            "paddock.session.uid": session.uid,
            "paddock.session.phase": str(status.get("phase")),
            "paddock.execution.reason": str(result.get("reason", "")),
        },
        failed=status.get("phase") == "Failed",
    )
    if (ready := parse_time(status.get("readyAt"))) is not None:
        yield SpanRecord(
            "sandbox start",
            trace,
            span_id(session.uid, "start"),
            root,
            session.created_at,
            ready,
            {"paddock.sandbox.name": str((status.get("sandbox") or {}).get("name", ""))},
        )
    for step in status.get("steps") or ():
        yield from _step_span(session, step, trace, root)


def _step_span(
    session: ObjectView, step: Mapping[str, Any], trace: int, root: int
) -> Iterator[SpanRecord]:
    start, end = parse_time(step.get("startedAt")), parse_time(step.get("finishedAt"))
    if start is None or end is None:
        return
    attributes: dict[str, str | int] = {
        "paddock.step.name": str(step.get("name")),
        "paddock.execution.id": str(step.get("executionId")),
        "paddock.execution.reason": str(step.get("reason")),
    }
    if "exitCode" in step:
        attributes["process.exit.code"] = int(step["exitCode"])
    if "cpuMs" in step:
        attributes["paddock.execution.cpu_ms"] = int(step["cpuMs"])
    yield SpanRecord(
        "execute",
        trace,
        span_id(session.uid, "step", str(step.get("name"))),
        root,
        start,
        end,
        attributes,
        failed=not (step.get("reason") == "Exited" and step.get("exitCode") == 0),
    )
