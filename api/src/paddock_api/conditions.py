"""Conditions: what an object says about itself to people, kubectl, Helm and GitOps tools.

The shape is metav1.Condition. Types and reasons are closed vocabularies; each reason's text
says what to do, and the reference documentation is made from it.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field, PlainSerializer, WithJsonSchema

from paddock_api.base import Resource
from paddock_api.rules import MaxBytes

MESSAGE_BYTES = 512
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""lastTransitionTime of the conditions that the schema's default gives a new object."""


class ConditionStatus(StrEnum):
    """metav1.ConditionStatus."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """Every condition type that Paddock writes."""

    READY = "Ready"
    """The summary that kstatus, Helm and Argo CD read. True: open and answering, or completed.
    False: failed, with Stalled=True. Unknown: not there yet, with Reconciling=True."""
    RECONCILING = "Reconciling"
    """True while the operator is still bringing the object to what was asked for."""
    STALLED = "Stalled"
    """True when nothing more will happen until somebody acts; the reason says on what."""
    SANDBOX_READY = "SandboxReady"
    """True while the sandbox's runtime answers."""
    SUSPENDED = "Suspended"
    """True while it has no pod because `spec.suspend` says so; False once it was resumed."""
    FINISHED = "Finished"
    """True at every end, good or bad: the one condition to wait for."""
    COMPLETE = "Complete"
    """True when it ended as it was meant to; steps with continueOnFailure may have failed."""
    FAILED = "Failed"
    """True when it ended otherwise."""


