"""Runs one scenario: an operator behind the proxy, a batch of sessions, faults, the judgement."""

import asyncio
import contextlib
import itertools
import random
import tempfile
import time
import traceback
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from e2e.witness import Witness
from tests.faults import batch
from tests.faults.batch import Case
from tests.faults.installation import Installed, out_of_the_way
from tests.faults.kubeapi import Admin
from tests.faults.observer import Observer, Violation
from tests.faults.operator_process import OperatorProcess, copy_sources
from tests.faults.proxy import Proxy
from tests.faults.scenario import SAME_END, Field, Result, Scenario

DELETE_AFTER_S = 6.0
"""A session that is to be deleted midway and does not run by then is deleted anyway."""
WATCHED = frozenset({"agentsessions", "sandboxes", "pods"})
PREFIX = "faults-"
"""Of the names of namespaces."""
READY_S = 30.0
POLL_S = 0.2
RESTART_FROM_S = 10.0
SETTLE_S = 0.5
"""Events are posted in the background, after the status that they explain."""


class Harness:
    """One cluster for many scenarios, one after the other."""

    def __init__(self, admin: Admin, installed: Installed, witness: Witness, folder: Path) -> None:
        self._admin = admin
        self._installed = installed
        self._witness = witness
        self.folder = folder
        self._numbers = itertools.count(1)
        self._undisturbed: dict[str, Any] = {}
        """By name of the case: how it ends when nothing goes wrong."""
        self.sources = copy_sources(folder / "sources")

    async def run(
        self, scenario: Scenario, *, seed: int = 0, sources: Path | None = None
    ) -> Result:
        """Run it once; `sources` other than the tree's are a mutant's."""
        unknown = [
            case
            for case in scenario.sessions
            if case.name not in self._undisturbed and case.name not in scenario.ends
        ]
        if unknown and scenario.disturbed:
            calm = Scenario("undisturbed", "", sessions=tuple(unknown))
            told = await self.run(calm)
            if told.violations:
                raise AssertionError(f"undisturbed: {told.violations}")
        result = Result(scenario, seed)
        begun = time.monotonic()
        try:
            async with self._field(scenario, result, seed, sources or self.sources) as there:
                await self._play(there, scenario, result)
                await self._rest(there, result, scenario.rest_s)
        except Exception:  # a row that cannot run must not end the rows behind it
            result.violations.append(Violation("the scenario ran", traceback.format_exc()))
        result.seconds = time.monotonic() - begun
        if not (scenario.disturbed or result.violations or sources):
            self._undisturbed |= {case.name: result.ends[case.name] for case in scenario.sessions}
        return result

    async def foreign(self) -> list[str]:
        """Namespaces with sessions that are not the harness's."""
        found = (await self._admin.list("agentsessions"))["items"]
        names = {str(session["metadata"]["namespace"]) for session in found}
        return sorted(name for name in names if not name.startswith(PREFIX))

    @contextlib.asynccontextmanager
    async def _field(
        self, scenario: Scenario, result: Result, seed: int, sources: Path
    ) -> AsyncIterator[Field]:
        folder = Path(tempfile.mkdtemp(prefix=f"{scenario.name}-", dir=self.folder))
        namespace = f"{PREFIX}{next(self._numbers)}-{uuid.uuid4().hex[:6]}"
        await self._make_namespace(namespace)

        async def kill() -> None:
            await operator.kill()

        proxy = Proxy(self._admin.server, self._admin.tls_without_identity(), kill)
        server = await proxy.start()
        operators: list[OperatorProcess] = []

        def another() -> OperatorProcess:
            number = len(operators) + 1
            operators.append(
                OperatorProcess(
                    self._admin, self._installed, sources, server, folder / f"operator-{number}"
                )
            )
            return operators[-1]

        operator = another()
        if scenario.from_start:
            proxy.arm(*scenario.rules, seed=seed)
        try:
            async with Observer(self._admin, self._witness, namespace) as observer:
                there = Field(
                    self._admin, proxy, operator, observer, self._witness, namespace,
                    random.Random(seed), another,
                )  # fmt: skip
                try:
                    yield there
                finally:
                    observer.finish()
                    result.violations += observer.court.violations + there.violations
                    result.checks += observer.court.checks
                    result.injected += proxy.injected + there.injected
                    result.writes += proxy.writes
        finally:
            for process in operators:
                await process.stop()
            await proxy.close()
            result.lives = sum(process.lives for process in operators)
            result.log = "\n".join([*proxy.log[-60:], *(one.log() for one in operators)])
            await self._admin.delete("namespaces", "", namespace)

    async def _make_namespace(self, name: str) -> None:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        manifest = {"metadata": {"name": name, "labels": labels}}
        await self._admin.create("namespaces", "", manifest)
        await self._admin.until_service_account(name)
        await self._admin.create("sandboxtemplates", name, batch.NOWHERE_TEMPLATE)

    async def _play(self, there: Field, scenario: Scenario, result: Result) -> None:
        if scenario.prepare is not None:
            await scenario.prepare(there)
        clock = await self._skewed(scenario.clock_skew_s)
        there.injected["clock wrong"] += bool(clock)
        there.operator.start(**clock, **scenario.environment)
        if scenario.waits and not await there.until(
            lambda: there.proxy.watches >= WATCHED, READY_S
        ):
            result.violations.append(Violation("the operator starts", "no watches within 30 s"))
        if not scenario.from_start:
            there.proxy.arm(*scenario.rules, seed=result.seed)
        for case in scenario.sessions:
            await self._admin.create(
                "agentsessions", there.namespace, case.manifest(there.namespace)
            )
        beside = [
            asyncio.create_task(self._delete_midway(there, case))
            for case in scenario.sessions
            if case.deleted
        ]
        if scenario.script is not None:
            beside.append(asyncio.create_task(scenario.script(there)))
        begun = time.monotonic()
        try:
            while True:
                for task in beside:
                    if task.done():
                        task.result()
                over = all(task.done() for task in beside) and await self._is_over(there, scenario)
                if over or time.monotonic() - begun > scenario.within:
                    break
                await asyncio.sleep(POLL_S)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        there.proxy.arm()
        result.checks[SAME_END] += len(scenario.sessions)
        await self._judge_end(there, scenario, result, over)

    async def _skewed(self, seconds: int) -> dict[str, str]:
        """The variables that give a process a wrong clock; compiled once (clock.c)."""
        if not seconds:
            return {}
        library = self.folder / "clock.so"
        if not library.exists():
            source = Path(__file__).with_name("clock.c")
            command = ("cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source))
            process = await asyncio.create_subprocess_exec(*command)
            if await process.wait() != 0:
                raise SystemExit(
                    "a C compiler named cc is needed to give the operator a wrong clock"
                )
        return {"LD_PRELOAD": str(library), "CLOCK_SKEW_S": str(seconds)}

    async def _delete_midway(self, there: Field, case: Case) -> None:
        await there.until_runs(case.name, DELETE_AFTER_S)
        await self._admin.delete("agentsessions", there.namespace, case.name)

    async def _is_over(self, there: Field, scenario: Scenario) -> bool:
        if not scenario.keeps:
            return await self._admin.get("namespaces", "", there.namespace) is None
        sessions = (await self._admin.list("agentsessions", there.namespace))["items"]
        if not all(batch.is_over(session) for session in sessions):
            return False
        if any(session["metadata"].get("deletionTimestamp") for session in sessions):
            return False
        sandboxes = (await self._admin.list("sandboxes", there.namespace))["items"]
        return not sandboxes and not await there.pods()

    async def _judge_end(
        self, there: Field, scenario: Scenario, result: Result, over: bool
    ) -> None:
        def wrong(sentence: str) -> None:
            result.violations.append(Violation(SAME_END, f"{there.namespace}: {sentence}"))

        if not over:
            left = [
                f"{resource} {[(o['metadata']['name'], o.get('status')) for o in found]}"
                for resource in ("agentsessions", "sandboxes", "pods")
                if (found := (await self._admin.list(resource, there.namespace))["items"])
            ]
            wrong(f"not at rest within {scenario.within:g} s: {left}")
            return
        if not scenario.keeps:
            return
        for case in scenario.sessions:
            session = await self._admin.get("agentsessions", there.namespace, case.name)
            end = result.ends[case.name] = batch.end_of(session)
            if case.name in scenario.ends:
                lines = scenario.ends[case.name](end)
            elif case.name in self._undisturbed:
                calm = self._undisturbed[case.name]
                lines = batch.differences(calm, without(end, scenario.besides))
            else:
                lines = []
            for line in lines:
                wrong(f"session {case.name}: {line}")

    async def _rest(self, there: Field, result: Result, rest: float) -> None:
        """Nothing is written when nothing is to be done, in this life or at the start of one."""
        await asyncio.sleep(SETTLE_S)
        before, since = Counter(there.proxy.writes), len(there.proxy.log)
        if rest >= RESTART_FROM_S:
            await asyncio.sleep(rest / 2)
            await there.operator.kill()
            rest /= 2
        await asyncio.sleep(rest)
        result.checks["no writes at rest"] += 1
        more = Counter(there.proxy.writes)
        more.subtract(before)
        said = [
            line
            for line in there.proxy.log[since:]
            if " leases " not in line and "lease" not in line
        ]
        if any(count for (_, resource), count in more.items() if resource != "leases"):
            result.violations.append(Violation("no writes at rest", "; ".join(said)))


def without(end: Any, fields: frozenset[str]) -> Any:
    return end and {name: value for name, value in end.items() if name not in fields}


async def _sweep(admin: Admin) -> None:
    """What a run that was killed has left."""
    for resource in ("namespaces", "validatingwebhookconfigurations"):
        for left in (await admin.list(resource))["items"]:
            if left["metadata"]["name"].startswith(PREFIX):
                await admin.delete(resource, "", left["metadata"]["name"])


@contextlib.asynccontextmanager
async def on_the_cluster(kubeconfig: Path, witness: Witness) -> AsyncIterator[Harness]:
    """A harness on the cluster that a kubeconfig names; the Deployment is put back at the end."""
    with tempfile.TemporaryDirectory(prefix="paddock-faults-") as folder:
        async with (
            Admin(kubeconfig) as admin,
            out_of_the_way(admin, kubeconfig) as installed,
        ):
            await _sweep(admin)
            yield Harness(admin, installed, witness, Path(folder))
