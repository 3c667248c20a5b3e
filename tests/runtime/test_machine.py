"""Anything may happen to executions in any order: each has one end, one reason and exact counts.

Programs do what they are told over stdin and acknowledge it in a file, so what each has written
is known also when it is killed right after. One sandbox serves all examples: restarts are steps.
"""

import contextlib
import http.client
import itertools
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.runtime.cases.sse import ACCEPT, Event, events
from tests.runtime.pod import Pod

PYTHON = """
import os, sys
done = 0
for line in iter(sys.stdin.readline, ""):
    what, _, number = line.strip().partition(" ")
    if what == "exit":
        sys.exit(int(number))
    stream = 1 if what == "out" else 2
    left = b"x" * int(number)
    while left:
        left = left[os.write(stream, left):]
    done += 1
    with open(f"{os.environ['ID']}.tmp", "w") as file:
        file.write(str(done))
    os.rename(f"{os.environ['ID']}.tmp", f"{os.environ['ID']}.ack")
"""
BASH = """
done=0
while read -r what number; do
  if [ "$what" = exit ]; then exit "$number"; fi
  if [ "$what" = out ]; then head -c "$number" /dev/zero; else head -c "$number" /dev/zero >&2; fi
  done=$((done + 1)); echo "$done" > "$ID.tmp"; mv "$ID.tmp" "$ID.ack"
done
"""
KEPT = 4096
numbers = itertools.count(1)
BRIEF = settings(max_examples=8, stateful_step_count=25, deadline=None, phases=[Phase.generate])
"""Without shrinking: a failure shows its steps, and each step takes its time."""


