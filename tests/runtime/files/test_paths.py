"""Which bytes a request names, and that nothing but plain relative paths gets through. Pure."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paddock_runtime.server.file_paths import (
    MAX_PATH,
    href,
    parse_name,
    parse_path,
    path_of_target,
    raw_parameter,
)
from paddock_runtime.server.problems import ProblemError

PREFIX = "/v1/files/"
names = st.binary(min_size=1, max_size=255).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)
paths = st.lists(names, min_size=1, max_size=6).map(b"/".join)


@given(paths)
@example(b"%2e%2e")
@example(b"two\nlines")
@example(b"what?#&=+ x")
@example("\u202etxt.exe".encode())
@example(b"\xff\xfe/caf\xe9")
def test_every_plain_path_is_named_exactly_by_its_href(path: bytes) -> None:
    assert path_of_target(PREFIX + href(path), PREFIX) == path
    assert path_of_target(f"{PREFIX}{href(path)}?ttl=10m", PREFIX) == path
    assert href(path).isascii()
    assert not set(href(path)) & set("?#\n ")


@given(st.binary(max_size=60).map(lambda data: data.decode("latin-1")) | st.text(max_size=60))
@example("..")
@example("a/%2e%2e/b")
@example("a%2f..%2fb")
@example("%00")
@example("a%")
def test_whatever_is_accepted_stays_inside(encoded: str) -> None:
    path = b""
    try:
        path = parse_path(encoded, "path")
    except ProblemError as error:
        problem = error.problem
    else:
        problem = None
    if problem is not None:
        assert problem.status == 422
        assert problem.detail.startswith("path: ")
        assert "\n" not in problem.detail
    assert len(path) <= MAX_PATH
    assert b"\0" not in path
    components = path.split(b"/") if path else []
    assert not {b"", b".", b".."} & set(components)
    assert all(len(name) <= 255 for name in components)


REFUSED = {
    "..": "'..'",
    "../x": "'..'",
    "%2e%2e/x": "'..'",
    "%2E%2e%2Fx": "'..'",
    "a/../../x": "'..'",
    ".": "'.'",
    "a/./b": "'.'",
    "/etc/passwd": "''",
    "%2Fetc%2Fpasswd": "''",
    "a//b": "''",
    "a/": "''",
    "a%00b": "NUL",
    "a%zz": "percent-encoded",
    "100%": "percent-encoded",
    "x" * 256: "256 bytes",
    "%c3%a9" * 128: "256 bytes",
    "/".join(["d" * 100] * 50): "5049 bytes",
}


@pytest.mark.parametrize(("encoded", "said"), REFUSED.items())
def test_the_refusal_names_field_value_and_way_out(encoded: str, said: str) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_path(encoded, "source")
    assert (caught.value.status, caught.value.problem.code) == (422, "InvalidRequest")
    assert caught.value.problem.detail.startswith("source: ")
    assert said in caught.value.problem.detail
    assert len(caught.value.problem.detail) < 250


@pytest.mark.parametrize(
    ("encoded", "path"),
    [
        ("a/b", b"a/b"),
        ("a%2Fb", b"a/b"),
        ("...", b"..."),
        ("a..b", b"a..b"),
        ("-rf", b"-rf"),
        ("x" * 255, b"x" * 255),
        ("a\\..\\b", b"a\\..\\b"),
        ("%252e%252e", b"%2e%2e"),
        ("é", "é".encode()),
        ("", b""),
    ],
)
def test_what_looks_odd_and_is_a_plain_name(encoded: str, path: bytes) -> None:
    assert parse_path(encoded, "path") == path


def test_only_targets_under_the_prefix_as_it_stands() -> None:
    assert path_of_target("/v1/files", PREFIX) == b""
    assert path_of_target("/v1/files/", PREFIX) == b""
    for target in ("/v1/%66iles/a", "//v1/files/a", "http://h/v1/files/a", "/v1/files/a#b"):
        with pytest.raises(ProblemError, match=re.escape(PREFIX)):
            path_of_target(target, PREFIX)


def test_a_name_to_go_on_from() -> None:
    target = "/v1/directories/d?limit=5&after=a%ff%2Bb+c&after=second"
    assert parse_name(raw_parameter(target, "after"), "after") == b"a\xff+b+c"
    assert raw_parameter(target, "before") == ""
    for name in ("a%2Fb", "..", "a%00", "%"):
        with pytest.raises(ProblemError, match="after: "):
            parse_name(name, "after")
