"""The store never goes back in time; no two live sandboxes share a user id."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from paddock_operator.engine.store import Store
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
