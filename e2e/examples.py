"""One run of all examples, applied as they are, and a record of the pods that it made."""

import threading
import time
from dataclasses import dataclass, field

import pykube
from e2e.kube import EXAMPLES, Json, Kube, connection, until

WATCH_S = 2
AFTER_THE_BOMB = "next-session"
"""Applied when memory-bomb has ended."""


@dataclass
class PodRecord:
    """A pod as the watch saw it."""

    pod: Json
    added: float
    deleted: float | None = None
    """Both by time.time(), as the times in a session's status."""


class PodWatch:
    """Follows the pods of a namespace in a thread of its own."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"pods of {namespace}")
        self.records: dict[str, PodRecord] = {}
        """By pod uid."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=20)

    def _follow(self) -> None:
        with connection(self._kube) as api:
            while not self._stop.is_set():
                # A list, then a short watch from where it ended: nothing is missed, `stop` is soon
                # heard, and no version gets too old.
                pods = pykube.Pod.objects(api, namespace=self._namespace)
                there = {self._take(pod.obj) for pod in pods}
                self._gone(set(self.records) - there)
                since = pods.response["metadata"]["resourceVersion"]
                for event in pods.watch(since=since, params={"timeoutSeconds": WATCH_S}):
                    uid = self._take(event.object.obj)
                    if event.type == "DELETED":
                        self._gone({uid})

    def _take(self, pod: Json) -> str:
        uid = str(pod["metadata"]["uid"])
        self.records.setdefault(uid, PodRecord(pod, time.time())).pod = pod
        return uid

    def _gone(self, uids: set[str]) -> None:
        for uid in uids:
            self.records[uid].deleted = self.records[uid].deleted or time.time()


@dataclass
class ExamplesRun:
    """All of examples/ in one namespace."""

    kube: Kube
    namespace: str
    watch: PodWatch = field(init=False)
    _after_the_bomb: bool = False

    def __post_init__(self) -> None:
        self.watch = PodWatch(self.kube, self.namespace)

    def start(self) -> None:
        """Apply all but the one that is about what comes after another."""
        self.watch.start()
        files = [file for file in sorted(EXAMPLES.glob("*.yaml")) if file.stem != AFTER_THE_BOMB]
        self.kube.kubectl(
            "apply", *(f"--filename={file}" for file in files), namespace=self.namespace
        )

    def stop(self) -> None:
        self.watch.stop()

    def finished(self, name: str, timeout: int = 75) -> Json:
        """Wait as a user does, then read the session."""
        if name == AFTER_THE_BOMB and not self._after_the_bomb:
            self._wait("memory-bomb", timeout)
            self.kube.kubectl.apply(EXAMPLES / f"{name}.yaml", self.namespace)
            self._after_the_bomb = True
        self._wait(name, timeout)
        return self.kube.session(name, self.namespace)

    def _wait(self, name: str, timeout: int) -> None:
        self.kube.kubectl(
            "wait",
            "--for=condition=Finished",
            f"ags/{name}",
            f"--timeout={timeout}s",
            namespace=self.namespace,
            timeout=timeout + 10,
        )

    def until_told(self, name: str, reason: str) -> str:
        """`kubectl describe` of a session whose last event is there."""
        self.kube.until_event(self.namespace, name, reason)
        return self.kube.kubectl("describe", "ags", name, namespace=self.namespace).stdout

    def until_deleted(self, record: PodRecord) -> None:
        """Wait until the watch has seen this pod go."""
        name = record.pod["metadata"]["name"]
        until(lambda: record.deleted, f"pod {name} is deleted", timeout=30)

    def pods_of(self, session: Json) -> list[PodRecord]:
        """The pods that were made for a session, gone or not."""
        name = session["status"]["sandbox"]["name"]
        return [
            record
            for record in self.watch.records.values()
            if record.pod["metadata"]["name"] == name
        ]
