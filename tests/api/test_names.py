import re

from hypothesis import given
from hypothesis import strategies as st

from paddock_api.base import DNS_LABEL
from paddock_api.messages import ID_PATTERN
from paddock_api.names import child_name, execution_id, sandbox_name

UID = "5e2b4a8e-6d5c-4f0e-9a53-0d8f0c2f8a11"
OBJECT_NAMES = st.from_regex(
    r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,4}", fullmatch=True
).filter(lambda name: len(name) <= 253)


def test_a_short_name_is_kept_and_gets_five_letters() -> None:
    assert sandbox_name("hello", UID) == "hello-thq9w"


@given(OBJECT_NAMES, st.uuids())
def test_a_child_has_a_dns_label_for_a_name(parent: str, uid: object) -> None:
    name = child_name(parent, str(uid))
    assert re.fullmatch(DNS_LABEL, name)
    assert len(name) <= 63


@given(OBJECT_NAMES, st.uuids())
def test_the_same_parent_always_gives_the_same_name(parent: str, uid: object) -> None:
    assert child_name(parent, str(uid)) == child_name(parent, str(uid))


@given(OBJECT_NAMES, st.uuids(), st.uuids())
def test_a_parent_that_was_made_again_has_another_child(
    parent: str, one: object, other: object
) -> None:
    if one != other:
        assert child_name(parent, str(one)) != child_name(parent, str(other))


def test_names_that_were_cut_or_changed_get_a_longer_suffix() -> None:
    for parent in ("a.b", "x" * 58, "x" * 253):
        stem, _, suffix = child_name(parent, UID).rpartition("-")
        assert len(suffix) == 10
        assert len(stem) <= 52
    assert len(child_name("x" * 57, UID)) == 63


def test_ten_thousand_long_names_with_one_beginning_do_not_collide() -> None:
    names = {child_name("session-" + "x" * 100 + str(n), f"uid-{n}") for n in range(10_000)}
    assert len(names) == 10_000


def test_the_longest_execution_id_is_one_for_the_runtime() -> None:
    assert re.fullmatch(ID_PATTERN, execution_id(UID, "s" * 63))
