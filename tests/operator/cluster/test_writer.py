"""The one writer: preconditions on every write, ownership by uid."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddock_operator.cluster.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    Invalid,
    NamespaceTerminating,
    NotFound,
    Overloaded,
    PodSecurityViolation,
    QuotaExceeded,
    from_response,
)
from paddock_operator.cluster.signing import load_or_create
from paddock_operator.cluster.writer import NameTaken, Writer, merge_patch
from paddock_operator.plan.actions import Create, Delete, Key, PatchStatus

KEY = Key("Pod", "team", "hello-x7k2p")
OURS, THEIRS = "uid-of-ours", "uid-of-theirs"

JSON = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=4) | st.lists(inner),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.text(max_size=3), JSON, max_size=5)


def applied(target: Any, patch: Any) -> Any:
    """RFC 7386, as its text gives it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


@given(OBJECT, OBJECT)
def test_the_patch_turns_the_old_status_into_the_new_one(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert applied(old, merge_patch(old, new)) == new


def test_an_unchanged_status_gives_an_empty_patch() -> None:
    assert merge_patch({"a": [1], "b": {"c": 1}}, {"a": [1], "b": {"c": 1}}) == {}


class Scripted:
    """An API that answers as it is told and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str, Any]] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        self.asked.append((method, path, body))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]


def existing(owner: str) -> dict[str, Any]:
    ref = {"kind": "Sandbox", "name": "s", "uid": owner, "controller": True}
    return {"metadata": {"name": KEY.name, "ownerReferences": [ref]}}


async def test_a_taken_name_is_success_if_the_controller_is_ours() -> None:
    api = Scripted(AlreadyExists("", 409), existing(OURS))
    assert await Writer(api).create(Create(KEY, OURS, {})) == existing(OURS)


async def test_a_taken_name_of_somebody_else_is_refused_and_left_alone() -> None:
    api = Scripted(AlreadyExists("", 409), existing(THEIRS))
    with pytest.raises(NameTaken, match=r"hello-x7k2p exists and is not owned by uid uid-of-ours"):
        await Writer(api).create(Create(KEY, OURS, {}))
    assert [method for method, _, _ in api.asked] == ["POST", "GET"]


async def test_a_status_write_names_the_uid_and_the_version_it_was_planned_on() -> None:
    api = Scripted({})
    await Writer(api).patch_status(PatchStatus(KEY, OURS, "42", {"a": 1}, {"b": 2}))
    ((method, path, body),) = api.asked
    assert (method, path.endswith("/status")) == ("PATCH", True)
    assert body["metadata"] == {"uid": OURS, "resourceVersion": "42"}
    assert body["status"] == {"a": None, "b": 2}


async def test_a_status_of_something_gone_is_no_error_and_a_conflict_is() -> None:
    patch = PatchStatus(KEY, OURS, "42", {}, {"a": 1})
    assert await Writer(Scripted(NotFound("", 404))).patch_status(patch) is None
    with pytest.raises(Conflict):
        await Writer(Scripted(Conflict("", 409))).patch_status(patch)


@pytest.mark.parametrize(
    "answers",
    [
        [{}],
        [NotFound("", 404)],
        [Conflict("", 409), NotFound("", 404)],
        [Conflict("", 409), {"metadata": {"uid": THEIRS}}],
    ],
)
async def test_a_delete_names_its_uid_and_gone_or_replaced_is_success(answers: list[Any]) -> None:
    api = Scripted(*answers)
    assert await Writer(api).delete(Delete(KEY, OURS)) is None
    assert api.asked[0][2]["preconditions"] == {"uid": OURS}


async def test_a_delete_that_is_refused_with_a_conflict_is_none() -> None:
    """Whoever admits may choose that code: the object is still there."""
    api = Scripted(Conflict("", 409), {"metadata": {"uid": OURS}})
    with pytest.raises(Conflict):
        await Writer(api).delete(Delete(KEY, OURS))


async def test_a_name_that_one_of_before_is_giving_up_is_waited_for() -> None:
    going = existing(THEIRS)
    going["metadata"]["deletionTimestamp"] = "2026-08-01T09:30:00Z"
    with pytest.raises(Conflict, match="still going"):
        await Writer(Scripted(AlreadyExists("", 409), going)).create(Create(KEY, OURS, {}))


TERMINATING = {"details": {"causes": [{"reason": "NamespaceTerminating"}]}, "message": "x"}


@pytest.mark.parametrize(
    ("status", "body", "creating", "expected"),
    [
        (404, {}, False, NotFound),
        (409, {"reason": "AlreadyExists"}, True, AlreadyExists),
        (409, {"reason": "Conflict"}, False, Conflict),
        (409, {"reason": "Conflict"}, True, Conflict),
        (403, {"message": 'pods "x" is forbidden: exceeded quota: q'}, True, QuotaExceeded),
        (403, {"message": 'violates PodSecurity "restricted:latest"'}, True, PodSecurityViolation),
        (403, TERMINATING, True, NamespaceTerminating),
        (403, {"message": "cannot create"}, True, Denied),
        (422, {"message": "bad"}, True, Invalid),
        (429, {}, False, Overloaded),
        (500, {}, False, Overloaded),
    ],
)
def test_answers_become_typed_errors(
    status: int, body: dict[str, Any], creating: bool, expected: type[Exception]
) -> None:
    error = from_response(status, body, creating=creating)
    assert type(error) is expected
    assert str(error)


@pytest.mark.parametrize("data", [{}, {"current": "AAAA"}, {"current": "%%%"}])
async def test_a_broken_signing_secret_says_what_to_do(data: dict[str, str]) -> None:
    with pytest.raises(Exception, match=r"paddock-signing.*[Dd]elete"):
        await load_or_create(Scripted({"data": data}), "paddock-system")


async def test_two_operators_that_make_the_secret_at_once_agree_on_the_first() -> None:
    api = Scripted(NotFound("", 404), AlreadyExists("", 409), {"data": {"current": "A" * 43 + "="}})
    keys = await load_or_create(api, "paddock-system")
    assert len(keys.verify_keys) == 44
