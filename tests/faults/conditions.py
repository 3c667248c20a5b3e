"""Whether what conditions and phase say fits together, and fits what is there."""

from collections.abc import Iterator

from tests.faults.history import (
    Change,
    History,
    Json,
    conditions,
    is_true,
    time_of,
    versions,
)
from tests.faults.invariants import Judge

LAG_S = 30.0
"""Ready=True may outlive its pod so long (research: "runtime answered within 30 s")."""
_NEVER = 0.0
_ENDS = {"Complete": ("Succeeded", "Expired"), "Failed": ("Failed",)}


class Consistent(Judge):
    """Generation, transition times, phase and conditions of each version."""

    name = "conditions are consistent"

    def change(self, history: History, change: Change, before: Json | None) -> Iterator[str]:
        if change.kind == "Pod" or change.type == "DELETED":
            return
        self.checks += 1
        yield from (f"{change.where}: {said}" for said in self._version(change))
        if before is not None:
            yield from (f"{change.where}: {said}" for said in self._flips(change.obj, before))

    def _version(self, change: Change) -> Iterator[str]:
        obj, status = change.obj, change.obj.get("status") or {}
        generation = obj["metadata"].get("generation", 0)
        now = conditions(obj)
        if len(now) != len(status.get("conditions") or ()):
            yield f"a condition type is there twice: {status['conditions']}"
        for name, entry in [("status", status), *now.items()]:
            observed = entry.get("observedGeneration")
            if observed is not None and observed > generation:
                yield f"{name} was observed at generation {observed} of {generation}"
        if change.kind != "AgentSession":
            return
        phase = status.get("phase")
        ends = [name for name in _ENDS if is_true(obj, name)]
        if is_true(obj, "Finished"):
            if len(ends) != 1:
                yield f"Finished with ends {ends}: {status}"
            elif phase not in _ENDS[ends[0]]:
                yield f"phase {phase} with {ends[0]}=True: {status}"
            if not status.get("finishedAt"):
                yield f"Finished without finishedAt: {status}"
        elif ends:
            yield f"{ends} without Finished: {status}"
        elif is_true(obj, "Suspended"):
            if phase != "Suspended":
                yield f"phase {phase} with Suspended=True: {status}"
        else:
            wanted = (
                ("Running", "Ready") if is_true(obj, "Ready") else (None, "Pending", "Starting")
            )
            if phase not in wanted:
                yield f"phase {phase} with Ready={now.get('Ready', {}).get('status')}: {status}"

    def _flips(self, obj: Json, before: Json) -> Iterator[str]:
        old = conditions(before)
        for name, entry in conditions(obj).items():
            if name not in old:
                continue
            was, now = (time_of(e["lastTransitionTime"]) for e in (old[name], entry))
            flipped = old[name]["status"] != entry["status"]
            if not flipped and was not in (now, _NEVER):
                yield f"lastTransitionTime of {name} moved alone; {versions(old[name], entry)}"
            if flipped and now < was:
                yield f"lastTransitionTime of {name} went back; {versions(old[name], entry)}"


class Answering(Judge):
    """Ready=True with reason Answering: the pod is there, and it did answer.

    `probed` holds the pods whose runtime was asked by the observer itself, and what it said.
    """

    name = "ready means answering"

    def __init__(self) -> None:
        super().__init__()
        self.probed: dict[str, bool] = {}
        self._told: set[str] = set()

    def change(self, history: History, change: Change, before: Json | None) -> Iterator[str]:
        if change.kind == "Pod" or change.type == "DELETED" or not _answers(change.obj):
            return
        if before is not None and _answers(before):
            return
        self.checks += 1
        if change.kind == "Sandbox":
            pod = str((change.obj["status"] or {}).get("podUid"))
            if pod not in history.objects:
                status = change.obj["status"]
                yield f"{change.where} answers, and no pod {pod} was ever there: {status}"
        else:
            uid = str((change.obj["status"].get("sandbox") or {}).get("uid"))
            if uid not in history.objects:
                yield f"{change.where} answers, and no sandbox {uid} was ever there"

    def tick(self, history: History, now: float) -> Iterator[str]:
        for sandbox in history.living("Sandbox"):
            uid = sandbox.change.uid
            if not _answers(sandbox.obj) or sandbox.obj["metadata"].get("deletionTimestamp"):
                continue
            self.checks += 1
            pod_uid = str(sandbox.obj["status"].get("podUid"))
            pod = history.objects.get(pod_uid)
            if uid in self._told:
                continue
            if pod is None or (pod.gone_at is not None and now - pod.gone_at > LAG_S):
                self._told.add(uid)
                yield (
                    f"{sandbox.change.where} says that it answers, and its pod {pod_uid} is gone "
                    f"for more than {LAG_S:.0f} s: {sandbox.obj['status']}"
                )
            if self.probed.get(pod_uid) is False:
                self._told.add(uid)
                yield f"{sandbox.change.where} says that it answers, and its runtime does not"


def _answers(obj: Json) -> bool:
    ready = conditions(obj).get("Ready", {})
    return ready.get("status") == "True" and ready.get("reason") == "Answering"
