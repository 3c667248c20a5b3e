"""The plan functions as the tests call them: every status that they want written is checked."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.operator.objects import NOW, POD_SETTINGS, SESSION_UID, WORKSPACE_UID, Json, after
from tests.operator.schema import check_status

from paddock_api.executions import Execution, Output
from paddock_api.names import execution_id
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.actions import Action, Converse, Emit, PatchStatus, Plan
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.sandbox import SandboxObserved
from paddock_operator.plan.sandbox import plan_sandbox as real_plan_sandbox
from paddock_operator.plan.session import plan_session as real_plan_session
from paddock_operator.plan.session_input import Refused, SessionObserved
from paddock_operator.plan.views import ObjectView, PodView

ASKED = SandboxTemplateSpec()


def plan_session(
    session: Mapping[str, Any],
    sandbox: Mapping[str, Any] | None = None,
    pod: Mapping[str, Any] | None = None,
    *,
    gone: Mapping[str, Any] | None = None,
    answering: bool = False,
    results: Mapping[str, Execution | Refused] | None = None,
    template: SandboxTemplateSpec | Trouble = ASKED,
    trouble: Trouble | None = None,
    now: datetime | None = None,
) -> Plan:
    """The plan for this session, seen like this, two seconds after its creation."""
    seen = SessionObserved(
        session=ObjectView(session),
        template=template,
        sandbox=ObjectView(sandbox) if sandbox is not None else None,
        pod=PodView(pod) if pod is not None else None,
        gone=PodView(gone) if gone is not None else None,
        answering=answering,
        results=results or {},
        trouble=trouble,
    )
    return checked(real_plan_session(seen, now or after(2)))


def plan_sandbox(
    sandbox: Mapping[str, Any],
    pod: Mapping[str, Any] | None = None,
    *,
    gone: Mapping[str, Any] | None = None,
    answering: bool = False,
    template: SandboxTemplateSpec | Trouble = ASKED,
    trouble: Trouble | None = None,
    claimed: bool = False,
    in_use: bool = False,
    now: datetime | None = None,
) -> Plan:
    """The plan for this sandbox, seen like this, one second after its creation."""
    seen = SandboxObserved(
        sandbox=ObjectView(sandbox),
        template=template,
        pod=PodView(pod) if pod is not None else None,
        gone=PodView(gone) if gone is not None else None,
        answering=answering,
        free_uid=WORKSPACE_UID,
        trouble=trouble,
        claimed=claimed,
        in_use=in_use,
    )
    return checked(real_plan_sandbox(seen, POD_SETTINGS, now or after(1)))


def checked(plan: Plan) -> Plan:
    """The plan, if every status in it fits the schema and the models."""
    for action in plan.actions:
        if isinstance(action, PatchStatus):
            check_status(action.key.kind, action.status)
    return plan


def kinds(plan: Plan) -> list[str]:
    """The actions in order, Events apart: `Create Sandbox`, `PatchStatus AgentSession`, …"""
    return [_say(action) for action in plan.actions if not isinstance(action, Emit)]


def _say(action: Action) -> str:
    if isinstance(action, Converse):
        name = action.execution.id.partition(".")[2] if action.execution else "configure"
        return f"Converse {name}"
    key = getattr(action, "key", None)
    return type(action).__name__ + (f" {key.kind}" if key is not None else "")


def only(plan: Plan, kind: type[Any]) -> Any:
    """The one action of this type."""
    found = [action for action in plan.actions if isinstance(action, kind)]
    assert len(found) == 1, found
    return found[0]


def new_status(plan: Plan) -> Json:
    """The status that the plan writes."""
    status: Json = dict(only(plan, PatchStatus).status)
    return status


def events(plan: Plan) -> list[str]:
    """Reasons of the Events that the plan emits."""
    return [str(action.reason) for action in plan.actions if isinstance(action, Emit)]


def said(status: Mapping[str, Any], kind: str) -> tuple[str, str]:
    """Status and reason of a condition."""
    found = [entry for entry in status["conditions"] if entry["type"] == kind]
    assert len(found) == 1, f"{kind} is not among {status['conditions']}"
    return found[0]["status"], found[0]["reason"]


def message(status: Mapping[str, Any], kind: str) -> str:
    """Message of a condition."""
    found = next(entry for entry in status["conditions"] if entry["type"] == kind)
    return str(found["message"])


def ended(
    name: str = "greet",
    code: int | None = 0,
    *,
    reason: ExecutionReason = ExecutionReason.EXITED,
    stdout: str = "hello\n",
    session_uid: str = SESSION_UID,
    **fields: Any,
) -> Execution:
    """The runtime's answer about an ended step."""
    return Execution(
        id=execution_id(session_uid, name),
        state=ExecutionState.FINISHED,
        reason=reason,
        exit_code=code,
        duration_ms=12,
        cpu_ms=9,
        stdout=Output(tail=stdout, bytes=len(stdout.encode())),
        accepted_at=NOW,
        started_at=NOW,
        finished_at=after(0.012),
        **fields,
    )


def answers(*executions: Execution) -> dict[str, Execution | Refused]:
    """Results by execution id, as the engine hands them to a plan."""
    return {execution.id: execution for execution in executions}
