"""The store never goes back in time; no two live sandboxes share a user id."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paddock_operator.engine.store import TOMBSTONES, Store
from paddock_operator.engine.uids import UidReservations, lowest_free
from paddock_operator.plan.actions import Key

POD = Key("Pod", "team", "p")


def pod(version: int, uid: str = "u", owner: str | None = "o") -> dict[str, Any]:
    refs = [{"kind": "Sandbox", "name": "s", "uid": owner, "controller": True}] if owner else []
    return {
        "metadata": {
            "name": "p",
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(version),
            "ownerReferences": refs,
            "managedFields": [{"manager": "x"}],
        }
    }


@given(st.lists(st.integers(1, 50), min_size=1))
def test_the_newest_version_wins_in_any_order(versions: list[int]) -> None:
    store = Store()
    for version in versions:
        store.put(POD, pod(version))
    kept = store.get(POD)
    assert kept is not None
    assert kept["metadata"]["resourceVersion"] == str(max(versions))
    assert "managedFields" not in kept["metadata"]


def test_children_are_found_by_the_controllers_uid_and_follow_its_change() -> None:
    store = Store()
    store.put(POD, pod(1))
    assert len(store.children("o", "Pod")) == 1
    assert store.children("o", "Sandbox") == []
    store.put(POD, pod(2, owner="other"))
    assert store.children("o", "Pod") == []
    assert len(store.children("other", "Pod")) == 1
    store.remove(POD)
    assert store.children("other", "Pod") == []


def test_a_late_deletion_of_an_earlier_object_of_that_name_removes_nothing() -> None:
    store = Store()
    store.put(POD, pod(5, uid="new"))
    assert not store.remove(POD, "old")
    assert store.get(POD) is not None


def test_a_finished_session_is_kept_without_its_inputs() -> None:
    store, key = Store(), Key("AgentSession", "team", "s")
    store.put(
        key,
        {
            "metadata": {"name": "s", "namespace": "team", "uid": "u", "resourceVersion": "1"},
            "spec": {"user": "alice", "steps": [{"code": "x" * 1000}], "templateRef": {}},
            "status": {"conditions": [{"type": "Finished", "status": "True"}]},
        },
    )
    kept = store.get(key)
    assert kept is not None
    assert set(kept["spec"]) == {"user", "templateRef"}


@pytest.mark.parametrize("version", [1, 5, 6, 10**6])
def test_what_was_removed_never_comes_back(version: int) -> None:
    """A list or an answer that was on its way brings any version of it."""
    store = Store()
    store.put(POD, pod(5))
    assert store.remove(POD, "u")
    assert not store.put(POD, pod(version))
    assert store.get(POD) is None
    assert store.children("o", "Pod") == []
    assert store.put(POD, pod(7, uid="made again"))
    assert not store.put(POD, pod(10**6 + 1))
    assert store.get(POD) == _kept(pod(7, uid="made again"))


def test_what_was_replaced_under_its_name_never_comes_back() -> None:
    store = Store()
    store.put(POD, pod(5, uid="first"))
    store.put(POD, pod(9, uid="second", owner="other"))
    assert not store.put(POD, pod(10, uid="first"))
    assert store.children("o", "Pod") == []
    assert len(store.children("other", "Pod")) == 1
    store.remove(POD, "second")
    assert not store.put(POD, pod(11, uid="first"))


def test_only_so_many_of_the_removed_are_remembered() -> None:
    store = Store()
    for number in range(TOMBSTONES + 10):
        store.put(POD, pod(1, uid=str(number)))
        store.remove(POD)
    assert len(store._removed) == TOMBSTONES
    assert not store.put(POD, pod(2, uid=str(TOMBSTONES + 9))), "the last ones"


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "remove"]), st.sampled_from("abc"), st.integers(1, 20)),
        max_size=40,
    )
)
def test_in_any_order_no_uid_comes_back_and_no_child_is_left_over(
    calls: list[tuple[str, str, int]],
) -> None:
    store, gone = Store(), set()
    for what, uid, version in calls:
        before = store.get(POD)
        if what == "put":
            taken = store.put(POD, pod(version, uid=uid, owner=f"owner of {uid}"))
            assert not (taken and uid in gone)
            if taken and before is not None and before["metadata"]["uid"] != uid:
                gone.add(before["metadata"]["uid"])
        elif store.remove(POD, uid):
            gone.add(uid)
        now = store.get(POD)
        for other in "abc":
            mine = now is not None and now["metadata"]["uid"] == other
            assert len(store.children(f"owner of {other}", "Pod")) == (1 if mine else 0)


def _kept(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}


@given(st.sets(st.integers(1000, 1040)))
def test_the_lowest_free_uid_is_free_and_lowest(taken: set[int]) -> None:
    uid = lowest_free(1000, taken)
    assert uid not in taken
    assert set(range(1000, uid)) <= taken


def test_uids_given_out_at_the_same_time_differ_and_are_stable() -> None:
    uids = UidReservations(1000)
    assert uids.reserve("a", [1000]) == 1001
    assert uids.reserve("b", [1000]) == 1002
    assert uids.reserve("a", [1000]) == 1001
    uids.release("a")
    assert uids.reserve("c", [1000]) == 1001


def test_a_uid_is_kept_while_its_pod_may_have_been_made() -> None:
    uids = UidReservations(1000)
    uids.reserve("asked", [])
    uids.sent("asked")
    uids.abandon("asked")
    assert uids.reserve("b", []) == 1001
    uids.release("asked")
    assert uids.reserve("c", []) == 1000
    uids.sent("c")
    uids.refused("c")
    uids.abandon("c")
    assert uids.reserve("d", []) == 1000
