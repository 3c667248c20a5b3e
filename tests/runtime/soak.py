"""Thousands of mixed executions, and what they leave: `python -m tests.runtime.soak --count 20000`.

Eight clients at once send what agents send: short programs, output, input, failures, timeouts,
signals, cancelled and abandoned ones, services, orphans, contexts, followers that hang up. Before
and after, every process of the sandbox is counted, with its descriptors, threads and memory.
"""

import argparse
import contextlib
import http.client
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runtime.cases.sse import ACCEPT, events
from tests.runtime.pod import Pod

CLIENTS = 8
_numbers = itertools.count()
LIMITS = {"concurrency": 9, "outputBytes": 64 << 10, "timeoutMs": 20_000, "cpuMillis": 2000}


@dataclass(frozen=True)
class Held:
    """What one process holds: bytes that are its own, descriptors, threads."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Held":
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        memory = sum(int(line.split()[1]) << 10 for line in rollup.splitlines() if _own(line))
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
        return cls(memory, descriptors, threads)


def _own(line: str) -> bool:
    return line.startswith(("Private_Dirty:", "Private_Clean:"))


@dataclass(frozen=True)
class Census:
    """What a sandbox at rest holds: the runtime, the fork server, and all of the workspace."""

    runtime: Held
    fork_server: Held
    processes: int
    zombies: int
    files: tuple[str, ...]
    """In memory-backed directories and in temporary ones."""


def census(pod: Pod) -> Census:
    _until(pod.at_rest, "the workspace is at rest")
    time.sleep(0.3)
    return Census(
        Held.of(pod.runtime_pid()),
        Held.of(pod.fork_server()),
        len(pod.user_processes()),
        _zombies(pod.uid),
        tuple(sorted(path.name for path in (pod.base / "control").iterdir())),
    )


def _zombies(uid: int) -> int:
    found = 0
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                status = (path / "status").read_text()
                found += f"\nUid:\t{uid}\t" in status and "\nState:\tZ" in status
    return found


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"not so after 20 s: {what}"
        time.sleep(0.02)


class Client:
    """One thread's connection and its share of the work."""

    def __init__(self, pod: Pod, number: int) -> None:
        self._pod = pod
        self._number = number
        self._random = random.Random(number)
        self._ids = itertools.count()
        self._http = pod.connect()
        self._token, self._since = pod.token(), time.monotonic()
        self.ends: Counter[str] = Counter()

    def work(self, count: int) -> None:
        kinds = list(KINDS)
        weights = [KINDS[kind] for kind in kinds]
        for _ in range(count):
            self._random.choices(kinds, weights)[0](self)

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        if time.monotonic() - self._since > 30:
            self._token, self._since = self._pod.token(), time.monotonic()
        for _ in range(3):
            try:
                return self._pod.call(method, path, body, token=self._token, connection=self._http)
            except (OSError, http.client.HTTPException):
                self._http.close()
                self._http = self._pod.connect()
        raise AssertionError("three connections in a row broke")

    def new(self, query: str = "?wait=30s", **request: Any) -> dict[str, Any]:
        request["id"] = f"s{self._number}-{next(self._ids)}"
        status, answer = self.call("POST", f"/v1/executions{query}", request)
        assert status == 201, answer
        assert isinstance(answer, dict)
        return answer

    def expect(self, ended: dict[str, Any], *reasons: str) -> dict[str, Any]:
        assert ended["state"] == "Finished", ended
        assert ended["reason"] in reasons, ended
        self.ends[ended["reason"]] += 1
        return ended

    def one_liner(self) -> None:
        ended = self.expect(self.new(language="python", code="print(1+1)"), "Exited")
        assert ended["stdout"]["head"] == "2\n"

    def shell(self) -> None:
        ended = self.expect(self.new(language="bash", code="echo $((6*7)); exit 3"), "Exited")
        assert (ended["exitCode"], ended["stdout"]["head"]) == (3, "42\n")

    def output(self) -> None:
        size = self._random.randrange(1, 300_000)
        ended = self.expect(
            self.new(language="python", code=f"import os\nos.write(1, b'x' * {size})"), "Exited"
        )
        assert ended["stdout"]["bytes"] in (size, min(size, 65536))  # a pipe takes a part at once

    def input(self) -> None:
        ended = self.expect(self.new(argv=["cat"], stdin="hello"), "Exited")
        assert ended["stdout"]["head"] == "hello"

    def failure(self) -> None:
        ended = self.expect(self.new(language="python", code="1/0"), "Exited")
        assert ended["exitCode"] == 1

    def not_found(self) -> None:
        self.expect(self.new(argv=["no-such-program"]), "StartFailed")

    def crash(self) -> None:
        self.expect(self.new(language="bash", code="kill -SEGV $$"), "Signaled")

    def timeout(self) -> None:
        self.expect(
            self.new(language="bash", code="sleep 30 & sleep 30", timeoutMs=40), "WallTimeout"
        )

    def orphan(self) -> None:
        code = "(setsid sleep 300 & ) ; (sleep 300 &) ; echo left"
        self.expect(self.new(language="bash", code=code), "Exited")

    def service(self) -> None:
        made = self.new("", language="bash", code="(sleep 300 &)", background=True)
        ended = self.call("DELETE", f"/v1/executions/{made['id']}?wait=10s")[1]
        self.expect(ended, "Cancelled")

    def signal(self) -> None:
        made = self.new("?wait=20ms", argv=["sleep", "30"])
        while (
            self.call("POST", f"/v1/executions/{made['id']}/signal", {"signal": "SIGTERM"})[0]
            == 409
        ):
            time.sleep(0.005)
        self.expect(self.call("GET", f"/v1/executions/{made['id']}?wait=10s")[1], "Signaled")

    def cancel(self) -> None:
        made = self.new("", language="python", code="import time; time.sleep(30)")
        ended = self.call("DELETE", f"/v1/executions/{made['id']}?wait=10s")[1]
        self.expect(ended, "Cancelled")

    def hang_up(self) -> None:
        """Follow, and be gone after two events."""
        made = self.new(
            "", language="bash", code="for i in 1 2 3 4 5; do echo $i; sleep 0.01; done"
        )
        path = f"/v1/executions/{made['id']}/events"
        with self._pod.stream("GET", path, headers=ACCEPT) as answer:
            next(events(answer))
        self.expect(self.call("GET", f"/v1/executions/{made['id']}?wait=10s")[1], "Exited")

    def context(self) -> None:
        """A context for a few cells: its variables stay, then it goes."""
        identity = f"c{self._number}"
        status, answer = self.call("POST", "/v1/contexts", {"id": identity})
        assert status == 201, answer
        for number in range(3):
            code = "x = 0" if number == 0 else "x += 1; x"
            ended = self.new(language="python", code=code, context=identity)
            self.expect(ended, "Exited")
        assert ended["results"][0]["data"]["text/plain"] == "2"
        assert self.call("DELETE", f"/v1/contexts/{identity}")[0] == 204


