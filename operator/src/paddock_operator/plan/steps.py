"""The steps of a session: which runs next, what an answer makes of one, who failed first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paddock_api.base import format_time
from paddock_api.durations import format_duration
from paddock_api.executions import Execution
from paddock_api.names import execution_id
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_api.session import AgentSessionSpec, Step
from paddock_operator.plan.conditions import clip

TAIL_BYTES = 2048
"""Of each stream's end in a step's status."""
STATUS_STEPS_BYTES = 32 << 10
"""Bound of all steps' encoded JSON, under the 48 KiB of a whole status: four conditions may quote
512 bytes each that JSON writes as six times as many."""
_COUNT_MAX = 2**53
_EXIT_CODE_MAX = 2**31 - 1
_SIGNAL_CHARS = 32
_ESCAPED = frozenset('"\\<>&\u2028\u2029')
_GIVEN_UP = (("stdoutTail", "stderrTail"), ("message",))
"""In this order, where there is no room."""

StepStatus = Mapping[str, Any]


def initial(spec: AgentSessionSpec, stored: Sequence[StepStatus]) -> list[StepStatus]:
    """One status per step of the spec, in its order: the stored one, else Pending."""
    known = {status.get("name"): status for status in stored}
    return [
        known.get(step.name) or {"name": step.name, "state": ExecutionState.PENDING.value}
        for step in spec.steps
    ]


def running(step: StepStatus, session_uid: str) -> StepStatus:
    """The step marked as dispatched; written before the runtime hears of it."""
    return {
        "name": step["name"],
        "state": ExecutionState.RUNNING.value,
        "executionId": execution_id(session_uid, str(step["name"])),
    }


def finished(step: StepStatus, execution: Execution) -> StepStatus:
    """The step with the runtime's answer. A number that the schema does not take is left out:
    an answer from a broken runtime must not keep the session from being told as ended."""
    done: dict[str, Any] = {
        "name": step["name"],
        "executionId": execution.id,
        "state": ExecutionState.FINISHED.value,
        "reason": (execution.reason or ExecutionReason.SANDBOX_LOST).value,
        "truncated": execution.truncated,
    }
    optional = {
        "stdoutBytes": _count(execution.stdout.bytes),
        "stderrBytes": _count(execution.stderr.bytes),
        "exitCode": _within(execution.exit_code, -_EXIT_CODE_MAX - 1, _EXIT_CODE_MAX),
        "signal": clip(execution.signal, _SIGNAL_CHARS) if execution.signal else None,
        "message": clip(execution.message) if execution.message else None,
        "durationMs": _count(execution.duration_ms),
        "cpuMs": _count(execution.cpu_ms),
        "peakMemoryBytes": _count(execution.peak_memory_bytes),
        "startedAt": format_time(execution.started_at) if execution.started_at else None,
        "finishedAt": format_time(execution.finished_at) if execution.finished_at else None,
        "stdoutTail": tail(execution.stdout.head + execution.stdout.tail) or None,
        "stderrTail": tail(execution.stderr.head + execution.stderr.tail) or None,
    }
    return done | {name: value for name, value in optional.items() if value is not None}


def lost(step: StepStatus, reason: ExecutionReason, message: str) -> StepStatus:
    """A step that was dispatched and whose runtime can no longer say how it ended."""
    return {
        "name": step["name"],
        **({"executionId": step["executionId"]} if "executionId" in step else {}),
        "state": ExecutionState.FINISHED.value,
        "reason": reason.value,
        "message": clip(message),
    }


def skipped(step: StepStatus) -> StepStatus:
    """A step that will not run because the session has ended."""
    return {"name": step["name"], "state": ExecutionState.SKIPPED.value}


def tail(text: str, size: int = TAIL_BYTES) -> str:
    """The last `size` UTF-8 bytes, cut on a character."""
    raw = text.encode()
    return text if len(raw) <= size else raw[-size:].decode(errors="ignore")


def succeeded(step: StepStatus) -> bool:
    """A step succeeds if and only if reason=Exited and exitCode=0."""
    return step.get("reason") == ExecutionReason.EXITED and step.get("exitCode") == 0


def is_finished(step: StepStatus) -> bool:
    """Whether the step ran and ended."""
    return step.get("state") == ExecutionState.FINISHED


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a list of steps stands."""

    current: StepStatus | None = None
    """The one marked Running."""
    next: Step | None = None
    """The one to be dispatched, when none is running and none has stopped the session."""
    failed: tuple[StepStatus, ...] = field(default=())
    stopped_by: StepStatus | None = None
    """The first failure without continueOnFailure."""
    done: int = 0


def progress(spec: AgentSessionSpec, statuses: Sequence[StepStatus]) -> Progress:
    """Read the state of all steps."""
    current = next((s for s in statuses if s.get("state") == ExecutionState.RUNNING), None)
    failed = tuple(s for s in statuses if is_finished(s) and not succeeded(s))
    tolerant = {step.name for step in spec.steps if step.continue_on_failure}
    stopped_by = next((s for s in failed if s["name"] not in tolerant), None)
    pending = {s["name"] for s in statuses if s.get("state") == ExecutionState.PENDING}
    upcoming = next((step for step in spec.steps if step.name in pending), None)
    if current is not None or stopped_by is not None:
        upcoming = None
    done = sum(is_finished(s) for s in statuses)
    return Progress(current, upcoming, failed, stopped_by, done)


def summary(statuses: Sequence[StepStatus], stopped_by: StepStatus | None) -> dict[str, Any]:
    """`status.result`: the first failed step, else the last finished one; feeds the columns."""
    ended = [s for s in statuses if is_finished(s)]
    if not ended:
        return {}
    shown = stopped_by or next((s for s in ended if not succeeded(s)), ended[-1])
    result = {
        "step": shown["name"],
        "reason": shown.get("reason"),
        "exitCode": shown.get("exitCode"),
        "signal": shown.get("signal"),
        "durationMs": shown.get("durationMs"),
        "duration": format_duration(shown["durationMs"]) if "durationMs" in shown else None,
        "stepsDone": f"{len(ended)}/{len(statuses)}",
    }
    return {name: value for name, value in result.items() if value is not None}


def within_bounds(
    statuses: Sequence[StepStatus], size: int = STATUS_STEPS_BYTES
) -> list[StepStatus]:
    """Empty the tails until the encoded statuses fit: successful steps' first, oldest first.
    Where that is not enough (32 messages full of control characters), messages go as well.

    Encoded sizes are estimated from above (six bytes per character that JSON may escape), so
    the bound holds for any text.
    """
    kept = list(statuses)
    order = [i for i, s in enumerate(kept) if succeeded(s)]
    order += [i for i, s in enumerate(kept) if not succeeded(s)]
    total = sum(map(_encoded, kept))
    for fields in _GIVEN_UP:
        for index in order:
            if total <= size:
                return kept
            before = _encoded(kept[index])
            kept[index] = {n: value for n, value in kept[index].items() if n not in fields}
            total -= before - _encoded(kept[index])
    return kept


def _within(number: int | None, low: int, high: int) -> int | None:
    return number if number is not None and low <= number <= high else None


def _count(number: int | None) -> int | None:
    return _within(number, 0, _COUNT_MAX)


def _encoded(status: StepStatus) -> int:
    size = 3  # braces and comma
    for name, value in status.items():
        size += len(name) + 6
        if isinstance(value, str):
            size += sum(6 if c < " " or c in _ESCAPED else len(c.encode()) for c in value)
        else:
            size += 20
    return size
