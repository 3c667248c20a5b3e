"""The HTTP API of a real pod against its OpenAPI document, by schemathesis."""

from collections.abc import Iterator

import pytest
from e2e import runtime_pod
from e2e.installation import Paddock
from e2e.kube import Kube
from tests.runtime import conformance
from tests.runtime.box import Template
from tests.runtime.examiner import Examiner

TRIES = 5
"""As in tests/runtime/test_schemathesis.py, which looks harder."""


@pytest.fixture(scope="module")
def examiner(kube: Kube, paddock: Paddock, shared_namespace: str) -> Iterator[Examiner]:
    template = Template("asked", conformance.LIMITS)
    with runtime_pod.running(kube, shared_namespace, "asked", template) as pod:
        made = Examiner(pod)
        yield made
        made.close()


def test_what_follows_from_each_other(examiner: Examiner) -> None:
    conformance.walk(conformance.schema(), examiner)


def test_every_operation_does_what_the_document_says(examiner: Examiner) -> None:
    refusing = conformance.examine(conformance.schema(), examiner, TRIES)
    assert refusing == {"POST /v1/configure"}, "the operator has configured it already"
