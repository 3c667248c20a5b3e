"""A model of the node: a kubelet that runs pods, and the runtime in each of them.

A runtime accepts an execution id once and keeps a journal; it ends itself at its deadline and
leaves what nobody has collected in its termination message.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tests.operator.world.cluster import Cluster, Json

from paddock_api.executions import Execution, ExecutionRequest, Output
from paddock_api.messages import Configure, Configured
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_operator.plan.actions import Key
from paddock_operator.plan.views import ObjectView, PodView, get
from paddock_operator.runtime_client.client import RuntimeRefusal, RuntimeUnavailable

RUNNING: Json = {"running": {}}


@dataclass
class Runtime:
    """The processes of one pod. They may outlive a pod that was deleted by force."""

    pod_uid: str
    sandbox_uid: str
    ip: str
    disk: str
    """uid of the claim that its files are on, else of the pod that they go with."""
    answers: bool = False
    dead: bool = False
    configured: Configure | None = None
    deadline: float | None = None
    last_use: float = 0.0
    requests: dict[str, ExecutionRequest] = field(default_factory=dict)
    journal: dict[str, Execution] = field(default_factory=dict)
    collected: set[str] = field(default_factory=set)


class Node:
    """All pods of the cluster run here."""

    def __init__(
        self, cluster: Cluster, monotonic: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        self._cluster = cluster
        self._monotonic = monotonic
        self._now = now
        self._addresses = 0
        self.runtimes: dict[str, Runtime] = {}
        self.starts: list[tuple[str, str]] = []
        """(execution id, pod uid) of every program that was really started: the witness."""
        self.written: list[tuple[str, str]] = []
        """(uid of the claim or else of the pod, path) of every file written for a configure."""
        self.asked: list[Callable[[str, Runtime], None]] = []
        """Called with every request for an execution that reaches a runtime."""

    # The kubelet.

    def start(self, key: Key) -> None:
        """The pod gets its address and its containers run."""
        view = PodView(self._cluster.objects[key])
        owner = view.owner
        self._addresses += 1
        ip = f"10.0.0.{self._addresses}"
        disk = view.uid
        if view.volume_claim is not None:
            claim = Key("PersistentVolumeClaim", key.namespace, view.volume_claim)
            disk = ObjectView(self._cluster.objects[claim]).uid
        self.runtimes[view.uid] = Runtime(view.uid, owner.uid if owner else "", ip, disk)
        self._report(key, phase="Running", podIP=ip, runtime=RUNNING, workspace=RUNNING)

    def startable(self) -> list[Key]:
        """Pods whose containers were not started and whose volume is there."""
        return [
            key
            for key, pod in self._cluster.of_kind("Pod")
            if ObjectView(pod).uid not in self.runtimes
            and not ObjectView(pod).deleting
            and self._has_its_volume(key, PodView(pod))
        ]

    def _has_its_volume(self, key: Key, pod: PodView) -> bool:
        claim = Key("PersistentVolumeClaim", key.namespace, pod.volume_claim or "")
        return pod.volume_claim is None or claim in self._cluster.objects

    def letting_go(self) -> list[Key]:
        """Pods that somebody wants deleted."""
        pods = self._cluster.of_kind("Pod")
        return [key for key, pod in pods if ObjectView(pod).deleting]

    def let_go(self, key: Key) -> None:
        """The containers of a deleted pod have ended, and it goes."""
        self._kill(ObjectView(self._cluster.objects[key]).uid)
        self._cluster.remove(key)

    def reap(self) -> None:
        """Processes without a pod end."""
        living = {ObjectView(pod).uid for _, pod in self._cluster.of_kind("Pod")}
        for uid in self.runtimes.keys() - living:
            self._kill(uid)

    def evict(self, key: Key) -> None:
        """The kubelet ends the pod for want of disk."""
        self._kill(ObjectView(self._cluster.objects[key]).uid)
        self._report(key, phase="Failed", reason="Evicted", message="disk")

    def fail(self, key: Key) -> None:
        """The runtime ends by a fault of its own."""
        self._kill(ObjectView(self._cluster.objects[key]).uid)
        self._report(key, runtime={"terminated": {"exitCode": 1, "reason": "Error"}})

    def restart(self, key: Key) -> None:
        """Exit 137: the container comes back with its journal, what ran is lost."""
        runtime = self.runtimes[ObjectView(self._cluster.objects[key]).uid]
        self._close(runtime, ExecutionReason.RUNTIME_RESTARTED)
        runtime.answers = False

    def running(self) -> list[Key]:
        """Pods that have started and not ended."""
        return [
            key
            for key, pod in self._cluster.of_kind("Pod")
            if get(pod, "status", "phase") == "Running"
            and not self.runtimes[ObjectView(pod).uid].dead
            and not ObjectView(pod).deleting
        ]

    def enforce_deadlines(self) -> bool:
        """Every runtime whose time is over cancels what runs, says so and exits 0."""
        found = False
        for runtime in self.runtimes.values():
            due = runtime.deadline is not None and self._monotonic() >= runtime.deadline
            if not runtime.dead and (due or self._idle(runtime)):
                self._expire(runtime, "DeadlineExceeded" if due else "Idle")
                found = True
        return found

    def _idle(self, runtime: Runtime) -> bool:
        told = runtime.configured
        running = any(e.state is ExecutionState.RUNNING for e in runtime.journal.values())
        if told is None or told.idle_timeout_ms is None or running:
            return False
        return self._monotonic() >= runtime.last_use + told.idle_timeout_ms / 1000

    def _expire(self, runtime: Runtime, reason: str) -> None:
        self._close(runtime, ExecutionReason.CANCELLED)
        runtime.dead = True
        left = [e for e in runtime.journal.values() if e.id not in runtime.collected]
        words = {
            "reason": reason,
            "executions": [
                json.loads(e.model_copy(update={"stdout": Output()}).to_json()) for e in left
            ],
        }
        ended = {"terminated": {"exitCode": 0, "message": json.dumps(words)}}
        for key, pod in self._cluster.of_kind("Pod"):
            if ObjectView(pod).uid == runtime.pod_uid:
                self._report(key, phase="Succeeded", runtime=ended)

    def _kill(self, pod_uid: str) -> None:
        if pod_uid in self.runtimes:
            self.runtimes[pod_uid].dead = True

    def _close(self, runtime: Runtime, reason: ExecutionReason) -> None:
        for execution in list(runtime.journal.values()):
            if execution.state is ExecutionState.RUNNING:
                self._end(runtime, execution, reason, None)

    def _report(self, key: Key, **status: object) -> None:
        def change(pod: Json) -> None:
            states = {
                entry["name"]: entry["state"]
                for entry in pod["status"].get("containerStatuses", ())
            }
            for name in ("runtime", "workspace"):
                if name in status:
                    states[name] = status[name]
            pod["status"] |= {k: v for k, v in status.items() if k not in states}
            pod["status"]["containerStatuses"] = [
                {"name": name, "state": state} for name, state in states.items()
            ]

        self._cluster.change(key, change)

    # The programs.

    def unfinished(self) -> list[tuple[Runtime, str]]:
        """Executions that run."""
        return [
            (runtime, execution.id)
            for runtime in self.runtimes.values()
            for execution in runtime.journal.values()
            if execution.state is ExecutionState.RUNNING and not runtime.dead
        ]

    def finish(self, runtime: Runtime, execution_id: str) -> None:
        """A program ends as its code says: `exit 3`."""
        code = int((runtime.requests[execution_id].code or "exit 0").split()[1])
        self._end(runtime, runtime.journal[execution_id], ExecutionReason.EXITED, code)

    def _end(
        self, runtime: Runtime, execution: Execution, reason: ExecutionReason, code: int | None
    ) -> None:
        runtime.last_use = self._monotonic()
        runtime.journal[execution.id] = execution.model_copy(
            update={
                "state": ExecutionState.FINISHED,
                "reason": reason,
                "exit_code": code,
                "duration_ms": 12,
                "finished_at": self._now(),
                "stdout": Output(tail="hello\n", bytes=6),
            }
        )

    # The runtime's API.

    def ready(self, ip: str) -> bool:
        """GET /readyz."""
        return any(r.ip == ip and r.answers and not r.dead for r in self.runtimes.values())

    def configure(self, ip: str, sandbox_uid: str, body: Configure) -> Configured:
        """POST /v1/configure."""
        runtime = self._runtime(ip, sandbox_uid)
        before = runtime.configured
        if before is not None and _content(before) != _content(body):
            raise RuntimeRefusal(409, "AlreadyConfigured", "other session, env or files")
        runtime.configured = body
        if before is None:
            runtime.last_use = self._monotonic()
            self.written += [
                (runtime.disk, file.path)
                for file in body.files
                if not (body.keep_files and (runtime.disk, file.path) in self.written)
            ]
        runtime.deadline = self._monotonic() + body.expires_in_ms / 1000
        return Configured(files=len(body.files), repeated=before is not None)

    def execute(self, ip: str, sandbox_uid: str, body: ExecutionRequest) -> Execution:
        """POST /v1/executions: starts the program unless the id is known."""
        runtime = self._runtime(ip, sandbox_uid)
        for check in self.asked:
            check(body.id, runtime)
        if runtime.configured is None:
            raise RuntimeRefusal(409, "NotConfigured", "configure comes first")
        if body.id not in runtime.journal:
            self.starts.append((body.id, runtime.pod_uid))
            runtime.requests[body.id] = body
            runtime.journal[body.id] = Execution(
                id=body.id,
                state=ExecutionState.RUNNING,
                accepted_at=self._now(),
                started_at=self._now(),
            )
        return self._answer(runtime, body.id)

    def wait(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        """GET /v1/executions/{id}."""
        return self._answer(self._runtime(ip, sandbox_uid), execution_id)

    def cancel(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        """DELETE /v1/executions/{id}."""
        runtime = self._runtime(ip, sandbox_uid)
        if execution_id not in runtime.journal:
            raise RuntimeRefusal(404, "NotFound", "no such execution")
        execution = runtime.journal[execution_id]
        if execution.state is ExecutionState.RUNNING:
            self._end(runtime, execution, ExecutionReason.CANCELLED, None)
        return self._answer(runtime, execution_id)

    def _answer(self, runtime: Runtime, execution_id: str) -> Execution:
        execution = runtime.journal[execution_id]
        if execution.state is ExecutionState.FINISHED:
            runtime.collected.add(execution_id)
        return execution

    def _runtime(self, ip: str, sandbox_uid: str) -> Runtime:
        for runtime in self.runtimes.values():
            if runtime.ip == ip and runtime.answers and not runtime.dead:
                if runtime.sandbox_uid != sandbox_uid:
                    raise RuntimeUnavailable("HTTP 401")
                return runtime
        raise RuntimeUnavailable("connection refused")


def _content(told: Configure) -> tuple[object, ...]:
    """What may not change; the rest is the remaining life."""
    return told.session_uid, told.env, told.files
