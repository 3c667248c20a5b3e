"""One pod for all tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.runtime.cases", "tests.runtime.box")

from tests.runtime.pod import Pod  # noqa: E402 - after the line above


@pytest.fixture(scope="session")
def pod() -> Iterator[Pod]:
    with Pod(languages=["python", "bash", "cobol"]) as made:
        yield made
