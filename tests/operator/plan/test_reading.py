"""Reading objects that other clients wrote: nothing in them may raise."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.objects import NOW, pod, sandbox, session, template

from paddock_api.conditions import ConditionReason as R
from paddock_operator.plan.actions import Key
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.templates import read_template, template_key
from paddock_operator.plan.views import (
    EPOCH,
    TRACE_ANNOTATION,
    ObjectView,
    PodView,
    get,
    parse_time,
    trace_context,
)

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def context_of(annotation: Any) -> str | None:
    return trace_context(ObjectView(session(annotations={TRACE_ANNOTATION: annotation})))


@pytest.mark.parametrize(
    ("annotation", "context"),
    [
        pytest.param(GOOD, GOOD, id="bare"),
        pytest.param(json.dumps({"traceparent": GOOD}), GOOD, id="carrier"),
        pytest.param(json.dumps({"tracestate": "a=b"}), None, id="carrier-without"),
        pytest.param(json.dumps({"traceparent": 3}), None, id="number"),
        pytest.param("{", None, id="broken-json"),
        pytest.param("", None, id="empty"),
        pytest.param("x" * 5000, None, id="long"),
        pytest.param("00-" + "-" * 52, None, id="dashes-only"),
        pytest.param(GOOD.replace("b7ad", "xyz!"), None, id="not-hex"),
        pytest.param(GOOD.upper().replace("00-", "00-", 1), None, id="upper-case"),
        pytest.param("00-" + "0" * 32 + "-b7ad6b7169203331-01", None, id="zero-trace"),
        pytest.param("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", None, id="zero"),
        pytest.param(GOOD.replace("0af7", "+af7"), None, id="sign"),
        pytest.param(GOOD.replace("0af7", "0a_7"), None, id="underscore"),
        pytest.param(GOOD.replace("0af7", "٠af7"), None, id="other-digits"),
        pytest.param('{"a":' + "[" * 1010, None, id="deep-json"),
    ],
)
def test_a_trace_context_is_taken_only_in_its_exact_form(
    annotation: str, context: str | None
) -> None:
    assert context_of(annotation) == context


@given(st.text(max_size=60) | st.text("-0abcdef", min_size=52, max_size=52).map("00-".__add__))
def test_any_annotation_gives_an_answer(annotation: str) -> None:
    context_of(annotation)


@pytest.mark.parametrize("text", [None, 3, "", "soon", "2026-13-01T00:00:00Z", {}])
def test_what_is_not_a_time_reads_as_none(text: object) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize("text", ["2026-08-01T09:30:00Z", "2026-08-01T11:30:00+02:00"])
def test_a_time_reads_in_utc_terms(text: str) -> None:
    assert parse_time(text) == NOW


def test_a_path_ends_where_something_is_missing() -> None:
    assert get({"a": {"b": 1}}, "a", "b") == 1
    assert get({"a": 3}, "a", "b") is None
    assert get({}, "a", "b", "c") is None


def test_an_empty_object_reads_as_empty() -> None:
    view = PodView({})
    assert (view.name, view.namespace, view.uid, view.resource_version) == ("", "", "", "")
    assert (view.generation, view.created_at, view.deleting) == (0, EPOCH, False)
    assert (view.owner, view.spec, view.status) == (None, {}, {})
    assert (view.ip, view.phase, view.unschedulable) == ("", "Pending", None)
    assert view.workspace_uid is None
    assert not view.container("runtime").running


def test_only_the_controller_is_an_owner() -> None:
    obj = sandbox()
    obj["metadata"]["ownerReferences"] = [
        {"kind": "ConfigMap", "name": "x", "uid": "1"},
        {"kind": "Deployment", "name": "y", "uid": "2", "controller": False},
    ]
    assert ObjectView(obj).owner is None
    assert not ObjectView(obj).owned_by("1")


def test_a_pod_tells_its_workspaces_uid() -> None:
    assert PodView(pod()).workspace_uid == 200_003


def test_a_template_is_looked_up_in_the_sessions_namespace_unless_it_says_cluster() -> None:
    assert template_key(ObjectView(session())) == Key("SandboxTemplate", "team", "python")
    wide = session(templateRef={"name": "python", "kind": "ClusterSandboxTemplate"})
    assert template_key(ObjectView(wide)) == Key("ClusterSandboxTemplate", "", "python")


def test_a_template_that_is_not_there_is_trouble_that_names_it() -> None:
    trouble = read_template(Key("SandboxTemplate", "team", "python"), None)
    assert isinstance(trouble, Trouble)
    assert trouble.reason is R.TEMPLATE_NOT_FOUND
    assert "SandboxTemplate/python" in trouble.message


def test_a_template_that_does_not_fit_is_trouble_that_names_the_field() -> None:
    odd = template({"resources": {"memory": "many"}})
    trouble = read_template(Key("SandboxTemplate", "team", "python"), odd)
    assert isinstance(trouble, Trouble)
    assert trouble.reason is R.TEMPLATE_INVALID
    assert "spec.resources.memory" in trouble.message


def test_an_empty_template_is_a_working_one() -> None:
    empty = read_template(Key("SandboxTemplate", "team", "python"), template())
    assert not isinstance(empty, Trouble)
    assert empty.resources.memory.value == 512 << 20
