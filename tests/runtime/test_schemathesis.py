"""The runtime's HTTP API against its OpenAPI document, by schemathesis."""

from collections.abc import Iterator

import pytest
from tests.runtime import conformance
from tests.runtime.examiner import Examiner
from tests.runtime.pod import Pod

TRIES = 15
"""Random requests of each operation, and as many wrong ones, besides some 40 worked out."""


@pytest.fixture
def examiner() -> Iterator[Examiner]:
    limits = conformance.LIMITS.model_dump(by_alias=True, exclude_none=True)
    with Pod(limits=limits) as pod:
        made = Examiner(pod)
        yield made
        made.close()


def test_every_operation_does_what_the_document_says(examiner: Examiner) -> None:
    assert conformance.examine(conformance.schema(), examiner, TRIES) == set()


def test_what_follows_from_each_other(examiner: Examiner) -> None:
    conformance.walk(conformance.schema(), examiner)
