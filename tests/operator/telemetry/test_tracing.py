"""A session's trace: drawn from its status alone, and delivered by OTLP as it was drawn."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from paddock_operator.plan.views import ObjectView
from paddock_operator.telemetry.tracing import spans, trace_ids, traceparent

UID = "5e2b4a8e-6d5c-4f0e-9a53-0d8f0c2f8a11"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def session(annotation: object = None) -> ObjectView:
    annotations = {} if annotation is None else {"opentelemetry.io/trace-context": annotation}
    step = {
        "name": "greet",
        "executionId": f"{UID}.greet",
        "state": "Finished",
        "reason": "Exited",
        "exitCode": 3,
        "cpuMs": 9,
        "startedAt": "2026-08-01T09:30:01.300Z",
        "finishedAt": "2026-08-01T09:30:01.312Z",
        "stdoutTail": "secret output",
    }
    never_ran = {"name": "later", "state": "Skipped"}
    return ObjectView(
        {
            "metadata": {
                "name": "hello",
                "namespace": "team",
                "uid": UID,
                "creationTimestamp": "2026-08-01T09:30:00Z",
                "annotations": annotations,
            },
            "spec": {"steps": [{"name": "greet", "code": "print('secret code')"}]},
            "status": {
                "phase": "Failed",
                "readyAt": "2026-08-01T09:30:01.250Z",
                "finishedAt": "2026-08-01T09:30:01.400Z",
                "sandbox": {"name": "hello-x7k2p", "uid": "u"},
                "steps": [step, never_ran],
            },
        }
    )


def test_a_trace_tells_the_session_its_start_and_each_step_that_ran() -> None:
    root, start, step = spans(session())
    assert [root.name, start.name, step.name] == ["AgentSession", "sandbox start", "execute"]
    assert root.parent_id is None
    assert {start.parent_id, step.parent_id} == {root.span_id}
    assert root.failed
    assert step.failed
    assert step.attributes["process.exit.code"] == 3
    assert (step.end - step.start).total_seconds() == pytest.approx(0.012)


def test_drawing_it_again_draws_the_same_one() -> None:
    assert list(spans(session())) == list(spans(session()))


def test_the_uid_is_the_trace_id_unless_the_creator_sent_one() -> None:
    assert trace_ids(session()) == (int(UID.replace("-", ""), 16), None)
    expected = (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    assert trace_ids(session(PARENT)) == expected
    assert trace_ids(session(f'{{"traceparent": "{PARENT}"}}')) == expected


@pytest.mark.parametrize(
    "annotation",
    ["", "nonsense", "{", "[]", '{"traceparent": 7}', "00-" + "z" * 52, "x" * 5000, 7, None],
)
def test_a_malformed_context_is_ignored(annotation: object) -> None:
    assert trace_ids(session(annotation))[0] == int(UID.replace("-", ""), 16)


def test_the_header_to_the_runtime_names_the_steps_span() -> None:
    step = list(spans(session(PARENT)))[2]
    assert traceparent(session(PARENT), "greet") == (
        f"00-0af7651916cd43dd8448eb211c80319c-{step.span_id:016x}-01"
    )


def test_code_and_output_are_in_no_span() -> None:
    assert "secret" not in repr(list(spans(session())))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Any:
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        yield received
        server.shutdown()
        thread.join()


def test_the_exporter_delivers_the_whole_trace_over_otlp(collector: list[bytes]) -> None:
    from paddock_operator.telemetry.otlp import SpanExporter

    exporter = SpanExporter()
    for span in spans(session(PARENT)):
        exporter.export(span)
    exporter.close()
    requests = [ExportTraceServiceRequest.FromString(body) for body in collector]
    found = [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert {span.name for span in found} == {"AgentSession", "sandbox start", "execute"}
    assert {span.trace_id.hex() for span in found} == {"0af7651916cd43dd8448eb211c80319c"}
    root = next(span for span in found if span.name == "AgentSession")
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
