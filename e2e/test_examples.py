"""Every example, applied as it is: what its comment promises is what its status says."""

from dataclasses import dataclass
from datetime import datetime

import pytest
from e2e.examples import ExamplesRun
from e2e.kube import EXAMPLES, Json, condition, step

MIB = 1 << 20
POD_GONE_S = 15.0
"""From finishedAt to the pod's last moment; its containers have 5 s of grace."""
GREETING = "🐴 pferd, κόσμε, Zoë 1\nGrüße\nздравствуй\n"
FLOOD_TAIL = ("x" * 99 + "\n") * 20 + "the last line" + "x" * 86 + "\n"


@dataclass(frozen=True)
class Ran:
    """A step that ran: what its status must say, to the byte."""

    name: str
    reason: str = "Exited"
    exit_code: int | None = None
    signal: str | None = None
    stdout: str = ""
    stderr: str = ""
    stdout_bytes: int | None = None
    """None: those of `stdout`."""
    truncated: bool = False
    says: str = ""
    """Part of its message."""
    ms: tuple[int, int] = (0, 20_000)
    peak_mib: tuple[int, int] = (1, 128)


@dataclass(frozen=True)
class Case:
    """A session: how it must end."""

    steps: tuple[Ran, ...]
    phase: str = "Succeeded"
    says: str = ""
    """Part of Finished's message."""
    skipped: tuple[str, ...] = ()
    shown: int = 0
    """Index of the step that the table shows."""


def ok(name: str, stdout: str = "", **more: object) -> Ran:
    return Ran(name, exit_code=0, stdout=stdout, **more)  # type: ignore[arg-type]


CASES = {
    "hello": Case((ok("greet", "hello\n"),), says="1 of 1 steps succeeded."),
    "exit-3": Case(
        (Ran("fail", exit_code=3, stdout="to stdout\n", stderr="to stderr\n"),),
        "Failed",
        "step fail: Exited with exit code 3.",
        skipped=("never",),
    ),
    "wall-timeout": Case(
        (
            Ran(
                "sleep",
                "WallTimeout",
                stdout="printed and flushed\nprinted and still in the buffer\n",
                says="timeout of 2000 ms",
                ms=(2000, 5000),
            ),
        ),
        "Failed",
        "step sleep: WallTimeout",
    ),
    "output-flood": Case(
        (ok("flood", FLOOD_TAIL[-2048:], stdout_bytes=10_000_000, truncated=True),)
    ),
    "memory-bomb": Case(
        (
            Ran("bomb", "MemoryLimit", stdout="before\n", peak_mib=(300, 512)),
            ok("after", "still here\n"),
        ),
        says="2 of 2 steps ran, 1 failed and may.",
    ),
    "next-session": Case((ok("take-a-little", "67108864\n", peak_mib=(64, 128)),)),
    "stdin-and-files": Case(
        (
            ok("sum", "files 7\nstdin 18\nenv good morning\n"),
            ok("read", "left by the first step\nand read by the second\n"),
        ),
        says="2 of 2 steps succeeded.",
        shown=1,
    ),
    "unicode": Case((ok("speak", GREETING, stderr="ошибка\n"),)),
    "three-steps": Case(
        (
            ok("prepare"),
            Ran("lint", exit_code=2, stderr="a finding\n"),
            ok("report", "['one', 'two']\n"),
        ),
        says="3 of 3 steps ran, 1 failed and may.",
        shown=1,
    ),
    "exec-127": Case(
        (Ran("run", "StartFailed", exit_code=127, says="no-such-program: command not found"),),
        "Failed",
        "step run: StartFailed with exit code 127",
    ),
    "shell-127": Case(
        (
            Ran(
                "run",
                exit_code=127,
                stderr="bash: line 1: no-such-program: command not found\n",
            ),
        ),
        "Failed",
        "step run: Exited with exit code 127",
    ),
    "fork-bomb": Case(
        (Ran("bomb", "ProcessLimit", stdout="before\n", says="128"),),
        "Failed",
        "step bomb: ProcessLimit",
    ),
    "held-stdout": Case(
        (ok("leave-a-child", "done\n", ms=(0, 5000)), ok("look-for-it", "nothing of it is left\n")),
        shown=1,
    ),
    "segfault": Case(
        (Ran("crash", "Signaled", signal="SIGSEGV", stdout="before\n"),),
        "Failed",
        "step crash: Signaled by SIGSEGV",
    ),
    "own-template": Case((ok("look", "team stable-one\n"),)),
    "open-session": Case((), "Expired", "the session reached its maxDuration"),
    "idle-session": Case((), "Expired", "the session was not used for 4s (idleTimeout)."),
}


