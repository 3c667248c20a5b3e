"""How long it lives: what was said when it was made, edits, ceilings, idleness and what follows."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.objects import (
    NOW,
    Json,
    after,
    condition,
    pod,
    ready_status,
    sandbox,
    session,
    step,
    terminated,
    working_status,
)
from tests.operator.planning import (
    kinds,
    message,
    new_status,
    only,
    plan_session,
    said,
)

from paddock_api.base import format_time
from paddock_api.conditions import ConditionReason as R
from paddock_api.durations import parse_duration
from paddock_api.sandbox import Lifetime
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan import lifetimes
from paddock_operator.plan.actions import Converse, Create, Delete, PatchStatus
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.views import ObjectView, PodView

MADE_WITH = {"maxDuration": "10m", "idleTimeout": "5m"}
READY = sandbox(status=ready_status(), lifetime=MADE_WITH)
EDITED = SandboxTemplateSpec.read(
    {"lifetime": {"maxDuration": "7m", "maxDurationLimit": "8m", "idleTimeout": "3m"}}
)
"""What the template has come to say since."""


def running(**lifetime: str) -> Json:
    """An open session whose status says that it ends 600 s after its creation."""
    return session(status=working_status(), max_duration=None, lifetime=lifetime)


def told(stored: Json, seen: Json = READY, its_pod: Json | None = None, **more: Any) -> Converse:
    """What its runtime is told, ten seconds after its creation."""
    its_pod = its_pod or pod()
    plan = plan_session(stored, seen, its_pod, answering=True, now=after(10), **more)
    found: Converse = only(plan, Converse)
    return found


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ({}, {"maxDuration": "7m", "idleTimeout": "3m"}),
        ({"maxDuration": "2m"}, {"maxDuration": "2m", "idleTimeout": "3m"}),
        ({"idleTimeout": "90s"}, {"maxDuration": "7m", "idleTimeout": "90s"}),
        (
            {"maxDuration": "8m", "idleTimeout": "1s", "ttlAfterFinished": "1h"},
            {"maxDuration": "8m", "idleTimeout": "1s"},
        ),
    ],
)
def test_a_sandbox_is_made_with_everything_that_its_session_and_template_say(
    own: Json, given: Json
) -> None:
    made = only(plan_session(session(max_duration=None, lifetime=own), template=EDITED), Create)
    assert made.manifest["spec"]["lifetime"] == given


@pytest.mark.parametrize(
    ("own", "expires", "idle_ms"),
    [
        pytest.param({}, 600, 300_000, id="silent"),
        pytest.param({"maxDuration": "2m"}, 120, 300_000, id="shorter"),
        pytest.param({"maxDuration": "1h"}, 3600, 300_000, id="longer"),
        pytest.param({"idleTimeout": "20s"}, 600, 20_000, id="idle added"),
        pytest.param({"maxDuration": "1h", "idleTimeout": "2h"}, 3600, 7_200_000, id="both"),
    ],
)
def test_an_edit_of_the_session_moves_it_and_one_of_the_template_does_not(
    own: Json, expires: int, idle_ms: int
) -> None:
    for template in (SandboxTemplateSpec(), EDITED):
        converse = told(running(**own), template=template)
        assert converse.expires_at == after(expires)
        assert converse.configure.expires_in_ms == (expires - 10) * 1000
        assert converse.configure.idle_timeout_ms == idle_ms


def test_an_end_that_an_edit_puts_into_the_past_is_left_to_the_runtime_at_first() -> None:
    late = plan_session(running(maxDuration="5s"), READY, pod(), answering=True, now=after(10))
    converse = only(late, Converse)
    assert (converse.expires_at, converse.configure.expires_in_ms) == (after(5), 1)
    assert late.requeue_at == after(20)


@pytest.mark.parametrize("stored", [True, False], ids=["in its status", "nothing stored yet"])
@pytest.mark.parametrize("with_pod", [True, False])
def test_an_edit_above_the_ceiling_is_not_applied_and_said(stored: bool, with_pod: bool) -> None:
    own = {"maxDuration": "48h"}
    made = session(max_duration=None, lifetime=own)
    if stored:
        made = running(**own)
    if not with_pod:  # its image is pulled, or it waits for a quota
        plan = plan_session(made, sandbox(lifetime=MADE_WITH), None, now=after(10))
        assert plan.requeue_at is not None
        assert plan.requeue_at <= after(600 + 15)
        return
    plan = plan_session(made, READY, pod(), answering=True, now=after(10))
    assert only(plan, Converse).expires_at == after(600)
    status = new_status(plan)
    assert status["expiresAt"] == format_time(after(600))
    assert said(status, "Ready") == ("True", "Answering")
    for words in ("spec.lifetime.maxDuration is 48h", "above the 24h", "Lower it"):
        assert words in message(status, "Ready")
    lowered = {**made, "status": status, "spec": {**made["spec"], "lifetime": MADE_WITH}}
    assert "Lower it" not in message(
        new_status(plan_session(lowered, READY, pod(), answering=True, now=after(10))), "Ready"
    )


@pytest.mark.parametrize(
    ("limit", "its_limit", "allowed"),
    [("24h", "24h", "24h"), ("2h", "24h", "2h"), ("24h", "2h", "24h")],
)
def test_the_ceiling_is_the_one_that_its_pod_was_made_with(
    limit: str, its_limit: str, allowed: str
) -> None:
    made = SandboxTemplateSpec.read({"lifetime": {"maxDurationLimit": limit}})
    now_says = SandboxTemplateSpec.read({"lifetime": {"maxDurationLimit": its_limit}})
    seen = PodView(pod(template=made))
    assert lifetimes.ceiling_ms(now_says, seen) == parse_duration(allowed)
    assert lifetimes.ceiling_ms(now_says, None) == now_says.lifetime.max_duration_limit.ms


SECONDS = st.integers(1, 200_000)


@given(
    own=st.none() | SECONDS, stored=st.none() | SECONDS, ceiling=st.none() | SECONDS, made=SECONDS
)
def test_the_end_is_what_is_asked_for_or_else_stays(
    own: int | None, stored: int | None, ceiling: int | None, made: int
) -> None:
    status = {} if stored is None else {"expiresAt": format_time(after(stored))}
    view = ObjectView({"metadata": {"creationTimestamp": format_time(NOW)}, "status": status})
    asked = Lifetime() if own is None else Lifetime.read({"maxDuration": f"{own}s"})
    moment, note = lifetimes.expires_at(
        view, asked, made * 1000, None if ceiling is None else ceiling * 1000
    )
    refused = own is not None and ceiling is not None and own > ceiling
    if own is not None and ceiling is None and stored is not None:
        assert moment == after(min(own, stored)), "nothing gets longer while nobody knows the most"
    elif own is not None and not refused:
        assert moment == after(own)
    else:
        assert moment == after(stored if stored is not None else made)
    assert bool(note) == refused
    told_again = ObjectView({**view.obj, "status": {"expiresAt": format_time(moment)}})
    again, _ = lifetimes.expires_at(
        told_again, asked, made * 1000, None if ceiling is None else ceiling * 1000
    )
    assert again == moment, "what was told once stays"


def idle_pod() -> Json:
    words = json.dumps({"reason": "Idle"})
    return pod(runtime=terminated(0, "Completed", words), phase="Succeeded")


def test_an_open_session_that_is_not_used_completes() -> None:
    plan = plan_session(running(), READY, idle_pod(), now=after(320))
    assert kinds(plan) == ["PatchStatus AgentSession", "Delete Sandbox"]
    status = new_status(plan)
    assert status["phase"] == "Expired"
    assert said(status, "Complete") == ("True", "Idle")
    assert said(status, "Ready") == ("True", "Idle")


def test_one_with_steps_unfinished_that_is_not_used_has_failed() -> None:
    entry = {"name": "greet", "state": "Pending"}
    stored = session(step(), status=working_status(entry))
    status = new_status(plan_session(stored, READY, idle_pod(), now=after(320)))
    assert status["phase"] == "Failed"
    assert said(status, "Failed") == ("True", "Idle")
    assert [entry["state"] for entry in status["steps"]] == ["Skipped"]


def finished(**lifetime: str) -> Json:
    end = condition("Finished", "True", "Completed")
    status = {**working_status(), "conditions": [end], "finishedAt": format_time(after(60))}
    return session(status=status, max_duration=None, lifetime=lifetime)


@pytest.mark.parametrize(
    ("lifetime", "due"),
    [
        ({}, None),
        ({"ttlAfterFinished": "10s"}, 70),
        ({"ttlAfterFinished": "1ms"}, 60.001),
        ({"ttlAfterFinished": "168h"}, 60 + 168 * 3600),
        ({"ttlAfterFinished": "whenever"}, None),
    ],
)
def test_a_finished_session_goes_after_its_ttl_and_never_without(
    lifetime: Json, due: float | None
) -> None:
    kept = plan_session(finished(**lifetime), now=after(60))
    assert kinds(kept) == []
    assert kept.requeue_at == (None if due is None else after(due))
    if due is None:
        assert kinds(plan_session(finished(**lifetime), now=after(10**6))) == []
        return
    early = plan_session(finished(**lifetime), now=after(due) - timedelta(microseconds=1))
    assert kinds(early) == []
    gone = plan_session(finished(**lifetime), now=after(due))
    assert kinds(gone) == ["Delete AgentSession"]
    assert only(gone, Delete).uid == finished()["metadata"]["uid"]


def test_its_sandbox_goes_before_it() -> None:
    plan = plan_session(finished(ttlAfterFinished="1s"), READY, pod(), now=after(99))
    assert kinds(plan) == ["Delete Sandbox", "Delete AgentSession"]


def test_nothing_is_deleted_that_has_not_finished() -> None:
    stored = running(maxDuration="10m", ttlAfterFinished="1ms")
    plan = plan_session(stored, READY, pod(), answering=True, now=after(500))
    assert not [action for action in plan.actions if isinstance(action, Delete)]
    assert [a for a in plan.actions if isinstance(a, PatchStatus)] == []


NO_TEMPLATE = Trouble(R.TEMPLATE_NOT_FOUND, "SandboxTemplate/python does not exist.")


@pytest.mark.parametrize("own", [{}, {"maxDuration": "100h"}])
def test_what_was_asked_for_while_there_was_no_template_gives_nothing_later(own: Json) -> None:
    """A session may come before its template, ask for a week, and be edited when it comes."""
    early = session(step(), max_duration=None, lifetime=own)
    told = plan_session(early, template=NO_TEMPLATE)
    status = new_status(told)
    assert "expiresAt" not in status
    silent = {**early, "status": status, "spec": {**early["spec"], "lifetime": {}}}
    small = SandboxTemplateSpec.read({"lifetime": {"maxDuration": "10m"}})
    create = only(plan_session(silent, template=small), Create)
    assert create.manifest["spec"]["lifetime"]["maxDuration"] == "10m"
    plan = plan_session(silent, READY, pod(), answering=True, template=small, now=after(10))
    assert only(plan, Converse).expires_at == after(600)
