"""The cluster as the suite sees it: kubectl for what people type, pykube for looking closely."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pykube
from pykube.objects import APIObject, NamespacedAPIObject

Json = dict[str, Any]
T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
POLL_S = 0.1


class AgentSession(NamespacedAPIObject):  # type: ignore[misc]  # pykube has no types
    version, endpoint, kind = "paddock.dev/v1alpha1", "agentsessions", "AgentSession"


class Sandbox(NamespacedAPIObject):  # type: ignore[misc]  # pykube has no types
    version, endpoint, kind = "paddock.dev/v1alpha1", "sandboxes", "Sandbox"


class Event(NamespacedAPIObject):  # type: ignore[misc]  # pykube has no types
    version, endpoint, kind = "v1", "events", "Event"


class Kubectl:
    """`kubectl("get", "pods", namespace=…)`: the finished process. A failure raises."""

    def __init__(self, kubeconfig: Path, cache: Path) -> None:
        found = shutil.which("kubectl") or _of_the_local_cluster("kubectl")
        assert found, "no kubectl in PATH, and `python3 cluster bin` has none"
        self.command = [found, f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}"]

    def __call__(
        self,
        *arguments: str,
        namespace: str | None = None,
        stdin: str | Json | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        scope = [f"--namespace={namespace}"] if namespace else []
        result = subprocess.run(
            [*self.command, *scope, *arguments],
            input=json.dumps(stdin) if isinstance(stdin, dict) else stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and result.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {result.stderr}{result.stdout}")
        return result

    def apply(self, manifest: Json | Path, namespace: str | None = None) -> None:
        """`kubectl apply -f`, of a file or of an object."""
        if isinstance(manifest, Path):
            self("apply", "-f", str(manifest), namespace=namespace)
        else:
            self("apply", "-f", "-", namespace=namespace, stdin=manifest)


class Kube:
    """One administrator's view of the cluster."""

    def __init__(self, kubeconfig: Path, cache: Path) -> None:
        self.kubeconfig = kubeconfig
        self.kubectl = Kubectl(kubeconfig, cache)
        self.api = self.connect()

    def connect(self) -> pykube.HTTPClient:
        """A connection of its own, for a thread."""
        return pykube.HTTPClient(pykube.KubeConfig.from_file(str(self.kubeconfig)), timeout=15)

    def find(self, kind: type[APIObject], name: str, namespace: str | None = None) -> Json | None:
        """The object, or None."""
        found = kind.objects(self.api, namespace=namespace).get_or_none(name=name)
        return None if found is None else found.obj

    def all(self, kind: type[APIObject], namespace: str, labels: str = "") -> list[Json]:
        """All objects of a kind in a namespace."""
        query = kind.objects(self.api, namespace=namespace)
        return [item.obj for item in (query.filter(selector=labels) if labels else query)]

    def session(self, name: str, namespace: str) -> Json:
        """An AgentSession that is there."""
        found = self.find(AgentSession, name, namespace)
        assert found is not None, f"agentsession/{name} is not in {namespace}"
        return found

    def until_session(
        self, name: str, namespace: str, true: Callable[[Json], bool], what: str, timeout: float
    ) -> Json:
        """Wait until the session is as `true` wants it; return it."""

        def look() -> Json | None:
            session = self.session(name, namespace)
            return session if true(session) else None

        def last() -> str:
            return json.dumps(self.session(name, namespace).get("status"), indent=1)

        return until(look, f"agentsession/{name} {what}", timeout, last)

    def finished(self, name: str, namespace: str, timeout: float = 60) -> Json:
        """Wait for the end of a session, by its one condition for that."""
        return self.until_session(name, namespace, is_finished, "has Finished", timeout)

    def troubled(self, name: str, namespace: str, reason: str, timeout: float = 40) -> Json:
        """Wait until a session that cannot start says why."""

        def says(session: Json) -> bool:
            return condition(session, "Reconciling").get("reason") == reason

        return self.until_session(name, namespace, says, f"says {reason}", timeout)

    def create(self, kind: type[APIObject], manifest: Json, namespace: str) -> None:
        """The same as kubectl, without the start of a process."""
        kind(
            self.api, manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}}
        ).create()

    def delete(self, kind: type[APIObject], name: str, namespace: str) -> None:
        """Delete an object that is there."""
        kind.objects(self.api, namespace=namespace).get_by_name(name).delete()

    def is_empty(self, namespace: str) -> bool:
        """Whether neither a sandbox nor a pod is in the namespace."""
        return not self.all(Sandbox, namespace) and not self.all(pykube.Pod, namespace)

    def until_empty(self, namespace: str, timeout: float = 40) -> None:
        """Wait until neither a sandbox nor a pod is left in the namespace."""

        def last() -> str:
            return self.kubectl("get", "sbx,pods", namespace=namespace).stdout

        what = f"{namespace} has neither sandboxes nor pods"
        until(lambda: self.is_empty(namespace), what, timeout, last)

    def until_event(self, namespace: str, session: str, reason: str) -> list[str]:
        """The reasons of a session's events, when that one, posted in the background, is there."""

        def look() -> list[str] | None:
            reasons = [event["reason"] for event in self.events(namespace, session)]
            return reasons if reason in reasons else None

        return until(look, f"an event {reason} about {session}", timeout=20)

    def events(self, namespace: str, session: str) -> list[Json]:
        """Events about an AgentSession, oldest first."""
        found = [
            event
            for event in self.all(Event, namespace)
            if event["involvedObject"].get("kind") == "AgentSession"
            and event["involvedObject"].get("name") == session
        ]
        return sorted(found, key=lambda event: str(event.get("firstTimestamp")))


def until(
    look: Callable[[], T | None],
    what: str,
    timeout: float,
    last: Callable[[], str] = lambda: "",
    every: float = POLL_S,
) -> T:
    """Poll until `look` returns something true. Says what was waited for and what was last seen."""
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}\n{last()}")
        time.sleep(every)
    return seen


@contextmanager
def connection(kube: Kube) -> Iterator[pykube.HTTPClient]:
    """A connection that is closed again."""
    api = kube.connect()
    try:
        yield api
    finally:
        api.session.close()


def condition(obj: Json, kind: str) -> Json:
    """A condition of an object, {} if it is not there."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), {})


def is_finished(obj: Json) -> bool:
    return condition(obj, "Finished").get("status") == "True"


def step(session: Json, name: str) -> Json:
    """The status of a step that is there."""
    found: Json = next(entry for entry in session["status"]["steps"] if entry["name"] == name)
    return found


def _of_the_local_cluster(program: str) -> str | None:
    told = subprocess.run(
        [sys.executable, "cluster", "bin"], cwd=ROOT, capture_output=True, text=True
    )
    return shutil.which(program, path=told.stdout.strip()) if told.returncode == 0 else None
