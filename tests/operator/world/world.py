"""Cluster, node and at most one operator, on one clock; and what must hold at every moment."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from tests.operator.objects import step
from tests.operator.world.api import Crash, FakeApi
from tests.operator.world.cluster import Cluster, Json
from tests.operator.world.life import Life
from tests.operator.world.node import Node, Runtime

from paddock_operator.cluster.errors import ClusterError
from paddock_operator.engine.engine import KINDS
from paddock_operator.plan.actions import Key
from paddock_operator.plan.views import ObjectView, get

START = datetime(2026, 8, 1, 9, 30, tzinfo=UTC)
TEMPLATE = Key("SandboxTemplate", "team", "python")
ROUNDS = 400


class World:
    """As a context manager: an operator runs inside of it."""

    def __init__(self, *, volumes: bool = False) -> None:
        """With `volumes` the template has one."""
        self.volumes = volumes
        self.seconds = 0.0
        self.skew = timedelta()
        """How far the operator's clock is from the API server's."""
        self.cluster = Cluster(self.server_now)
        self.node = Node(self.cluster, lambda: self.seconds, self.server_now)
        self.api = FakeApi(self.cluster)
        self.life: Life | None = None
        self.restarts = 0
        self.held: set[str] = set()
        """Names of steps whose programs do not end by themselves."""
        self._first_pod: dict[str, str] = {}
        self.cluster.writing.append(self._check_write)
        self.node.asked.append(self._check_dispatch)
        self.offer_template()

    def __enter__(self) -> Self:
        self.start_operator()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing of it is outside of this object."""

    def server_now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def operator_now(self) -> datetime:
        return self.server_now() + self.skew

    # What people do.

    def offer_template(self) -> None:
        spec = {"workspace": {"volume": {"size": "1Gi"}}} if self.volumes else {}
        manifest = {"metadata": {"name": "python"}, "spec": spec}
        self.cluster.create("SandboxTemplate", "team", manifest)

    def withdraw_template(self) -> None:
        self.cluster.delete(TEMPLATE)

    def apply(
        self, name: str, *codes: int, tolerant: bool = False, max_duration: str = "60s"
    ) -> Key:
        """Create a session with one step per exit code."""
        steps = [
            step(f"s{i}", code=f"exit {code}", continueOnFailure=tolerant)
            for i, code in enumerate(codes)
        ]
        spec: Json = {
            "user": "alice",
            "templateRef": {"name": "python"},
            "lifetime": {"maxDuration": max_duration},
        }
        if steps:
            spec["steps"] = steps
        manifest = {"kind": "AgentSession", "metadata": {"name": name}, "spec": spec}
        self.cluster.create("AgentSession", "team", manifest)
        return Key("AgentSession", "team", name)

    # The operator's process.

    def start_operator(self) -> Life:
        assert self.life is None
        self.life = Life(self.cluster, self.node, self.api, lambda: self.seconds, self.operator_now)
        return self.life

    def stop_operator(self) -> None:
        assert self.life is not None
        self.life.end()
        self.life = None

    def work(self, key: Key) -> None:
        """A worker takes the key; a planned crash ends the process."""
        assert self.life is not None
        try:
            self.life.work(key)
        except Crash:
            self.stop_operator()

    def resync(self) -> None:
        """The engine lists everything and sweeps; a planned crash ends the process."""
        assert self.life is not None
        try:
            self.life.resync()
        except Crash:
            self.stop_operator()
        except ClusterError:
            pass  # the next resync tries again

    # Everything goes on.

    def advance(self, seconds: float) -> None:
        """Time passes; runtimes look at their deadlines."""
        self.seconds += seconds
        self.node.enforce_deadlines()

    def progress(self) -> bool:
        """One round in which everybody does what can be done now; False if nobody could."""
        if self.life is None:
            self.restarts += 1
            self.start_operator()
        life = self.life
        assert life is not None
        moved = life.queue.take_due()
        for kind in KINDS:
            while self.life is life and life.pending[kind]:
                life.deliver(kind)
                moved = True
        for key in list(life.queue.ready):
            if self.life is life:
                self.work(key)
                moved = True
        moved |= self.cluster.collect_garbage()
        for key in self.node.startable():
            self.node.start(key)
            moved = True
        for key in self.node.letting_go():
            self.node.let_go(key)
            moved = True
        self.node.reap()
        for runtime in self.node.runtimes.values():
            if not runtime.answers and not runtime.dead:
                runtime.answers = moved = True
        if self.life is life:
            moved |= life.prober.ask()
            for session_uid in list(life.conversations.going):
                moved |= life.conversations.talk(session_uid)
        for runtime, execution_id in self.node.unfinished():
            if execution_id.partition(".")[2] not in self.held:
                self.node.finish(runtime, execution_id)
                moved = True
        moved |= self.node.enforce_deadlines()
        self.check()
        return moved

    def settle(self) -> None:
        """Until nothing moves any more, deadlines and the slow resync included."""
        for _ in range(ROUNDS):
            if self.progress():
                continue
            life = self.life
            assert life is not None
            if life.queue.due:
                self.advance(max(0.0, min(life.queue.due.values()) - self.seconds) + 0.001)
                continue
            before = self.api.written
            self.resync()
            if self.life is life and not life.queue.ready and not any(life.pending.values()):
                assert self.api.written == before
                return
        raise AssertionError(f"not at rest after {ROUNDS} rounds: {self.life and self.life.queue}")

    # What must hold.

    def check(self) -> None:
        """At every moment."""
        started = [execution_id for execution_id, _ in self.node.starts]
        assert len(started) == len(set(started)), f"started twice: {self.node.starts}"
        living: defaultdict[str, int] = defaultdict(int)
        for _, pod in self.cluster.of_kind("Pod"):
            owner = ObjectView(pod).owner
            if owner is not None:
                living[owner.uid] += 1
        assert all(count <= 1 for count in living.values())
        uids = [
            get(pod, "spec", "containers")[1]["securityContext"]["runAsUser"]
            for _, pod in self.cluster.of_kind("Pod")
        ]
        assert len(uids) == len(set(uids)), "two live pods share a workspace uid"

    def check_at_rest(self) -> None:
        """When nothing moves any more."""
        for key, session in self.cluster.of_kind("AgentSession"):
            assert ObjectView(session).is_true("Finished"), f"{key}: {session['status']}"
            for entry in session["status"].get("steps", ()):
                assert entry["state"] in ("Finished", "Skipped")
        for kind in ("Sandbox", "Pod"):
            left = [key for key, obj in self.cluster.of_kind(kind) if ObjectView(obj).owner]
            assert left == []
        assert self.life is not None
        assert self.life.conversations.going == {}
        assert self.life.conversations._results == {}
        assert self.life.conversations._told == {}
        assert self.life.prober.asking == {}
        assert self.life.prober._ready == set()
        assert self.life.uids._reserved.keys() <= self.life.uids._sent
        assert self.life.troubles._troubles == {}
        for fresh_start in (False, True):
            if fresh_start:
                self.stop_operator()
                self.start_operator()
            assert self.life is not None
            written = self.api.written
            for kind in KINDS:
                for key, _ in self.cluster.of_kind(kind):
                    self.life.queue.add(key)
            self.settle()
            assert self.api.written == written, "writes at rest"

    def _check_write(self, key: Key, old: Json | None, new: Json | None) -> None:
        if key.kind == "Pod" and old is None and new is not None:
            owner = ObjectView(new).owner
            assert owner is not None or "foreign" in str(new)
        if old is None or new is None or ObjectView(old).uid != ObjectView(new).uid:
            return
        if key.kind == "AgentSession":
            _check_session(old["status"], new["status"])
        if key.kind == "Sandbox":
            _check_sandbox(old["status"], new["status"])

    def _check_dispatch(self, execution_id: str, runtime: Runtime) -> None:
        """The write that names sandbox and step came first, and only one pod is ever asked."""
        first = self._first_pod.setdefault(execution_id, runtime.pod_uid)
        assert first == runtime.pod_uid, f"{execution_id} was sent to a second pod"
        session_uid, _, name = execution_id.partition(".")
        for _, session in self.cluster.of_kind("AgentSession"):
            if ObjectView(session).uid == session_uid:
                status = session["status"]
                assert get(status, "sandbox", "uid") == runtime.sandbox_uid
                (told,) = [entry for entry in status["steps"] if entry["name"] == name]
                assert told["state"] in ("Running", "Finished")


