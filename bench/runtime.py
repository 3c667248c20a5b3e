"""Measures the runtime in one pod: one-liners, contexts, streaming, idle memory.

    KUBECONFIG=… python -m bench.runtime [--samples 400] [--local]

In blocks of 100, one-liners follow one another over one connection. Between the blocks stand the
baselines: plain `python3 -c` as an execution in the same pod, and `kubectl exec`. `--local` takes
both programs as processes of this machine instead, without limits and without kubectl.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.node import MIB, Place, command, rollup
from bench.report import table
from tests.runtime.box import Box, Template

from paddock_api.messages import Limits

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "paddock-bench"
TEMPLATES = (
    Template("bench-500m", Limits(timeout_ms=60_000, cpu_millis=500)),
    Template("bench-2", Limits(timeout_ms=60_000, cpu_millis=2000)),
)
CODE = "print(1+1)"
PLAIN = ["python3", "-c", CODE]
BLOCK = 100
PAUSE_S = 0.05
"""Between one-liners that do not follow at once, so that the CPU limit has no part in them."""
STREAMED = 100 * MIB
_OMITTED = re.compile(rb'"omitted": ?(\d+)\}\n')
"""At the end of an event of output, what came too late for its client."""
Samples = dict[str, list[float]]


class Client:
    """One connection that is kept; `samples` are seconds."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._connection = box.connect(60)
        self._token, self._until = "", 0.0
        self.exchange("GET", "/v1/capabilities")

    def exchange(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        if time.monotonic() > self._until:
            self._token, self._until = self._box.token(), time.monotonic() + 30
        return self._box.call(method, path, body, token=self._token, connection=self._connection)

    def execute(self, **request: Any) -> float:
        """Seconds of one execution that must end well."""
        request["id"] = self._box.new_id()
        begun = time.perf_counter()
        status, answer = self.exchange("POST", "/v1/executions?wait=20s", request)
        took = time.perf_counter() - begun
        if status != 201 or answer.get("exitCode") != 0:
            raise RuntimeError(f"{request} answered {status} {answer}")
        return took


def one_liners(client: Client, samples: int, kubectl: Callable[[], float] | None) -> Samples:
    """All of one pod, interleaved."""
    rows: Samples = {"one after another": [], "with a pause": [], "python3 -c": []}
    if kubectl is not None:
        rows["kubectl exec"] = []
    for _ in range(20):
        client.execute(language="python", code=CODE)
    for _ in range(-(-samples // BLOCK)):
        time.sleep(0.3)
        for _ in range(BLOCK):
            rows["one after another"].append(client.execute(language="python", code=CODE))
        for _ in range(BLOCK // 4):
            time.sleep(PAUSE_S)
            rows["with a pause"].append(client.execute(language="python", code=CODE))
        for _ in range(BLOCK // 10):
            time.sleep(PAUSE_S)
            rows["python3 -c"].append(client.execute(argv=PLAIN))
        for _ in range(5 if kubectl is not None else 0):
            assert kubectl is not None
            rows["kubectl exec"].append(kubectl())
    return rows


def contexts(client: Client, count: int) -> Samples:
    """Empty where the runtime has no contexts."""
    rows: Samples = {"context, create": [], "context, run": []}
    if client.exchange("GET", "/v1/contexts")[0] == 404:
        return {}
    for number in range(count):
        name = f"bench-{number}"
        begun = time.perf_counter()
        status, answer = client.exchange("POST", "/v1/contexts", {"id": name})
        rows["context, create"].append(time.perf_counter() - begun)
        if status != 201:
            raise RuntimeError(f"a new context answered {status} {answer}")
        for _ in range(8):
            time.sleep(PAUSE_S / 5)
            took = client.execute(language="python", code="1+1", context=name)
            rows["context, run"].append(took)
        client.exchange("DELETE", f"/v1/contexts/{name}")
    return rows


def streaming(box: Box, runtime: Place) -> dict[str, float]:
    """100 MiB of stdout followed by a client that does nothing but read its socket."""
    line = "'x' * (2**20 - 1) + '\\n'"
    code = f"import sys\nfor _ in range({STREAMED // MIB}): sys.stdout.write({line})"
    body = {"id": box.new_id(), "language": "python", "code": code}
    before, cpu, begun = runtime.memory(), runtime.cpu_seconds(), time.perf_counter()
    peak = [before]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak.append(runtime.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    received = omitted = 0
    rest = b""
    try:
        headers = {"Accept": "text/event-stream"}
        with box.stream("POST", "/v1/executions", body, headers=headers) as answer:
            while piece := answer.read1(1 << 18):
                received += len(piece)
                whole, end, rest = (rest + piece).rpartition(b"\n")
                omitted += sum(int(match[1]) for match in _OMITTED.finditer(whole + end))
    finally:
        took = time.perf_counter() - begun
        done.set()
        watcher.join()
    ended = box.get(str(body["id"]))
    return {
        "printed, MiB": ended["stdout"]["bytes"] / MIB,
        "received, MiB of events": received / MIB,
        "omitted, MiB": omitted / MIB,
        "seconds": took,
        "CPU seconds of the runtime": runtime.cpu_seconds() - cpu,
        "memory before, MiB": before / MIB,
        "memory peak, MiB": max(peak) / MIB,
        "memory after, MiB": runtime.memory() / MIB,
    }


def memory(places: dict[str, Place]) -> Iterator[str]:
    """Lines: both containers, then each process."""
    total = 0
    for name, place in places.items():
        held = place.memory()
        total += held
        yield f"{name + ', usage less cache':<44}{held / MIB:>8.1f} MiB"
        for pid in place.pids():
            with contextlib.suppress(OSError):
                seen = rollup(pid)
                shown = "  ".join(
                    f"{field} {seen[field] / MIB:.1f}"
                    for field in ("Rss", "Pss", "Anonymous", "Private_Dirty", "Shared_Dirty")
                )
                yield f"    {command(pid)[-36:]:<38}{shown}"
    yield f"{'both':<44}{total / MIB:>8.1f} MiB"


def measure(
    name: str, box: Box, places: dict[str, Place], samples: int, kubectl: Callable[[], float] | None
) -> dict[str, Any]:
    """Everything of one pod, printed and returned."""
    print(f"\n{name}", flush=True)
    time.sleep(2)
    idle = list(memory(places))
    client = Client(box)
    periods = places["workspace"].throttled()
    cpu = {part: place.cpu_seconds() for part, place in places.items()}
    rows = one_liners(client, samples, kubectl)
    used = {part: place.cpu_seconds() - cpu[part] for part, place in places.items()}
    count = sum(len(row) for at, row in rows.items() if at != "kubectl exec")
    then, now = periods, places["workspace"].throttled()
    throttled = now[0] - then[0], now[1] - then[1]
    rows |= contexts(client, 40)
    baseline = "kubectl exec" if kubectl is not None else "python3 -c"
    print(table(rows, dict.fromkeys(rows.keys() - {baseline}, baseline)))
    each = ", ".join(f"{part} {1000 * seconds / count:.2f}" for part, seconds in used.items())
    print(f"CPU milliseconds per execution, baselines included: {each}")
    print(f"throttled in {throttled[0]} of {throttled[1]} periods of 100 ms")
    streamed = streaming(box, places["runtime"])
    print("streaming: " + ", ".join(f"{part} {value:.2f}" for part, value in streamed.items()))
    print("\n".join(["idle, before anything ran:", *idle]))
    print("\n".join(["idle, after all of it:", *memory(places)]))
    return {
        "samples": rows,
        "cpu": used,
        "throttled": throttled,
        "streaming": streamed,
        "idle": idle,
    }


def local(samples: int) -> dict[str, Any]:
    from tests.runtime.pod import Pod

    with Pod(limits={"timeoutMs": 60_000, "cpuMillis": 2000}) as pod:
        supervisor = Place.of(_parent(pod.fork_server()))
        places = {"runtime": Place.of(pod.runtime_pid()), "workspace": supervisor}
        return {"local": measure("processes of this machine", pod, places, samples, None)}


def in_pods(samples: int) -> dict[str, Any]:
    from e2e.kube import Kube
    from e2e.runtime_pod import WORKSPACE, running

    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        kube = Kube(Path(os.environ["KUBECONFIG"]), Path(scratch))
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        kube.kubectl.apply(namespace)
        for template in TEMPLATES:
            with running(kube, NAMESPACE, template.name, template) as pod:
                workspace = Place.of(pod._process(WORKSPACE))
                places = {"runtime": Place.of(pod.runtime_pid()), "workspace": workspace}
                shell = kubectl_exec(template.name)
                found[template.name] = measure(template.name, pod, places, samples, shell)
        kube.api.session.close()
    return found


def kubectl_exec(pod: str) -> Callable[[], float]:
    """Runs the same one-liner the way one does without Paddock."""
    whole = ["kubectl", "exec", "-n", NAMESPACE, pod, "-c", "workspace", "--", *PLAIN]

    def run() -> float:
        begun = time.perf_counter()
        out = subprocess.run(whole, stdout=subprocess.PIPE, check=True).stdout
        if out != b"2\n":
            raise RuntimeError(f"kubectl exec answered {out!r}")
        return time.perf_counter() - begun

    return run


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def main() -> None:
    """Print the tables and keep the samples in build/bench-runtime.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--local", action="store_true")
    arguments = parser.parse_args()
    measured = local(arguments.samples) if arguments.local else in_pods(arguments.samples)
    out = ROOT / "build" / "bench-runtime.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