def test_every_example_is_here() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.yaml")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_an_example_ends_as_its_comment_says(examples: ExamplesRun, name: str) -> None:
    case = CASES[name]
    session = examples.finished(name)
    status = session["status"]
    assert status["phase"] == case.phase
    _check_conditions(session, case)
    _check_times(status)
    assert [entry["name"] for entry in status.get("steps", [])] == [
        *(ran.name for ran in case.steps),
        *case.skipped,
    ]
    for ran in case.steps:
        _check_step(step(session, ran.name), ran, session["metadata"]["uid"])
    for skipped in case.skipped:
        assert step(session, skipped) == {"name": skipped, "state": "Skipped"}
    if case.steps:
        _check_result(status, case)
    failed = sum(ran.reason != "Exited" or ran.exit_code != 0 for ran in case.steps)
    assert status["executions"] == {"total": len(case.steps), "failed": failed}


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_left_of_a_session_seconds_after_its_end(
    examples: ExamplesRun, name: str
) -> None:
    session = examples.finished(name)
    ended = datetime.fromisoformat(session["status"]["finishedAt"]).timestamp()
    (record,) = examples.pods_of(session)
    examples.until_deleted(record)
    assert record.deleted is not None
    assert record.deleted - ended < POD_GONE_S


def test_no_pod_or_sandbox_is_left_in_the_end(examples: ExamplesRun) -> None:
    for name in CASES:
        examples.finished(name)
    examples.kube.until_empty(examples.namespace)
    assert len(examples.watch.records) == len(CASES), "one pod for each session, no more"


def _check_conditions(session: Json, case: Case) -> None:
    failed = case.phase == "Failed"
    kinds = {entry["type"]: entry["status"] for entry in session["status"]["conditions"]}
    if failed:
        wanted = {"Ready": "False", "Stalled": "True", "Failed": "True"}
    else:
        wanted = {"Ready": "True", "Complete": "True"}
    assert kinds == wanted | {"SandboxReady": "False", "Finished": "True"}
    finished = condition(session, "Finished")
    reason = {"Failed": "StepFailed", "Succeeded": "Completed", "Expired": "Expired"}[case.phase]
    if "idleTimeout" in case.says:
        reason = "Idle"
    assert finished["reason"] == reason
    assert case.says in finished["message"]
    for kind in ("Ready", "Failed" if failed else "Complete"):
        told = condition(session, kind)
        assert (told["reason"], told["message"]) == (reason, finished["message"])
    assert condition(session, "SandboxReady")["reason"] == "Released"
    for entry in session["status"]["conditions"]:
        assert entry["observedGeneration"] == session["metadata"]["generation"] == 1


def _check_times(status: Json) -> None:
    names = ("startedAt", "readyAt", "finishedAt")
    moments = [status[name] for name in names]
    assert moments == sorted(moments), dict(zip(names, moments, strict=True))


def _check_step(told: Json, ran: Ran, session_uid: str) -> None:
    assert told["executionId"] == f"{session_uid}.{ran.name}"
    assert (told["state"], told["reason"]) == ("Finished", ran.reason)
    assert told.get("exitCode") == ran.exit_code
    assert told.get("signal") == ran.signal
    assert told.get("stdoutTail", "") == ran.stdout
    assert told.get("stderrTail", "") == ran.stderr
    size = len(ran.stdout.encode()) if ran.stdout_bytes is None else ran.stdout_bytes
    assert told["stdoutBytes"] == size
    assert told["stderrBytes"] == len(ran.stderr.encode())
    assert told["truncated"] is ran.truncated
    assert ran.says in told.get("message", "")
    assert ran.ms[0] <= told["durationMs"] <= ran.ms[1]
    if ran.reason == "StartFailed":
        assert "cpuMs" not in told
        return
    assert told["cpuMs"] > 0
    low, high = ran.peak_mib
    assert low * MIB < told["peakMemoryBytes"] <= high * MIB
    assert told["startedAt"] <= told["finishedAt"]


def _check_result(status: Json, case: Case) -> None:
    shown = case.steps[case.shown]
    told = next(entry for entry in status["steps"] if entry["name"] == shown.name)
    wanted = {
        "step": shown.name,
        "reason": shown.reason,
        "exitCode": shown.exit_code,
        "signal": shown.signal,
        "durationMs": told["durationMs"],
        "stepsDone": f"{len(case.steps)}/{len(case.steps) + len(case.skipped)}",
    }
    result = dict(status["result"])
    assert result.pop("duration").endswith("ms") or told["durationMs"] % 1000 == 0
    assert result == {name: value for name, value in wanted.items() if value is not None}
