"""What a session's status writes mean for metrics, logs and traces."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from paddock_operator.plan.views import ObjectView, parse_time
from paddock_operator.telemetry import metrics
from paddock_operator.telemetry.tracing import SpanRecord, spans, trace_ids

Export = Callable[[SpanRecord], None]

log = logging.getLogger(__name__)


class SessionTelemetry:
    """Called once per version of a session that arrives, with the status that was known before."""

    def __init__(self, export: Export | None) -> None:
        self._export = export

    def written(self, session: ObjectView, old: Mapping[str, Any]) -> None:
        """Count the transitions between the old status and the new one."""
        status = session.status
        if status.get("readyAt") and not old.get("readyAt"):
            ready = parse_time(status["readyAt"])
            launch = str((status.get("sandbox") or {}).get("launch", "Cold"))
            if ready is not None:
                took = (ready - session.created_at).total_seconds()
                metrics.SESSION_START.labels(launch).observe(max(0.0, took))
        before = {step["name"]: step for step in old.get("steps") or ()}
        for step in status.get("steps") or ():
            known = before.get(step["name"]) or {}
            if step.get("state") == "Finished" and known.get("state") != "Finished":
                metrics.EXECUTIONS.labels(str(step.get("reason"))).inc()
                if "durationMs" in step:
                    metrics.EXECUTION_SECONDS.observe(step["durationMs"] / 1000)
        if status.get("finishedAt") and not old.get("finishedAt"):
            self._finished(session)

    def _finished(self, session: ObjectView) -> None:
        finished = session.condition("Finished") or {}
        reason = str(finished.get("reason"))
        metrics.SESSIONS_FINISHED.labels(reason).inc()
        log.info(
            "session finished",
            extra={
                "k8s.namespace.name": session.namespace,
                "paddock.session.name": session.name,
                "paddock.session.uid": session.uid,
                "trace_id": f"{trace_ids(session)[0]:032x}",
                "reason": reason,
                "phase": session.status.get("phase"),
            },
        )
        if self._export is not None:
            for span in spans(session):
                self._export(span)
