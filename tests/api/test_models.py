from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from paddock_api.base import format_time
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_api.sandbox import Sandbox, SandboxStatus
from paddock_api.session import AgentSession, AgentSessionSpec
from paddock_api.session_status import AgentSessionStatus, SessionResult, StepStatus
from paddock_api.template import ClusterSandboxTemplate, SandboxTemplateSpec

DESIGN_EXAMPLE = """
apiVersion: paddock.dev/v1alpha1
kind: AgentSession
metadata: {name: hello}
spec:
  user: alice
  templateRef: {name: python}
  env: [{name: GREETING, value: hi}]
  files: [{path: data.csv, content: "a,b\\n1,2\\n"}]
  steps:
  - name: greet
    language: python
    code: print("hello")
    stdin: ""
    timeout: 30s
    continueOnFailure: false
  lifetime:
    maxDuration: 1h
"""


def read(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def test_the_example_of_the_design_is_a_session() -> None:
    session = AgentSession.model_validate(read(DESIGN_EXAMPLE))
    step = session.spec.steps[0]
    assert session.spec.lifetime.max_duration is not None
    assert session.spec.lifetime.max_duration.ms == 3_600_000
    request = step.to_request("5e2b4a8e")
    assert request.id == "5e2b4a8e.greet"
    assert request.timeout_ms == 30_000
    assert request.code == 'print("hello")'
    assert session.spec.env[0].to_message().value == "hi"


def test_silence_means_defaults() -> None:
    spec = AgentSessionSpec.read({"user": "alice", "templateRef": {"name": "python"}})
    assert spec.template_ref.kind == "SandboxTemplate"
    assert (spec.env, spec.files, spec.steps) == ([], [], [])
    assert spec.lifetime.max_duration is None
    limits = SandboxTemplateSpec.read({}).to_limits()
    assert limits.timeout_ms == 30_000
    assert limits.memory_bytes == 512 << 20
    assert limits.cpu_millis == 500
    assert limits.processes == 128
    assert limits.output_bytes == 1 << 20
    assert limits.output_kill_bytes is None
    assert SandboxTemplateSpec().lifetime.max_duration.ms == 3_600_000


def test_a_template_becomes_the_settings_of_its_sandbox() -> None:
    template = ClusterSandboxTemplate.model_validate(
        read("""
        apiVersion: paddock.dev/v1alpha1
        kind: ClusterSandboxTemplate
        metadata: {name: python}
        spec:
          image: registry.example.com/sandbox:1
          languages: [bash]
          resources: {cpu: 2, memory: 1Gi, disk: 2Gi, processes: 64}
          network: {mode: None}
          limits: {timeout: 5m, cpuTime: 10s, outputIdleTimeout: 1m, outputBytes: 4096,
                   outputKillBytes: 10M, fileBytes: 256Mi, concurrency: 2}
          lifetime: {maxDuration: 30m, maxDurationLimit: 2h}
          env: [{name: LANG, value: C.UTF-8}]
        """)
    )
    settings = template.spec.to_settings("uid-1")
    assert settings.sandbox_uid == "uid-1"
    assert settings.languages == ["bash"]
    assert settings.network_none
    assert settings.env[0].name == "LANG"
    assert settings.limits.model_dump() == {
        "timeout_ms": 300_000,
        "cpu_time_ms": 10_000,
        "output_idle_timeout_ms": 60_000,
        "output_bytes": 4096,
        "output_kill_bytes": 10_000_000,
        "file_bytes": 256 << 20,
        "concurrency": 2,
        "processes": 64,
        "memory_bytes": 1 << 30,
        "disk_bytes": 2 << 30,
        "cpu_millis": 2000,
    }


def test_the_largest_template_env_fits_into_one_environment_variable() -> None:
    # JSON writes the worst character as six; the kernel takes 128 KiB.
    worst = {"name": "A", "value": "\x01" * 16383}
    settings = SandboxTemplateSpec.read({"env": [worst]}).to_settings("u" * 36)
    assert len(settings.to_json()) < 128 * 1024 - 256


def test_fields_of_a_newer_schema_are_ignored() -> None:
    raw = {
        "user": "alice",
        "templateRef": {"name": "python", "colour": "green"},
        "suspend": True,
        "steps": [{"name": "a", "argv": ["true"], "nice": 5}],
    }
    assert AgentSessionSpec.read(raw).steps[0].argv == ["true"]


@pytest.mark.parametrize(
    "change",
    [
        {"user": ""},
        {"user": None},
        {"templateRef": {"kind": "Template", "name": "python"}},
        {"lifetime": {"maxDuration": "1d"}},
        {"env": [{"name": "1X"}]},
        {"steps": [{"name": "Greet", "argv": ["true"]}]},
        {"steps": [{"name": "a", "language": "cobol", "code": "x"}]},
        {"steps": [{"name": "a", "argv": []}]},
        {"steps": [{"name": "a", "language": "python", "code": "ü" * 32769}]},
        {"steps": [{"name": "a", "argv": ["a\0b"]}]},
    ],
)
def test_what_does_not_fit_the_model_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AgentSessionSpec.read({"user": "alice", "templateRef": {"name": "python"}, **change})


def test_a_status_has_no_null_and_knows_its_duration() -> None:
    status = AgentSessionStatus(
        observed_generation=1,
        result=SessionResult(step="greet", reason=ExecutionReason.EXITED, duration_ms=1400),
        steps=[StepStatus(name="greet", state=ExecutionState.RUNNING)],
        ready_at=datetime(2026, 8, 1, 11, 30, 1, 250_999, tzinfo=timezone(timedelta(hours=2))),
    )
    assert status.to_dict() == {
        "observedGeneration": 1,
        "conditions": [],
        "readyAt": "2026-08-01T09:30:01.250Z",
        "result": {
            "step": "greet",
            "reason": "Exited",
            "durationMs": 1400,
            "duration": "1s400ms",
        },
        "steps": [{"name": "greet", "state": "Running"}],
    }


def test_what_was_written_reads_back_the_same() -> None:
    status = SandboxStatus(pod_name="a", pod_ip="10.0.0.7", ready_at=datetime.now(UTC))
    written = status.to_dict()
    assert written["podIP"] == "10.0.0.7"
    assert SandboxStatus.read(written).to_dict() == written


@pytest.mark.parametrize("hour", [0, 12])
def test_times_are_utc_and_sort_as_text(hour: int) -> None:
    moment = datetime(2026, 8, 1, hour, tzinfo=UTC)
    assert format_time(moment) == f"2026-08-01T{hour:02}:00:00.000Z"
    assert format_time(moment.replace(microsecond=5999)) == f"2026-08-01T{hour:02}:00:00.005Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError):
        SandboxStatus(ready_at=datetime(2026, 8, 1))


def test_models_do_not_change_under_the_plan() -> None:
    sandbox = Sandbox.model_validate({"spec": {"templateRef": {"name": "python"}}})
    with pytest.raises(ValidationError, match="frozen"):
        sandbox.spec.template_ref = sandbox.spec.template_ref  # type: ignore[misc]
