"""The cases of tests/runtime/cases against pods of the cluster, each through its runtime's HTTP.

Cases that want the same limits share a pod.
"""

import contextlib
import itertools
from collections.abc import Iterator

import pytest
from e2e import runtime_pod
from e2e.installation import Paddock
from e2e.kube import Kube
from tests.runtime import cases
from tests.runtime.box import Box, ElsewhereError, Template
from tests.runtime.cases import Boxes, Case


@pytest.fixture(scope="module")
def boxes(kube: Kube, paddock: Paddock, shared_namespace: str) -> Iterator[Boxes]:
    """Makes pods when they are needed."""
    numbers = itertools.count(1)

    def make(template: Template) -> contextlib.AbstractContextManager[Box]:
        name = f"{template.name}-{next(numbers)}"
        return runtime_pod.running(kube, shared_namespace, name, template)

    with cases.opened(make) as made:
        yield made


@pytest.mark.parametrize("case", cases.ALL, ids=str)
def test_case(case: Case, boxes: Boxes) -> None:
    try:
        boxes.carry_out(case)
    except ElsewhereError as error:
        pytest.skip(str(error))
