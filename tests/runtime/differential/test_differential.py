"""Programs run by plain python3 and bash, and by Paddock: the same to the byte.

No expected output is stored anywhere. All programs that are asked for run before the first of
the tests, four at a time, each in a directory of its own.
"""

from collections.abc import Mapping

import pytest
from tests.runtime.differential.differences import DIFFERENCES
from tests.runtime.differential.generated import generated
from tests.runtime.differential.programs import Program, hand_written
from tests.runtime.differential.sides import Outcome, both

PROGRAMS = [*hand_written(), *generated()]
Outcomes = Mapping[str, tuple[Outcome, Outcome]]


# One fixture runs them all, in 40 s here.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Outcomes:
    """Of every program whose test was selected: plain, Paddock."""
    wanted: list[Program] = [
        item.callspec.params["program"]
        for item in request.session.items
        if "outcomes" in getattr(item, "fixturenames", ()) and hasattr(item, "callspec")
    ]
    return dict(zip(map(str, wanted), both(wanted), strict=True))


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_ends_and_prints_as_plain(program: Program, outcomes: Outcomes) -> None:
    expected, seen = outcomes[program.name]
    if program.name in DIFFERENCES:
        assert seen != expected, "listed as a difference, but there is none"
    else:
        assert seen == expected


def test_every_difference_is_of_a_program() -> None:
    assert DIFFERENCES.keys() <= {program.name for program in PROGRAMS}
