"""What must hold at every moment, as judges over a history. None of them knows the operator.

A judge is shown each change with the version before it, and once in a while the time. It
answers with sentences, one per violation, and counts how often it has looked.
"""

from collections.abc import Iterator
from itertools import combinations

from tests.faults.history import (
    Change,
    History,
    Json,
    controller,
    is_true,
    run_of,
    steps,
    time_of,
    versions,
)

ORPHAN_S = 60.0
"""No pod without a live owner for longer than this (issue 4, item 5)."""
TTL_GRACE_S = 30.0
"""A pod is gone at most so long after its session's maxDuration (the same)."""
WITNESS_S = 2.0
"""How long what a program wrote may take to be seen; the witness looks every 20 ms."""
_ENDED = frozenset({"Finished", "Skipped"})
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Judge:
    """The base: it looks and finds nothing."""

    name = ""

    def __init__(self) -> None:
        self.checks = 0

    def change(self, history: History, change: Change, before: Json | None) -> Iterator[str]:
        """Called after the history took the change in."""
        yield from ()

    def tick(self, history: History, now: float) -> Iterator[str]:
        """Called every second or so, and at the end."""
        yield from ()


class OnePod(Judge):
    """At most one pod per sandbox uid is there at once."""

    name = "one pod per sandbox"

    def change(self, history: History, change: Change, before: Json | None) -> Iterator[str]:
        owner = controller(change.obj)
        if change.kind != "Pod" or change.type == "DELETED" or before or owner is None:
            return
        self.checks += 1
        for other in history.living("Pod"):
            if controller(other.obj) == owner and other.change.uid != change.uid:
                yield (
                    f"{change.where} was created for sandbox {owner} while {other.change.where} is "
                    f"there; {versions(other.obj['status'], change.obj['status'])}"
                )


class OnceStarted(Judge):
    """No step starts twice, by the lines that the steps themselves left on the node."""

    name = "no execution started twice"

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def tick(self, history: History, now: float) -> Iterator[str]:
        for line in set(history.lines):
            self.checks += 1
            count = history.lines.count(line)
            if count > 1 and line not in self._told:
                self._told.add(line)
                yield f"step {line!r} was seen to start {count} times on the node"


class Truthful(Judge):
    """A step that is told as Exited was seen to run, and one that is told as Skipped was not."""

    name = "ends are what happened"

    def __init__(self) -> None:
        super().__init__()
        self._judged: set[str] = set()

    def tick(self, history: History, now: float) -> Iterator[str]:
        for session in list(history.objects.values()):
            known = session.change
            if known.kind != "AgentSession" or known.uid in self._judged:
                continue
            if not is_true(known.obj, "Finished") or now - known.at < WITNESS_S:
                continue
            self._judged.add(known.uid)
            for name, step in steps(known.obj).items():
                self.checks += 1
                seen = f"{run_of(known.obj)} {name}" in history.lines
                if step.get("state") == "Skipped" and seen:
                    yield f"{known.where}: step {name} is told as Skipped and did run: {step}"
                if step.get("reason") == "Exited" and not seen:
                    yield f"{known.where}: step {name} is told as Exited and never ran: {step}"


class ResultsKept(Judge):
    """What a session's status has told stays so: ended steps, running steps, the end."""

    name = "no acknowledged result lost"

    def change(self, history: History, change: Change, before: Json | None) -> Iterator[str]:
        if change.kind != "AgentSession" or change.type == "DELETED" or before is None:
            return
        self.checks += 1
        old, new = before.get("status") or {}, change.obj.get("status") or {}
        # Edits of what has ended are seen, and change nothing else.
        unseen = {"observedGeneration": new.get("observedGeneration")}
        if is_true(before, "Finished") and old | unseen != new:
            yield f"{change.where} had finished and has changed; {versions(old, new)}"
            return
        now = steps(change.obj)
        for name, step in steps(before).items():
            after = now.get(name, {})
            both = versions(step, after)
            if step.get("state") in _ENDED and step != after:
                yield f"{change.where}: step {name} had ended and has changed; {both}"
            if step.get("state") == "Running":
                if after.get("state") not in ("Running", "Finished"):
                    yield f"{change.where}: step {name} was running and went back; {both}"
                if after.get("executionId") != step.get("executionId"):
                    yield f"{change.where}: step {name} has another execution; {both}"
        uid = (old.get("sandbox") or {}).get("uid")
        if uid and (new.get("sandbox") or {}).get("uid") != uid:
            yield f"{change.where} was given a second sandbox; {versions(old, new)}"


class NoOrphans(Judge):
    """No pod without a live owner for more than a minute."""

    name = "no pod without a live owner"

    def __init__(self) -> None:
        super().__init__()
        self._since: dict[str, float] = {}

    def tick(self, history: History, now: float) -> Iterator[str]:
        alive = {
            known.change.uid
            for kind in ("Sandbox", "AgentSession")
            for known in history.living(kind)
        }
        for pod in history.living("Pod"):
            self.checks += 1
            uid = pod.change.uid
            sandbox = controller(pod.obj)
            owner = history.objects.get(sandbox or "")
            session = controller(owner.obj) if owner is not None else None
            if sandbox in alive and (session is None or session in alive):
                self._since.pop(uid, None)
                continue
            since = self._since.setdefault(uid, now)
            if now - since > ORPHAN_S:
                self._since[uid] = float("inf")
                yield (
                    f"{pod.change.where} has had no live owner for {now - since:.0f} s: "
                    f"sandbox {sandbox}, session {session}"
                )


class Lifetimes(Judge):
    """A session's pod is gone at most 30 s after the maxDuration that its spec says."""

    name = "lifetimes are kept"

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def tick(self, history: History, now: float) -> Iterator[str]:
        for pod in history.living("Pod"):
            owner = history.objects.get(controller(pod.obj) or "")
            session = history.objects.get(controller(owner.obj) or "") if owner else None
            life = session and (session.obj["spec"].get("lifetime") or {}).get("maxDuration")
            if session is None or not life:
                continue
            self.checks += 1
            end = time_of(session.obj["metadata"]["creationTimestamp"]) + seconds(life)
            if now > end + TTL_GRACE_S and pod.change.uid not in self._told:
                self._told.add(pod.change.uid)
                told = f"session: {session.obj['status']}; pod: {pod.obj['status']}"
                yield (
                    f"{pod.change.where} is there {now - end:.0f} s after the maxDuration {life} "
                    f"of {session.change.where}; {told}"
                )


class ApartUids(Judge):
    """Two pods that are there at once never run user code as the same uid."""

    name = "a uid of its own per sandbox"

    def change(self, history: History, change: Change, before: Json | None) -> Iterator[str]:
        if change.kind != "Pod" or before is not None or controller(change.obj) is None:
            return
        self.checks += 1
        for one, other in combinations(history.living("Pod"), 2):
            shared = _uid(one.obj)
            if change.uid in (one.change.uid, other.change.uid) and shared == _uid(other.obj):
                yield f"{one.change.where} and {other.change.where} both run user code as {shared}"


def _uid(pod: Json) -> object:
    for container in pod["spec"]["containers"]:
        if container["name"] == "workspace":
            return (container.get("securityContext") or {}).get("runAsUser")
    return pod["metadata"]["uid"]


def seconds(duration: str) -> float:
    """`1h30m`, `1500ms`: the grammar of the CRDs, read independently."""
    total, number, unit = 0.0, "", ""
    for char in f"{duration}0":
        if char.isdigit():
            if unit:
                total += float(number) * _UNITS_S[unit]
                number, unit = "", ""
            number += char
        else:
            unit += char
    return total