def _check_session(old: Json, new: Json) -> None:
    """A session's status only ever moves forward."""
    if ObjectView({"status": old}).is_true("Finished"):
        seen = {"observedGeneration": new["observedGeneration"]}
        assert new == old | seen, "a finished session has changed"
        return
    for name in ("startedAt", "readyAt", "finishedAt"):
        assert name not in old or old[name] == new[name], f"{name} has moved"
    if get(old, "sandbox", "uid"):
        assert old["sandbox"] == new["sandbox"]
    before = {entry["name"]: entry for entry in old.get("steps", ())}
    for entry in new.get("steps", ()):
        known = before.get(entry["name"], {"state": "Pending"})
        if known["state"] in ("Finished", "Skipped"):
            assert _without_tails(known) == _without_tails(entry), "an ended step has changed"
        if known["state"] == "Running":
            assert entry["state"] in ("Running", "Finished"), "a running step went back"
            assert entry["executionId"] == known["executionId"]
    running = [entry for entry in new.get("steps", ()) if entry["state"] == "Running"]
    assert len(running) <= 1


def _check_sandbox(old: Json, new: Json) -> None:
    if ObjectView({"status": old}).is_true("Finished"):
        assert new == old, "a finished sandbox has changed"
    if "podUid" in old and not ObjectView({"status": new}).is_true("Suspended"):
        assert new["podUid"] == old["podUid"], "a sandbox has a second pod"


def _without_tails(entry: Json) -> dict[str, Any]:
    return {k: v for k, v in entry.items() if k not in ("stdoutTail", "stderrTail", "message")}
