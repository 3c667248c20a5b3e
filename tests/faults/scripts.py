"""What happens to the operator and its connections beside the rules, and is counted."""

import asyncio
import signal

from tests.faults.faults import Hangup, Late, Rule, Stale
from tests.faults.history import conditions, is_true
from tests.faults.scenario import Field, Script

ALL_VERBS = frozenset({"get", "list", "watch", "create", "update", "patch", "delete"})
EVENTS = frozenset({"ADDED", "MODIFIED", "DELETED"})
DOWN = (Rule(Hangup(), verbs=ALL_VERBS),)


def for_a_while(seconds: float) -> Script:
    """The scenario's rules end after so long."""

    async def script(there: Field) -> None:
        await asyncio.sleep(seconds)
        there.proxy.arm()

    return script


def cutting(every_s: float) -> Script:
    """All watches are cut again and again for four seconds."""

    async def script(there: Field) -> None:
        for _ in range(int(4 / every_s)):
            await asyncio.sleep(every_s)
            there.proxy.cut_watches()

    return script


def kill_loop(seconds: float, low: float = 1.5, high: float = 5.0) -> Script:
    """The operator is killed at random moments."""

    async def script(there: Field) -> None:
        async with asyncio.timeout(seconds + 2 * high):
            end = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < end:
                await asyncio.sleep(there.dice.uniform(low, high))
                await there.operator.kill()
                there.injected["kill at random"] += 1

    return script


async def server_restarts(there: Field) -> None:
    """For four seconds in the middle nobody answers; the watches are gone."""
    await there.until_runs("hello")
    there.proxy.arm(*DOWN)
    there.proxy.cut_watches()
    await asyncio.sleep(4)
    there.proxy.arm()


async def two_at_once(there: Field) -> None:
    """A second operator works beside the first."""
    there.another().start()
    there.injected["second operator"] += 1
    await asyncio.sleep(6)


async def paused_and_resumed(there: Field) -> None:
    """The operator is stopped in the middle, another takes over, the first wakes up."""
    await there.until_runs("hello")
    there.operator.send(signal.SIGSTOP)
    there.injected["operator paused"] += 1
    other = there.another()
    other.start(PADDOCK_LEASE_DURATION_S="3")
    await asyncio.sleep(6)
    there.operator.send(signal.SIGCONT)
    await asyncio.sleep(3)
    await there.operator.hold_down()
    await asyncio.sleep(0.5)


def stale_after_restart(*rules: Rule, seconds: float = 4.0) -> Script:
    """A new life reads what was true two steps ago, and hears nothing newer for a while.

    This is an API server behind the others.
    """

    async def script(there: Field) -> None:
        assert await there.until_runs("patient", step="one")
        await there.proxy.snapshot()
        # By then the results of two steps are told, and could be taken back.
        assert await there.until_runs("patient", step="three")
        await there.operator.hold_down()
        there.proxy.arm(*rules, Rule(Late(seconds), events=EVENTS))
        there.operator.let_up()
        await asyncio.sleep(seconds)
        there.proxy.arm()
        there.proxy.cut_watches()

    return script


STALE_LISTS = Rule(Stale(), verbs=frozenset({"list"}))
STALE_READS = Rule(Stale(), verbs=frozenset({"list", "get"}),
                   resources=frozenset({"agentsessions", "sandboxes", "pods"}))  # fmt: skip


async def put_the_clock_right(there: Field) -> None:
    """The operator's clock is wrong by minutes, until it is restarted with the right one."""
    await asyncio.sleep(10)
    session = await there.admin.get("agentsessions", there.namespace, "hello")
    told = conditions(session or {})
    if not there.witness.saw(f"{there.namespace}/hello") and is_true(session or {}, "Ready"):
        there.wrong(
            "ready means answering",
            f"session hello says Ready={told['Ready']} for more than five seconds, and the runtime "
            "takes no request of this operator",
        )
    await there.operator.stop()
    there.operator.start()