class ConditionReason(StrEnum):
    """Every `reason` of a condition, and what to do about it."""

    # On the way.
    PENDING = "Pending"
    """The operator has not looked at the object yet. If it stays, see that it runs:
    `kubectl get deploy -A -l app.kubernetes.io/name=paddock`."""
    STARTING = "Starting"
    """The sandbox is being made. Nothing to do; the message names what it waits for."""
    RUNNING = "Running"
    """Steps are being executed. Nothing to do."""
    ANSWERING = "Answering"
    """The sandbox is up and answers. Nothing to do."""
    TERMINATING = "Terminating"
    """The object is being deleted. Nothing to do."""

    SUSPENDED = "Suspended"
    """`spec.suspend` is true and the pod is gone. Set it to false to go on."""
    SUSPENDING = "Suspending"
    """`spec.suspend` is true; the running step is being cancelled, then the pod goes."""
    RESUMED = "Resumed"
    """It was suspended and is not any more. Nothing to do."""

    # Why a pod is not up. These may pass by themselves, so they come with Reconciling=True.
    UNSCHEDULABLE = "Unschedulable"
    """No node has room. Add nodes, or lower `resources` in the template."""
    QUOTA_EXCEEDED = "QuotaExceeded"
    """The namespace's ResourceQuota has no room for the pod. End other sessions or raise it."""
    POD_REFUSED = "PodRefused"
    """The API server refused the pod (admission policy, LimitRange). The message quotes it;
    exempt Paddock's pods or change the policy."""
    VOLUME_UNAVAILABLE = "VolumeUnavailable"
    """The workspace's volume cannot be had. Check the StorageClass in the template's
    `workspace.volume`, and the namespace's storage quota."""
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    """The node cannot pull the image. Check its name, tag and pull credentials in the
    template or in the operator's values."""
    CONTAINER_START_FAILED = "ContainerStartFailed"
    """The node cannot start a container of the pod. A template's image must be built from
    Paddock's runtime image; the message quotes the kubelet."""
    FORBIDDEN = "Forbidden"
    """The operator may not do what it must. Check its ClusterRole (`helm get manifest`)."""
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    """The namespace is being deleted. Create the session in another one."""
    SANDBOX_UNREACHABLE = "SandboxUnreachable"
    """The pod runs but does not answer. Look at its container `runtime`:
    `kubectl logs <pod> -c runtime`; check NetworkPolicies between operator and pod."""
    CRASH_LOOPING = "CrashLooping"
    """A container of the pod keeps ending. Look at `kubectl logs <pod> -c <container> -p`;
    a template image must be built from Paddock's runtime image."""
    TEMPLATE_NOT_FOUND = "TemplateNotFound"
    """The template does not exist. Create it, or create the object again with another
    templateRef (a ClusterSandboxTemplate needs `kind`)."""
    RETRYING = "Retrying"
    """The API server or the operator failed in a way that should pass; it tries again with
    growing delays. If it stays, the operator's log has the error."""

    # What cannot become true as it was asked for: Stalled.
    TEMPLATE_INVALID = "TemplateInvalid"
    """This operator does not understand the template. The message names the field; correct
    it, or upgrade the operator to the version of the CRDs."""
    SPEC_INVALID = "SpecInvalid"
    """This operator does not understand the spec, usually because the CRDs are newer than
    it. Upgrade the operator."""
    LANGUAGE_NOT_OFFERED = "LanguageNotOffered"
    """A step asks for a language that the template does not list. Use another template, or
    `argv`."""
    TIMEOUT_ABOVE_CEILING = "TimeoutAboveCeiling"
    """A step's timeout is above the template's `limits.timeout`. Lower it, or use a template
    that allows it: it is never clamped silently."""
    DURATION_ABOVE_CEILING = "DurationAboveCeiling"
    """`lifetime.maxDuration` is above the template's `lifetime.maxDurationLimit`. Lower it, or
    use a template that allows it."""
    NAME_TAKEN = "NameTaken"
    """An object that is not ours has the name that the child needs. Delete or rename it; the
    message names it."""

    # Ends.
    COMPLETED = "Completed"
    """All steps ran, and those without continueOnFailure succeeded. Nothing to do."""
    STEP_FAILED = "StepFailed"
    """A step without continueOnFailure failed. `status.result` says which and how."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """`maxDuration` passed before all steps were done, or before the sandbox was ready. Raise
    it, or look at what took the time in `status.steps`."""
    EXPIRED = "Expired"
    """An open session reached its `maxDuration`: the good end of its kind. Create a new one,
    with a longer `lifetime.maxDuration` if it was too short."""
    SANDBOX_LOST = "SandboxLost"
    """The pod is gone (evicted, deleted, node lost) and a step may have been running. It is
    never run a second time by Paddock; create the session again if that is safe."""
    POD_DELETED = "PodDeleted"
    """Somebody deleted the sandbox's pod. Delete sessions, never their pods."""
    EVICTED = "Evicted"
    """The pod was evicted: by the kubelet (the message says which resource ran out: lower what
    the session writes, or raise `resources.disk`) or by a drain of its node (create the
    session again)."""
    PREEMPTED = "Preempted"
    """The pod made room for one of higher priority. Add nodes, then create the session again."""
    NODE_LOST = "NodeLost"
    """The pod ended with its node (shutdown, crash, taint). Create the session again."""
    OOM_KILLED = "OOMKilled"
    """A whole container ran out of memory. Raise `resources.memory` in the template."""
    RUNTIME_FAILED = "RuntimeFailed"
    """The trusted container of the pod ended unasked. Please report its log."""
    IDLE = "Idle"
    """It was not used for its idleTimeout: the good end of an open session. Create a new one,
    with a longer `lifetime.idleTimeout` if it was too short."""
    TERMINATED = "Terminated"
    """The node asked the pod to stop. Create the session again."""
    CONFIGURE_REFUSED = "ConfigureRefused"
    """The runtime refused the session's files or env; the message quotes it."""
    RELEASED = "Released"
    """The session has ended and its sandbox was let go. Nothing to do."""
    WORKSPACE_LOST = "WorkspaceLost"
    """The workspace container died and took the files of the session with it. Create the
    session again; if memory ended it, raise `resources.memory`."""


ConditionTime = Annotated[
    AwareDatetime,
    PlainSerializer(
        lambda moment: f"{moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z",
        when_used="json",
        return_type=str,
    ),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""metav1.Time: whole seconds."""


class Condition(Resource):
    """One metav1.Condition."""

    type: Annotated[
        str,
        Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$", examples=["Finished"]),
    ]
    """What it is about; one entry per type."""
    status: Annotated[ConditionStatus, Field(examples=["True"])]
    """Whether it holds: True, False or Unknown."""
    observed_generation: Annotated[int | None, Field(ge=-1, le=2**53, examples=[1])] = None
    """The `metadata.generation` that it was written for."""
    last_transition_time: Annotated[ConditionTime, Field(examples=["2026-08-01T09:30:00Z"])]
    """When `status` last changed."""
    reason: Annotated[
        str,
        Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$", examples=["Completed"]),
    ]
    """Why, one word of a closed vocabulary."""
    message: Annotated[str, MaxBytes(MESSAGE_BYTES), Field(examples=["1 of 1 steps done"])] = ""
    """The same as a sentence that names the object, the number and what to do; at most 512
    bytes of UTF-8."""
