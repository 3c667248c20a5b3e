"""Sequences of cells leave what `exec` in one dictionary leaves."""

import ast
import contextlib
import io
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.contexts.harness import Forks

NAMES = st.sampled_from("abcd")
VALUES = st.one_of(
    st.integers(-5, 5).map(repr),
    st.sampled_from(["None", "''", "'é'", "[]", "{}", "(1,)", "True", "1.5"]),
    NAMES,
)


def _statements() -> st.SearchStrategy[str]:
    def block(lines: list[str]) -> str:
        return "\n".join("    " + line for text in lines for line in text.split("\n"))

    simple = st.one_of(
        st.builds("{} = {}".format, NAMES, VALUES),
        st.builds("{} += {}".format, NAMES, VALUES),
        st.builds("{} = {} + {}".format, NAMES, VALUES, VALUES),
        st.builds("del {}".format, NAMES),
        st.builds("{}".format, VALUES),
        st.builds("{}({})".format, NAMES, VALUES),
        st.builds("{}: 'note' = {}".format, NAMES, VALUES),
        st.builds("print({}, {})".format, VALUES, VALUES),
        st.builds("raise ValueError({})".format, VALUES),
        st.builds("def {}(x=None): global {}; {} = x; return x".format, NAMES, NAMES, NAMES),
        st.builds("import sys as {}".format, NAMES),
        st.builds("[{} := {} for _ in range(2)]".format, NAMES, VALUES),
        st.just("pass"),
        st.just("x ="),
    )
    return st.recursive(
        simple,
        lambda inner: st.one_of(
            st.builds(
                "if {}:\n{}".format, VALUES, st.lists(inner, min_size=1, max_size=3).map(block)
            ),
            st.builds(
                "for {} in range(2):\n{}".format,
                NAMES,
                st.lists(inner, min_size=1, max_size=3).map(block),
            ),
            st.builds(
                "try:\n{}\nexcept Exception as {}:\n    pass".format,
                st.lists(inner, min_size=1, max_size=3).map(block),
                NAMES,
            ),
        ),
        max_leaves=4,
    )


CELLS = st.lists(
    st.lists(_statements(), min_size=1, max_size=4).map("\n".join), min_size=1, max_size=6
)
SNAPSHOT = "{n: repr(v) for n, v in sorted(globals().items()) if not n.startswith('__')}"


def unplaced(text: str) -> str:
    """Without addresses."""
    return re.sub("0x[0-9a-f]+", "0x", text)


@settings(max_examples=60)
@given(CELLS)
def test_a_sequence_of_cells_is_one_program(forks: Forks, cells: list[str]) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    with forks.context() as context:
        for code in cells:
            printed, failure = io.StringIO(), None
            with contextlib.redirect_stdout(printed):
                try:
                    exec(code, namespace)
                except Exception as error:
                    failure = type(error).__name__
            cell = context.run(code)
            assert unplaced(cell.stdout) == unplaced(printed.getvalue())
            assert (cell.error["name"] if cell.error else None) == failure
            assert cell.code == (0 if failure is None else 1)
        expected = eval(SNAPSHOT, namespace)
        shown = context.run(SNAPSHOT).text
        assert shown is not None
        assert ast.literal_eval(unplaced(shown)) == ast.literal_eval(unplaced(repr(expected)))


@settings(max_examples=40)
@given(
    st.lists(_statements(), min_size=1, max_size=4).map("\n".join),
    VALUES,
    st.sampled_from(["", ";", " ; # c", " # ;"]),
)
def test_the_value_shown_is_that_of_the_last_expression(
    forks: Forks, before: str, value: str, end: str
) -> None:
    namespace: dict[str, object] = {}
    expected = None
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        exec(before, namespace)
        expected = eval(value, namespace)
    with forks.context() as context:
        cell = context.run(f"{before}\n{value}{end}")
        if expected is None or ";" in end.split("#")[0]:
            assert cell.text is None
        else:
            assert unplaced(cell.text or "") == unplaced(repr(expected))
