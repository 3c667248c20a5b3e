"""Sandbox: one pod and its life. Made by a session or by hand; never says whose it is."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from paddock_api.base import API_VERSION, DNS_LABEL, Object, Resource, TemplateRef, Time
from paddock_api.conditions import Condition
from paddock_api.durations import Duration
from paddock_api.rules import immutable, list_map, rule, validations


class Launch(StrEnum):
    """How a sandbox came to its session."""

    WARM = "Warm"
    """It was waiting in a pool."""
    COLD = "Cold"
    """It was made for the session."""


class Lifetime(Resource):
    """How long the object may live."""

    max_duration: Annotated[Duration | None, Field(examples=["1h"])] = None
    """Counted from creation, 1ms to 168h; may be changed while it lives. Unset: the
    template's `lifetime.maxDuration`. Above the template's `lifetime.maxDurationLimit` it is never
    clamped: a new session ends at once as Failed, a Sandbox waits for an edit (condition Stalled),
    one that runs keeps the end that it had."""
    idle_timeout: Annotated[Duration | None, Field(examples=["15m"])] = None
    """Ends it after so long without use: no execution running, no file read or written; asking
    for its state is not use. 1ms to 168h; may be changed while it lives. Unset: the template's
    `lifetime.idleTimeout`."""
    ttl_after_finished: Annotated[Duration | None, Field(examples=["10m"])] = None
    """So long after its end the object is deleted, 1ms to 168h; may be changed at any time.
    Unset: it is kept until somebody deletes it."""


class SandboxSpec(Resource):
    """Which template, and for how long."""

    model_config = ConfigDict(json_schema_extra=validations(immutable("templateRef")))

    template_ref: TemplateRef
    """The template to make it from. Immutable. Required."""
    lifetime: Lifetime = Lifetime()
    """How long it may live."""
    suspend: Annotated[bool, Field(examples=[False])] = False
    """True: it has no pod until this is false again. Files survive only in the template's
    `workspace.volume`. Its maxDuration goes on."""


class SandboxStatus(Resource):
    """What the operator saw; written by it alone."""

    observed_generation: Annotated[int | None, Field(ge=-1, le=2**53, examples=[1])] = None
    """The `metadata.generation` that this status is about; -1 before the first look."""
    conditions: list[Condition] = Field(
        default_factory=list, max_length=16, json_schema_extra=list_map("type")
    )
    """Ready, Reconciling, Stalled, Suspended, Finished; each type once."""
    pod_name: Annotated[str | None, Field(max_length=253, examples=["hello-x7k2p"])] = None
    """Name of its pod: its own."""
    pod_uid: Annotated[
        str | None, Field(max_length=64, examples=["5e2b4a8e-6d5c-4f0e-9a53-0d8f0c2f8a11"])
    ] = None
    """uid of its pod. It never has two at once, and another one only after a suspension."""
    pod_ip: Annotated[str | None, Field(alias="podIP", max_length=64, examples=["10.0.0.7"])] = None
    """Address at which the runtime answers the operator."""
    workspace_uid: Annotated[int | None, Field(ge=1, le=2**31 - 1, examples=[100003])] = None
    """The user id that user code runs as, this sandbox's alone among those alive."""
    volume_claim_name: Annotated[str | None, Field(max_length=253, examples=["hello-x7k2p"])] = None
    """The PersistentVolumeClaim that holds its files, where its template has a volume."""
    launch: Annotated[Launch | None, Field(examples=["Cold"])] = None
    """Warm: it waited in a pool. Cold: it was made for its session."""
    ready_at: Annotated[Time | None, Field(examples=["2026-08-01T09:30:01.250Z"])] = None
    """When its runtime first answered."""
    expires_at: Annotated[Time | None, Field(examples=["2026-08-01T10:30:00Z"])] = None
    """When its maxDuration is over, if it was made by hand; a session's sandbox lives as long
    as the session."""


class Sandbox(Object):
    """One pod and its life. Sessions make their own; make one by hand to try a template."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                f"self.metadata.name.matches(r'{DNS_LABEL}') && size(self.metadata.name) <= 63",
                "must be a DNS label (lower case letters, digits and '-') of at most 63 "
                "characters, because the pod takes this name; choose another name",
                field_path=".metadata.name",
            )
        )
    )

    api_version: Literal["paddock.dev/v1alpha1"] = API_VERSION
    kind: Literal["Sandbox"] = "Sandbox"
    spec: SandboxSpec
    """Which template, and for how long. Required."""
    status: SandboxStatus = SandboxStatus()
    """What the operator saw; written by it alone."""
