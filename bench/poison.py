"""What poison objects, which fail for ever, cost the sessions beside them.

    python -m bench.poison [--rounds 10] [--sessions 40] [--each 1]

On a real etcd and API server of its own with a faked node (tests/integration). Rounds alone,
beside poison and beside as many sessions that are well take turns. In each, sessions with one
step that ends at once are created, IN_FLIGHT at a time; measured is create to Finished. What
is beside is put right before: the first EARLY sessions meet its arrival, and the poison's
backoff while it starts from 50 ms; the others meet what goes on for ever.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path

from bench.kube import Kube, condition
from bench.poisons import TEMPLATE, Poisons, namespace_of
from bench.report import quantile, table
from tests.integration.conftest import Kubectl
from tests.integration.control_plane import ROOT, ControlPlane
from tests.integration.fake_node import fake_node
from tests.integration.manifests import session, template
from tests.integration.operators import Replica, Replicas

from paddock_operator.cluster.client import KubeApi, path_of

ALONE, WELL, POISON = "session -> Finished, alone", "well beside", "poison beside"
ARMS = (ALONE, WELL, POISON)
EARLY = 12
BOUND = 1.2
IN_FLIGHT = 4
SPACE = "measured"
POLL_S = 0.05


async def finished(kube: Kube, round_name: str, count: int) -> list[float]:
    """Seconds from create to Finished of each session."""
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> float:
        body = session(templateRef=TEMPLATE) | {"metadata": {"name": f"{round_name}-{number}"}}
        async with room:
            took, _ = await kube.time_until(
                path_of("AgentSession", SPACE), body, lambda obj: condition(obj, "Finished")
            )
        return took

    return list(await asyncio.gather(*(one(number) for number in range(count))))


async def clear(api: KubeApi) -> None:
    """Delete what a round has left; there is no garbage collector."""
    while (await api.request("GET", path_of("Sandbox", SPACE)))["items"]:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    for kind in ("AgentSession", "Pod"):
        await api.request("DELETE", path_of(kind, SPACE))


def retries(operator: Replica) -> float:
    """Keys that the operator has put back after an error."""
    return float(operator.metric('workqueue_retries_total{name="paddock"}').partition(" ")[2] or 0)


async def measure(
    control_plane: ControlPlane, operator: Replica, arguments: argparse.Namespace
) -> tuple[dict[str, list[float]], float]:
    """All samples in seconds by arm, and how often the operator failed at poison."""
    rows: dict[str, list[float]] = {name: [] for name in ARMS}
    failed = 0.0
    api = await KubeApi.connect(str(control_plane.kubeconfig))
    try:
        async with Kube.connect(str(control_plane.kubeconfig)) as kube, fake_node(api):
            await namespace_of(api, SPACE)
            python = template("ClusterSandboxTemplate", languages=["python"])
            python["metadata"] = {"name": TEMPLATE["name"]}
            await api.request("POST", path_of("ClusterSandboxTemplate"), body=python)
            poisons = Poisons(api, control_plane.etcd, arguments.each)
            await poisons.prepare()
            await finished(kube, "warm-up", IN_FLIGHT)
            await clear(api)
            for number in range(arguments.rounds):
                for name in random.sample(ARMS, len(ARMS)):
                    before = retries(operator)
                    if name == POISON:
                        await poisons.put()
                    if name == WELL:
                        await poisons.put_as_many_that_are_well(SPACE)
                    run = f"{name.split()[0]}-{number}"
                    rows[name] += await finished(kube, run, arguments.sessions)
                    if name == POISON:
                        await poisons.check()
                        failed += retries(operator) - before
                        await poisons.remove()
                    await clear(api)
                print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    finally:
        await api.close()
    return rows, failed


def main() -> None:
    """Print the table and keep the samples in build/bench-poison.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--each", type=int, default=1, help="poison objects of each kind")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        control_plane = ControlPlane(folder / "control-plane")
        try:
            control_plane.start()
            kubectl = Kubectl(control_plane)
            kubectl("apply", "-f", str(ROOT / "crds"))
            kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
            kubectl("create", "namespace", "operator")
            with Replicas(control_plane, kubectl, "operator", folder) as replicas:
                operator = replicas.lead("operator", PADDOCK_LEASE_DURATION_S="60")
                rows, failed = asyncio.run(measure(control_plane, operator, arguments))
        finally:
            control_plane.stop()
    shown = {ALONE: rows[ALONE]}
    for name in (WELL, POISON):
        shown[name] = rows[name]
        by_turn = [(at % arguments.sessions, took) for at, took in enumerate(rows[name])]
        shown[f"{name}, first {EARLY}"] = [took for turn, took in by_turn if turn < EARLY]
        shown[f"{name}, later"] = [took for turn, took in by_turn if turn >= EARLY]
    print(table(shown, dict.fromkeys(shown.keys() - {ALONE}, ALONE)))
    ratios = [quantile(rows[POISON], q) / quantile(rows[ALONE], q) for q in (0.5, 0.9)]
    print(
        f"with poison over alone: p50 {ratios[0]:.3f}, p90 {ratios[1]:.3f}; at most {BOUND}. "
        f"The operator failed {failed:.0f} times at {arguments.each} of each poison."
    )
    out = ROOT / "build" / "bench-poison.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