KINDS: dict[Callable[[Client], None], int] = {
    Client.one_liner: 40,
    Client.shell: 20,
    Client.output: 8,
    Client.input: 8,
    Client.failure: 5,
    Client.not_found: 3,
    Client.crash: 3,
    Client.timeout: 2,
    Client.orphan: 3,
    Client.service: 2,
    Client.signal: 2,
    Client.cancel: 2,
    Client.hang_up: 2,
    Client.context: 1,
}


def run(pod: Pod, count: int, say: Callable[[str], None] = lambda _: None) -> Counter[str]:
    """`count` executions, more or less; how they ended."""
    clients = [Client(pod, next(_numbers)) for _ in range(CLIENTS)]
    share = 25
    left = itertools.count(count, -share * CLIENTS)
    lock = threading.Lock()

    def work(client: Client) -> None:
        while True:
            with lock:
                if next(left) <= 0:
                    return
            client.work(share * CLIENTS)

    begun = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(work, client) for client in clients]
        for future in waiting:
            while not future.done():
                time.sleep(0.5)
                done = sum(sum(client.ends.values()) for client in clients)
                say(f"{done} executions in {time.monotonic() - begun:.0f} s")
            future.result()
    for client in clients:
        client.close()
    return sum((client.ends for client in clients), Counter())


def difference(before: Census, after: Census, count: int) -> list[str]:
    """What is more than it was; memory of the runtime is allowed BYTES_EACH an execution."""
    grown = []
    for name in ("processes", "zombies", "files"):
        if getattr(before, name) != getattr(after, name):
            grown.append(f"{name}: {getattr(before, name)} -> {getattr(after, name)}")
    for name, allowed in (("runtime", SLACK + BYTES_EACH * count), ("fork_server", SLACK)):
        old, new = getattr(before, name), getattr(after, name)
        if (old.descriptors, old.threads) != (new.descriptors, new.threads):
            grown.append(f"{name}: {old} -> {new}")
        if new.memory - old.memory > allowed:
            grown.append(f"{name}: memory {old.memory} -> {new.memory}, allowed {allowed} more")
    return grown


BYTES_EACH = 1000
"""An id is accepted once for as long as the sandbox lives: the registry remembers each."""
SLACK = 4 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    count = parser.parse_args().count
    with Pod(limits=LIMITS) as pod:
        run(pod, 1000)
        before = census(pod)
        ends = run(pod, count, lambda text: print(f"\r{text}", end="", flush=True))
        after = census(pod)
    print(f"\n{sum(ends.values())} ends: {dict(ends)}\nbefore {before}\nafter  {after}")
    grown = difference(before, after, sum(ends.values()))
    print("nothing is left" if not grown else "LEFT: " + "; ".join(grown))
    return 1 if grown else 0


if __name__ == "__main__":
    raise SystemExit(main())
