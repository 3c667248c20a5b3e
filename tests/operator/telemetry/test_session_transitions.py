"""What a written status means for metrics and traces: each transition is counted once."""

from typing import Any

from tests.operator.objects import Json, pod, ready_status, sandbox, session, step, working_status
from tests.operator.planning import answers, ended, new_status, plan_session

from paddock_operator.plan.views import ObjectView
from paddock_operator.telemetry import metrics
from paddock_operator.telemetry.sessions import SessionTelemetry
from paddock_operator.telemetry.tracing import SpanRecord

RUNNING = {
    "name": "greet",
    "state": "Running",
    "executionId": "5e2b4a8e-6d5c-4f0e-9a53-0d8f0c2f8a11.greet",
}


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def finished(code: int = 0) -> tuple[Json, Json]:
    """The status before and after the end of a one-step session."""
    before = working_status(RUNNING)
    plan = plan_session(
        session(step(), status=before),
        sandbox(status=ready_status()),
        pod(),
        answering=True,
        results=answers(ended(code=code)),
    )
    return before, new_status(plan)


def test_an_end_counts_the_session_the_step_and_its_time_once() -> None:
    before, after = finished()
    spans: list[SpanRecord] = []
    telemetry = SessionTelemetry(spans.append)
    names: list[tuple[str, dict[str, str]]] = [
        ("paddock_sessions_finished_total", {"reason": "Completed"}),
        ("paddock_executions_total", {"reason": "Exited"}),
        ("paddock_execution_duration_seconds_count", {}),
    ]
    counted = [value(name, **labels) for name, labels in names]
    telemetry.written(ObjectView(session(step(), status=after)), before)
    assert [value(name, **labels) for name, labels in names] == [n + 1 for n in counted]
    telemetry.written(ObjectView(session(step(), status=after)), after)
    assert [value(name, **labels) for name, labels in names] == [n + 1 for n in counted]
    assert [span.name for span in spans] == ["AgentSession", "sandbox start", "execute"]


def test_the_start_is_counted_when_it_is_first_written() -> None:
    name = "paddock_session_start_duration_seconds_count"
    before = value(name, launch="Cold")
    ready = working_status(RUNNING)
    for old in ({}, ready, ready):
        SessionTelemetry(None).written(ObjectView(session(step(), status=ready)), old)
    assert value(name, launch="Cold") == before + 1


def test_the_log_line_of_an_end_has_the_ids_that_lead_to_its_trace(caplog: Any) -> None:
    caplog.set_level("INFO")
    before, after = finished(3)
    SessionTelemetry(None).written(ObjectView(session(step(), status=after)), before)
    (record,) = [r for r in caplog.records if r.getMessage() == "session finished"]
    said = record.__dict__
    assert said["reason"] == "StepFailed"
    assert said["phase"] == "Failed"
    assert said["k8s.namespace.name"] == "team"
    assert said["trace_id"] == said["paddock.session.uid"].replace("-", "")
    assert "hello\n" not in str(said)
    assert "print" not in str(said)