@dataclass
class Running:
    """What is known of one execution: bytes acknowledged and how it may end."""

    id: str
    language: str
    written: list[int] = field(default_factory=lambda: [0, 0])
    told: int = 0
    last: str = ""
    seen: list[Event] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    pod: Pod

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[str, Running] = {}
        self.expected: dict[str, tuple[Running, set[str]]] = {}

    def pick(self, data: st.DataObject) -> Running:
        return self.running[data.draw(st.sampled_from(list(self.running)))]

    @precondition(lambda self: len(self.running) < 3)
    @rule(
        language=st.sampled_from(["python", "bash"]),
        background=st.booleans(),
        disconnect=st.sampled_from(["Continue", "Cancel"]),
    )
    def start(self, language: str, background: bool, disconnect: str) -> None:
        identity = f"m{next(numbers)}"
        request: dict[str, Any] = {
            "id": identity,
            "language": language,
            "code": PYTHON if language == "python" else BASH,
            "env": [{"name": "ID", "value": identity}],
            "stdinOpen": True,
            "background": background,
            "onDisconnect": disconnect,
        }
        answer = self.pod.submit(**request)
        assert answer["state"] in ("Pending", "Running")
        again = self.pod.call("POST", "/v1/executions", request)
        assert again[0] == 200
        self.running[identity] = Running(identity, language)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), stream=st.sampled_from(["out", "err"]), size=st.integers(1, 9000))
    def print(self, data: st.DataObject, stream: str, size: int) -> None:
        one = self.pick(data)
        self.tell(one, f"{stream} {size}\n")
        one.told += 1
        ack = self.pod.work / f"{one.id}.ack"
        deadline = time.monotonic() + 20
        while not (ack.exists() and ack.read_text().strip() == str(one.told)):
            assert time.monotonic() < deadline, self.pod.get(one.id)
            time.sleep(0.002)
        one.written[stream == "err"] += size

    @precondition(lambda self: self.running)
    @rule(data=st.data(), code=st.integers(0, 255))
    def leave(self, data: st.DataObject, code: int) -> None:
        one = self.pick(data)
        self.tell(one, f"exit {code}\n")
        assert self.ends(one, "Exited")["exitCode"] == code

    @precondition(lambda self: self.running)
    @rule(data=st.data(), name=st.sampled_from(["SIGTERM", "SIGKILL", "SIGHUP", "SIGUSR1"]))
    def signal(self, data: st.DataObject, name: str) -> None:
        one = self.pick(data)
        status, _ = self.pod.call("POST", f"/v1/executions/{one.id}/signal", {"signal": name})
        assert status == 200
        assert self.ends(one, "Signaled")["signal"] == name

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        one = self.pick(data)
        self.pod.call("DELETE", f"/v1/executions/{one.id}")
        self.ends(one, "Cancelled")

    @precondition(lambda self: self.running)
    @rule(data=st.data(), code=st.integers(0, 3))
    def leave_and_cancel_at_once(self, data: st.DataObject, code: int) -> None:
        one = self.pick(data)
        self.tell(one, f"exit {code}\n")
        self.pod.call("DELETE", f"/v1/executions/{one.id}")
        self.ends(one, "Exited", "Cancelled")

    @rule(limit=st.integers(1, 150))
    def time_out(self, limit: int) -> None:
        one = Running(f"m{next(numbers)}", "bash")
        self.running[one.id] = one
        self.pod.submit(id=one.id, language="bash", code="sleep 60 & sleep 60", timeoutMs=limit)
        assert self.ends(one, "WallTimeout")["durationMs"] >= limit

    @precondition(lambda self: self.running)
    @rule(data=st.data(), count=st.integers(1, 4))
    def follow_for_a_moment(self, data: st.DataObject, count: int) -> None:
        """What is there already: then the connection breaks."""
        one = self.pick(data)
        headers = {**ACCEPT, **({"Last-Event-ID": one.last} if one.last else {})}
        path = f"/v1/executions/{one.id}/events"
        with self.pod.stream("GET", path, headers=headers) as answer:
            for event in itertools.islice(_available(answer), count):
                one.seen.append(event)
                one.last = event.id

    @rule(what=st.sampled_from(["runtime", "workspace"]))
    def kill(self, what: str) -> None:
        if what == "runtime":
            self.kill_the_runtime()
        else:
            self.kill_the_workspace()

    def kill_the_runtime(self) -> None:
        self.pod.crash_runtime()
        self.pod.wait_ready()
        for one in list(self.running.values()):
            one.written = [-1, -1]  # nobody can say what it wrote
            self.ends(one, "RuntimeRestarted")

    def kill_the_workspace(self) -> None:
        before = self.connections()
        self.pod.kill_fork_server()
        for one in list(self.running.values()):
            self.ends(one, "WorkspaceLost")
        deadline = time.monotonic() + 10
        while self.connections() == before:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def connections(self) -> str:
        """How often a fork server has connected to this runtime."""
        found = re.search(r"workspace_connections (\d+)\n", self.pod.call("GET", "/metrics")[1])
        assert found
        return found[1]

    @invariant()
    def the_runtime_lists_what_runs(self) -> None:
        states = ("Running", "Pending")
        listed = {
            execution["id"]
            for state in states
            for execution in self.pod.call("GET", f"/v1/executions?state={state}")[1]["executions"]
        }
        assert listed == set(self.running)

    def teardown(self) -> None:
        for one in list(self.running.values()):
            self.pod.call("DELETE", f"/v1/executions/{one.id}")
            self.ends(one, "Cancelled")
        lines = (self.pod.base / "journal" / "journal.jsonl").read_text().splitlines()
        ends = [record["id"] for record in map(json.loads, lines) if record["type"] == "ended"]
        for one, reasons in self.expected.values():
            assert ends.count(one.id) == 1
            again = self.pod.get(one.id)
            assert again["reason"] in reasons
            self.check_events(one, again)
        assert self.pod.at_rest()

    def tell(self, one: Running, line: str) -> None:
        path = f"/v1/executions/{one.id}/stdin"
        deadline = time.monotonic() + 10
        while True:
            status, answer = self.pod.call("POST", path, raw=line.encode())
            if status == 200:
                return
            assert answer["code"] == "NotRunning", answer  # it is still Pending
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def ends(self, one: Running, *reasons: str) -> dict[str, Any]:
        ended = self.pod.get(one.id, "?wait=20s")
        assert ended["state"] == "Finished", ended
        assert ended["reason"] in reasons, ended
        for stream, count in zip(("stdout", "stderr"), one.written, strict=True):
            assert ended[stream]["bytes"] == max(0, count), ended
            assert ended[stream]["omitted"] == max(0, count - KEPT)
        del self.running[one.id]
        self.expected[one.id] = one, {ended["reason"]}
        return ended

    def check_events(self, one: Running, ended: dict[str, Any]) -> None:
        """What was seen before, and what is told from there on, are one whole."""
        headers = {**ACCEPT, **({"Last-Event-ID": one.last} if one.last else {})}
        path = f"/v1/executions/{one.id}/events"
        with self.pod.stream("GET", path, headers=headers) as answer:
            told = one.seen + [event for event in events(answer) if event.kind != "comment"]
        kinds = [event.kind for event in told]
        assert (kinds.count("started"), kinds.count("exited"), kinds[-1]) == (1, 1, "exited")
        if ended["reason"] == "RuntimeRestarted":
            return
        for stream in ("stdout", "stderr"):
            position = 0
            for event in told:
                if event.kind == stream:
                    assert event.data["offset"] == position + event.data["omitted"]
                    position = event.data["offset"] + len(event.data["text"])
            assert position == ended[stream]["bytes"]


def _available(answer: http.client.HTTPResponse) -> Iterator[Event]:
    """Events that come within a moment of each other."""
    assert answer.fp is not None
    sock = answer.fp.raw._sock  # type: ignore[attr-defined]
    sock.settimeout(0.05)
    with contextlib.suppress(TimeoutError, OSError):
        for event in events(answer):
            if event.kind != "comment":
                yield event


def test_anything_in_any_order() -> None:
    limits = {"outputBytes": KEPT, "concurrency": 4}
    with Pod(limits=limits) as pod:

        class OnPod(Machine):
            pass

        OnPod.pod = pod
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            OnPod, settings=BRIEF
        )
