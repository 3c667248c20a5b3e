"""One pod for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest
from tests.runtime.pod import Pod


@pytest.fixture(scope="session")
def pod() -> Iterator[Pod]:
    with Pod(languages=["python", "bash", "cobol"]) as made:
        yield made
