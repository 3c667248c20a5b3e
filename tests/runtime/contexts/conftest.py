"""One fork server for the session, a context for a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.contexts.data_packages import data_packages
from tests.runtime.contexts.harness import Context, Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    server = Forks()
    yield server
    server.stop()


@pytest.fixture
def context(forks: Forks) -> Iterator[Context]:
    with forks.context() as made:
        yield made


@pytest.fixture(scope="session")
def packages() -> Path:
    return data_packages()
