"""Fixtures of the end-to-end suite.

`kube` is the administrator's view of the cluster that KUBECONFIG names, `paddock` the operator
that the chart installed there. `namespace` is a test's own namespace, `shared_namespace` a
module's; both enforce Pod Security `restricted`. A failing test shows what is in them.
"""

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e import installation
from e2e.examples import ExamplesRun
from e2e.installation import Paddock
from e2e.kube import Kube
from e2e.namespaces import Namespaces

pytest.register_assert_rewrite("tests.runtime.cases")
ORDER = ("test_checkov", "test_examples", "test_reading", "test_pods")
"""These share one run of all examples. Whoever stops the operator comes last, see LAST."""
LAST = ("test_restart", "test_ha", "test_crash")
_world: dict[str, Any] = {}
"""What the failure report looks at: fixtures that are up."""


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """The cluster that KUBECONFIG names."""
    path = os.environ.get("KUBECONFIG")
    if not path:
        pytest.fail(
            "KUBECONFIG is not set: `make test-e2e`, or "
            "`export KUBECONFIG=$(make -s kubeconfig)` after `make install`",
            pytrace=False,
        )
    made = Kube(Path(path), tmp_path_factory.mktemp("kubectl"))
    yield made
    made.api.session.close()


@pytest.fixture(scope="session")
def paddock(kube: Kube) -> Paddock:
    """The operator that the chart installed, ready."""
    found = installation.find(kube)
    found.until_ready()
    _world["paddock"] = found
    return found


@pytest.fixture(scope="session")
def namespaces(kube: Kube) -> Namespaces:
    """Maker of namespaces."""
    made = Namespaces(kube)
    _world["namespaces"] = made
    return made


@pytest.fixture
def namespace(namespaces: Namespaces, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of this test alone."""
    yield from _namespace(namespaces, request)


@pytest.fixture(scope="module")
def shared_namespace(namespaces: Namespaces, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace that the tests of a module share."""
    yield from _namespace(namespaces, request)


@pytest.fixture(scope="session")
def examples(kube: Kube, paddock: Paddock, namespaces: Namespaces) -> Iterator[ExamplesRun]:
    """All of examples/, applied at once in one namespace, with a watch on their pods."""
    name = namespaces.create("examples")
    run = ExamplesRun(kube, name)
    run.start()
    yield run
    run.stop()
    namespaces.delete(name)


def _namespace(namespaces: Namespaces, request: pytest.FixtureRequest) -> Iterator[str]:
    module = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    name = namespaces.create(module)
    yield name
    namespaces.delete(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules in an order that wastes no time; within a module as written."""

    def place(item: pytest.Item) -> int:
        module = item.path.stem
        if module in ORDER:
            return ORDER.index(module)
        return len(ORDER) + (1 + LAST.index(module) if module in LAST else 0)

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with what was in the cluster."""
    report = yield
    if report.failed and "namespaces" in _world:
        with contextlib.suppress(Exception):
            report.sections.append(("cluster", _state_of_the_cluster()))
    return report


def _state_of_the_cluster() -> str:
    namespaces: Namespaces = _world["namespaces"]
    paddock: Paddock = _world["paddock"]
    kubectl = paddock.kube.kubectl
    parts = []
    for name in namespaces.alive:
        for arguments in (
            ("get", "ags,sbx,pods", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("describe", "ags"),
        ):
            told = kubectl(*arguments, namespace=name, check=False)
            parts.append(f"$ kubectl -n {name} {' '.join(arguments)}\n{told.stdout[-12000:]}")
    parts.append(f"$ kubectl logs deploy/{paddock.deployment}\n{paddock.log()}")
    return "\n".join(parts)
