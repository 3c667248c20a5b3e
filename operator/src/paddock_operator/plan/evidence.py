"""What a pod's status proves: that it is stuck, and how to help, or that it has ended, and why.

Sources, strongest first: the runtime's termination message, the containers' last states, the
pod's own reason. A pod that is merely young proves nothing.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from paddock_api.conditions import ConditionReason as R
from paddock_api.executions import Execution, TerminationMessage
from paddock_operator.plan.views import PodView, parse_time

RUNTIME = "runtime"
WORKSPACE = "workspace"
LAST_WORDS = timedelta(seconds=2)
"""How long after a deleted pod's grace its runtime's last words are waited for: the kubelet
writes the containers' ends into the status before it lets the pod go."""
FOLLOWED = timedelta(seconds=5)
"""The same for the runtime's end after its workspace's: it exits 2 s later at most, and the kubelet
looks every second."""
RESTARTED_EXIT_CODE = 137
"""The pod's restart rules bring a container back after this code and no other."""

_IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
    }
)
_START_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"}
)


_DISRUPTIONS = {
    "PreemptionByScheduler": (R.PREEMPTED, "made room for a pod of higher priority"),
    "EvictionByEvictionAPI": (R.EVICTED, "was evicted, most likely by a drain of its node"),
    "DeletionByTaintManager": (R.NODE_LOST, "was deleted because of a taint of its node"),
    "DeletionByPodGC": (R.NODE_LOST, "was deleted because its node is gone"),
    "TerminationByKubelet": (R.NODE_LOST, "was ended by its node"),
}
"""Reasons of the condition DisruptionTarget (Kubernetes, Pod Lifecycle, "Disruptions")."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps a sandbox from starting and may pass."""

    reason: R
    message: str


def already_told(reason: object, trouble: Trouble | None) -> bool:
    """Whether a stored condition's reason says this already.

    The kubelet words one trouble in several ways, in turn: the first stays, so that a status
    is not written for each of them.
    """
    if trouble is None:
        return reason in (None, R.PENDING, R.STARTING)
    return reason == trouble.reason


@dataclass(frozen=True, slots=True)
class PodEnd:
    """Proof that a sandbox will not answer again."""

    reason: R
    message: str
    executions: tuple[Execution, ...] = ()
    """Ends that the runtime left in its termination message, without output."""


def pod_trouble(pod: PodView) -> Trouble | None:
    """Why a pod that has not started does not, with what to do about it."""
    if (why := pod.unschedulable) is not None and pod.volume_claim and "Claim" in why:
        return Trouble(
            R.VOLUME_UNAVAILABLE,
            f"persistentvolumeclaim/{pod.volume_claim} of pod {pod.name} has no volume. Check that "
            "the template's workspace.volume.storageClassName is one that provisions (`kubectl get "
            f"storageclass`), or that there is a default one. The scheduler says: {why}",
        )
    if (why := pod.unschedulable) is not None:
        return Trouble(
            R.UNSCHEDULABLE,
            f"no node has room for pod {pod.name}. Free capacity, add a node, or lower resources "
            f"in the template. The scheduler says: {why}",
        )
    for name in (RUNTIME, WORKSPACE):
        container = pod.container(name)
        if container.waiting is None:
            continue
        reason, message = container.waiting
        if reason in _IMAGE_REASONS:
            return Trouble(
                R.IMAGE_UNAVAILABLE,
                f"container {name} of pod {pod.name} cannot get its image ({reason}). Check the "
                f"template's image and that the node may pull it. The kubelet says: {message}",
            )
        if reason in _START_REASONS:
            return Trouble(
                R.CONTAINER_START_FAILED,
                f"container {name} of pod {pod.name} cannot start ({reason}). Check that the "
                "template's image is built from Paddock's runtime image. The kubelet says: "
                f"{message}",
            )
    return None


def last_words_until(pod: PodView) -> datetime | None:
    """Until when a pod that is ending may still say how its executions ended; None: it lives.

    It is being deleted, or its workspace has followed a runtime that ended the sandbox, and the
    kubelet tells the two containers' ends one after the other.
    """
    if pod.deleted_at is not None:
        return pod.deleted_at + LAST_WORDS
    followed = pod.container(WORKSPACE).terminated
    if followed is not None and followed.get("exitCode") == 0:
        finished = parse_time(followed.get("finishedAt"))
        return finished + FOLLOWED if finished is not None else None
    return None


