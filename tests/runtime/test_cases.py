"""The cases of tests/runtime/cases against two processes of this machine."""

import contextlib
from collections.abc import Iterator

import pytest
from tests.runtime import cases
from tests.runtime.box import Box, Template
from tests.runtime.cases import Boxes, Case
from tests.runtime.cgroups import can_limit_memory, memory_cgroup
from tests.runtime.pod import AS_ROOT, Pod


@contextlib.contextmanager
def make(template: Template) -> Iterator[Box]:
    limits = template.limits.model_dump(by_alias=True, exclude_none=True)
    env = [{"name": name, "value": value} for name, value in template.env.items()]
    with contextlib.ExitStack() as stack:
        cgroup = None
        if template.memory:
            cgroup = stack.enter_context(memory_cgroup(template.limits.memory_bytes))
        yield stack.enter_context(Pod(cgroup, limits=limits, env=env))


@pytest.fixture(scope="module")
def boxes() -> Iterator[Boxes]:
    with cases.opened(make) as made:
        yield made


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_case(case: Case, boxes: Boxes) -> None:
    if case.only_pods:
        pytest.skip(f"in pods only: {case.only_pods}")
    if "user" in case.needs and not AS_ROOT:
        pytest.skip("needs a user and PID namespace of its own")
    if case.template.memory and not can_limit_memory():
        pytest.skip("needs root and a writable memory cgroup (v1)")
    boxes.carry_out(case)
