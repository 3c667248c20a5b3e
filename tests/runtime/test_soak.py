"""A short soak; `make soak` runs twenty thousand."""

from tests.runtime import soak
from tests.runtime.pod import Pod


def test_mixed_executions_leave_nothing() -> None:
    with Pod(limits=soak.LIMITS) as pod:
        soak.run(pod, 200)
        before = soak.census(pod)
        ends = soak.run(pod, 1000)
        assert sum(ends.values()) >= 1000
        assert soak.difference(before, soak.census(pod), sum(ends.values())) == []