def pod_end(pod: PodView, now: datetime) -> PodEnd | None:
    """How the pod ended, or None while it may still answer."""
    told = _termination_message(pod)
    if told is not None:
        if told.reason is R.TERMINATED and (asked := _who_asked(pod)) is not None:
            return replace(asked, executions=told.executions)
        return told
    if pod.phase == "Failed" or pod.phase == "Succeeded":
        return _ended_phase(pod)
    until = last_words_until(pod)
    if until is not None and pod.container(RUNTIME).running and now < until:
        return None
    if pod.deleting:
        return _who_asked(pod)
    for name, reason in ((RUNTIME, R.RUNTIME_FAILED), (WORKSPACE, R.WORKSPACE_LOST)):
        ended = pod.container(name).terminated
        if ended is not None and ended.get("exitCode") != RESTARTED_EXIT_CODE:
            return PodEnd(reason, _container_sentence(pod, name))
        if ended is not None and not _restartable(pod, name):
            return PodEnd(_memory_or(ended.get("reason"), reason), _container_sentence(pod, name))
    return None


def end_of_gone(pod: PodView) -> PodEnd | None:
    """What the last version of a pod that is gone proves: nothing more will come."""
    return pod_end(pod, datetime.max.replace(tzinfo=UTC))


def _who_asked(pod: PodView) -> PodEnd | None:
    """Who made the node stop a pod whose runtime only knows that it was asked to."""
    if (told := _pod_reason(pod)) is not None or not pod.deleting:
        return told
    return PodEnd(R.POD_DELETED, f"pod {pod.name} was deleted by somebody else.")


def _restartable(pod: PodView, name: str) -> bool:
    for container in pod.spec.get("containers") or ():
        if container.get("name") == name:
            return bool(container.get("restartPolicyRules"))
    return False


def _memory_or(reason: object, otherwise: R) -> R:
    return R.OOM_KILLED if reason == "OOMKilled" else otherwise


def _pod_reason(pod: PodView) -> PodEnd | None:
    reason = str(pod.status.get("reason") or "")
    message = str(pod.status.get("message") or "")
    if reason == "Evicted":
        return PodEnd(R.EVICTED, f"pod {pod.name} was evicted: {message.rstrip('.')}.")
    if reason == "DeadlineExceeded":
        return PodEnd(R.DEADLINE_EXCEEDED, f"pod {pod.name} reached its activeDeadlineSeconds.")
    if reason in ("Preempting", "Preempted"):  # by the kubelet: it says TerminationByKubelet too
        return PodEnd(R.PREEMPTED, f"pod {pod.name} was preempted: {message.rstrip('.')}.")
    if pod.disruption is not None and pod.disruption[0] in _DISRUPTIONS:
        known, sentence = _DISRUPTIONS[pod.disruption[0]]
        return PodEnd(known, f"pod {pod.name} {sentence}: {pod.disruption[1].rstrip('.')}.")
    if reason in ("NodeLost", "NodeShutdown", "Terminated", "Shutdown"):
        return PodEnd(
            R.NODE_LOST, f"pod {pod.name} ended with its node: {reason}: {message.rstrip('.')}."
        )
    return None


def _ended_phase(pod: PodView) -> PodEnd:
    if (told := _pod_reason(pod)) is not None:
        return told
    for name in (RUNTIME, WORKSPACE):
        ended = pod.container(name).terminated
        if ended is not None and ended.get("exitCode"):
            default = R.RUNTIME_FAILED if name == RUNTIME else R.WORKSPACE_LOST
            return PodEnd(_memory_or(ended.get("reason"), default), _container_sentence(pod, name))
    reason, message = pod.status.get("reason"), pod.status.get("message")
    return PodEnd(
        R.SANDBOX_LOST, f"pod {pod.name} is {pod.phase}: {reason or 'no reason'} {message or ''}"
    )


def _container_sentence(pod: PodView, name: str) -> str:
    ended = pod.container(name).terminated or {}
    return (
        f"pod {pod.name}: container {name} ended with exit code {ended.get('exitCode')} "
        f"({ended.get('reason') or 'no reason'})."
    )


def _termination_message(pod: PodView) -> PodEnd | None:
    """The runtime's own words. Only read when it ended itself with 0; parsed as hostile input."""
    ended = pod.container(RUNTIME).terminated
    if ended is None or ended.get("exitCode") != 0:
        return None
    try:
        message = TerminationMessage.model_validate_json(str(ended.get("message") or ""))
    except ValidationError:
        return PodEnd(R.RUNTIME_FAILED, _container_sentence(pod, RUNTIME))
    sentences = {
        R.DEADLINE_EXCEEDED: "it reached its maxDuration.",
        R.IDLE: "it was not used for its idleTimeout. Raise lifetime.idleTimeout if it was short.",
        R.TERMINATED: f"pod {pod.name} was asked to stop by the node.",
    }
    reason = next((known for known in sentences if known == message.reason), R.RUNTIME_FAILED)
    sentence = sentences.get(reason) or _container_sentence(pod, RUNTIME)
    return PodEnd(reason, sentence, tuple(message.executions))
