"""The long run: `make faults`, or `python -m tests.faults [--minutes N] [--seed N] [NAME …]`.

Every scenario once, the operator killed at every write, every mutant; then all again with new
seeds until the time is over. Ends with a report; exit status 1 if an invariant was violated,
if a known bug no longer shows, or if a mutant lives.
"""

import argparse
import asyncio
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from e2e import witness
from tests.faults import mutants
from tests.faults.harness import Harness, on_the_cluster
from tests.faults.report import Report
from tests.faults.scenario import Result
from tests.faults.scenarios import EVERY_KILL, LONG

MOST_WRITES = 60
"""More than a batch may cost: a run that is still killed here never ends."""


def main() -> None:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="repeat until so long (15)")
    parser.add_argument("--seed", type=int, default=0, help="of the first round (0)")
    parser.add_argument("names", nargs="*", help="scenarios; none: all, the kills and the mutants")
    arguments = parser.parse_args()
    known = {scenario.name for scenario in LONG} | set(mutants.MUTANTS)
    if unknown := set(arguments.names) - known:
        some, names = ", ".join(sorted(unknown)), ", ".join(sorted(known))
        parser.error(f"no scenario is called {some}; there are {names}")
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        parser.error("KUBECONFIG is not set: `export KUBECONFIG=$(make -s kubeconfig)`")
    report = Report()
    try:
        asyncio.run(run(Path(kubeconfig), report, arguments))
    except pytest.skip.Exception as skipped:
        sys.exit(f"left out: {skipped}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("stopped before the end")
    finally:
        print(report.text())
    sys.exit(0 if report.good else 1)


async def run(kubeconfig: Path, report: Report, arguments: argparse.Namespace) -> None:
    """Fill the report."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    end = time.monotonic() + 60 * arguments.minutes
    with witness.watching(kubeconfig) as seen:
        async with on_the_cluster(kubeconfig, seen) as harness:
            wanted = [s for s in LONG if not arguments.names or s.name in arguments.names]
            for seed in itertools.count(arguments.seed):
                for scenario in wanted:
                    if seed > arguments.seed and time.monotonic() > end:
                        return
                    if scenario.destructive and (foreign := await harness.foreign()):
                        print(f"left  {scenario.name}: there are sessions in {', '.join(foreign)}")
                        continue
                    report.add(await harness.run(scenario, seed=seed))
                if seed == arguments.seed:
                    if not arguments.names:
                        await every_kill(harness, report)
                    for name in mutants.MUTANTS:
                        if not arguments.names or name in arguments.names:
                            report.add_mutant(*await mutants.run(harness, name))
                if time.monotonic() > end:
                    return


async def every_kill(harness: Harness, report: Report) -> None:
    """Kill at n = 1, 2, … until a run has no n-th write."""
    for kind in EVERY_KILL:
        for ordinal in range(1, MOST_WRITES):
            result: Result = await harness.run(kind(ordinal))
            report.add(result)
            if not result.injected:
                break


main()
