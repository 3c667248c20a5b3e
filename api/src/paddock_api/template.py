"""SandboxTemplate and ClusterSandboxTemplate: what a sandbox is made of and may use.

Whoever may write templates decides image, limits and isolation; whoever may only write
sessions chooses among them. There is no pod spec to pass through.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from paddock_api import messages
from paddock_api.base import (
    API_VERSION,
    MAX_ENV,
    EnvVar,
    Language,
    Object,
    Resource,
    input_bytes,
)
from paddock_api.durations import Duration
from paddock_api.quantities import Between, Quantity
from paddock_api.rules import SET, Matches, list_map, rule, validations

MAX_TEMPLATE_ENV_BYTES = 16384
# The template's env travels to the containers as JSON within one environment variable, of
# which the kernel takes 128 KiB; JSON may write one byte as six.


class Resources(Resource):
    """What all executions of one sandbox may use together."""

    cpu: Annotated[Quantity, Between("10m", "256", "500m or 2"), Field(examples=["500m"])] = (
        Quantity("500m")
    )
    """CPUs, 10m to 256. A tenth of it is requested from the scheduler."""
    memory: Annotated[
        Quantity, Between("64Mi", "4Ti", "512Mi or 2Gi"), Field(examples=["512Mi"])
    ] = Quantity("512Mi")
    """Memory of user code and its processes, 64Mi to 4Ti; requested in full."""
    disk: Annotated[Quantity, Between("1Mi", "16Ti", "512Mi or 2Gi"), Field(examples=["1Gi"])] = (
        Quantity("1Gi")
    )
    """Files in the workspace, 1Mi to 16Ti."""
    processes: Annotated[int, Field(ge=8, le=32768, examples=[128])] = 128
    """Processes and threads at once, 8 to 32768."""


class NetworkMode(StrEnum):
    """How far user code reaches."""

    NONE = "None"


class Network(Resource):
    """The network of user code."""

    mode: Annotated[NetworkMode, Field(examples=["None"])] = NetworkMode.NONE
    """`None`: no sockets but AF_UNIX ones. Other modes are not offered yet."""


MAX_OUTPUT_BYTES = 16 << 20
# Of one stream of all executions that run at once: the runtime holds twice that, its memory
# limit is 128Mi (with 16Mi it was measured to take 93 MiB at the most).
_PRODUCT = "quantity(string(self.outputBytes)).asApproximateFloat() * double(self.concurrency)"


class Limits(Resource):
    """What one execution may use, and how many may run."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                f"!isQuantity(string(self.outputBytes)) || {_PRODUCT} <= {MAX_OUTPUT_BYTES}.0",
                "outputBytes times concurrency must be at most 16Mi; lower one of the two",
                # The server bounds the cost of format(), but not of string() of a number.
                message_expression="'outputBytes times concurrency must be at most 16Mi, and %d "
                "times %d is %d; lower one of the two'.format([int(quantity(string("
                f"self.outputBytes)).asApproximateFloat()), self.concurrency, int({_PRODUCT})])",
                field_path=".outputBytes",
            )
        )
    )

    timeout: Annotated[Duration, Field(examples=["30s"])] = Duration("30s")
    """Wall clock of one execution: what it gets when it asks for nothing, and the most that
    it may ask for. 1ms to 168h."""
    cpu_time: Annotated[Duration | None, Field(examples=["10s"])] = None
    """CPU time of one execution, over all its processes, 1ms to 168h; unlimited when unset."""
    output_idle_timeout: Annotated[Duration | None, Field(examples=["2m"])] = None
    """Ends an execution that wrote nothing for so long, 1ms to 168h; never when unset."""
    output_bytes: Annotated[
        Quantity, Between("1", "4Mi", "65536 or 1Mi"), Field(examples=["1Mi"])
    ] = Quantity("1Mi")
    """Bytes kept of each output stream, half of its beginning and half of its end, 1 to 4Mi;
    times `concurrency` at most 16Mi. More is counted and dropped; it never ends the
    execution."""
    output_kill_bytes: Annotated[
        Quantity | None, Between("1", "1Ti", "1048576 or 100Mi"), Field(examples=["100Mi"])
    ] = None
    """Ends an execution that wrote more bytes than this, 1 to 1Ti; never when unset."""
    file_bytes: Annotated[
        Quantity | None, Between("1", "16Ti", "1048576 or 100Mi"), Field(examples=["256Mi"])
    ] = None
    """Bytes of one file, 1 to 16Ti; unlimited (up to `resources.disk`) when unset."""
    concurrency: Annotated[int, Field(ge=1, le=256, examples=[4])] = 4
    """Executions running at once in one sandbox, 1 to 256; further ones wait. More than 16 need
    a lower `outputBytes`."""


class Volume(Resource):
    """A PersistentVolumeClaim that is made for each sandbox and goes with it."""

    size: Annotated[Quantity, Between("1Mi", "16Ti", "1Gi or 20Gi"), Field(examples=["1Gi"])]
    """What is asked of the storage class, 1Mi to 16Ti. Required."""
    storage_class_name: Annotated[
        str | None,
        Field(min_length=1, max_length=253, examples=["standard"]),
        Matches(
            r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
            "must be the name of a StorageClass: lower case letters, digits, '-' and '.'",
        ),
    ] = None
    """The StorageClass. Unset: the cluster's default one."""


class Workspace(Resource):
    """Where the files of user code live."""

    volume: Volume | None = None
    """A volume that outlives suspension. Unset: files live as long as the pod."""


class TemplateLifetime(Resource):
    """How long sessions and sandboxes of this template may live."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "duration(self.maxDuration) <= duration(self.maxDurationLimit)",
                "must not be longer than maxDurationLimit; lower it or raise maxDurationLimit",
                message_expression="self.maxDuration + ' is longer than maxDurationLimit ('"
                " + self.maxDurationLimit + '); lower it or raise maxDurationLimit'",
                field_path=".maxDuration",
            )
        )
    )

    max_duration: Annotated[Duration, Field(examples=["1h"])] = Duration("1h")
    """What a session that is silent about it gets, counted from its creation. 1ms to 168h."""
    max_duration_limit: Annotated[Duration, Field(examples=["24h"])] = Duration("24h")
    """The most that a session may ask for; a longer one is refused, never clamped. 1ms to
    168h."""
    idle_timeout: Annotated[Duration, Field(examples=["15m"])] = Duration("15m")
    """What a session that is silent about it gets: its end after so long without use. 1ms to
    168h."""


ModuleName = Annotated[
    str,
    Field(min_length=1, max_length=128),
    Matches(
        r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
        "must be the name of a Python module, such as numpy or xml.etree",
    ),
]


class SandboxTemplateSpec(Resource):
    """What a sandbox is made of and may use. An empty spec is a working template."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                f"!has(self.env) || {input_bytes(env='self.env')} <= {MAX_TEMPLATE_ENV_BYTES}",
                f"names and values together must be at most {MAX_TEMPLATE_ENV_BYTES} bytes of "
                "UTF-8; put larger data into the image",
                field_path=".env",
            )
        )
    )

    image: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=1024,
            examples=["registry.example.com/team/sandbox:1.4"],
        ),
        Matches(r"^[^\s]+$", "must be an image reference without spaces"),
    ] = None
    """Image of the workspace container, built from Paddock's runtime image, at most 1024
    characters without spaces. Unset: the operator's runtime image."""
    languages: Annotated[
        list[Language],
        Field(min_length=1, max_length=16, examples=[["python", "bash"]], json_schema_extra=SET),
    ] = [Language.PYTHON, Language.BASH]
    """Languages that steps may name, at least one. The image must have their interpreters."""
    resources: Resources = Resources()
    """Limits of the workspace as a whole."""
    network: Network = Network()
    """The network of user code."""
    limits: Limits = Limits()
    """Limits of single executions."""
    lifetime: TemplateLifetime = TemplateLifetime()
    """Default and ceiling of a session's life."""
    workspace: Workspace = Workspace()
    """Where the files of user code live."""
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=MAX_ENV,
        examples=[[{"name": "LANG", "value": "C.UTF-8"}]],
        json_schema_extra=list_map("name"),
    )
    """Environment of user code, under the session's. At most 64 entries and 16384 bytes of
    names and values together."""
    preload: list[ModuleName] = Field(
        default_factory=list,
        max_length=32,
        examples=[["numpy", "pandas"]],
        json_schema_extra=SET,
    )
    """Python modules of the image that are imported once, so that every execution finds them
    ready; at most 32. Each costs memory of the workspace, and time at its start."""
    logs: Annotated[bool, Field(examples=[False])] = False
    """Whether output of executions also goes to the stdout of the pod's container `runtime`, as
    JSON lines; at most `limits.outputBytes` of each execution."""

    def to_limits(self) -> messages.Limits:
        """Everything that bounds user code, in integers, as the runtime is told it."""
        limits, resources = self.limits, self.resources
        return messages.Limits(
            timeout_ms=limits.timeout.ms,
            cpu_time_ms=limits.cpu_time and limits.cpu_time.ms,
            output_idle_timeout_ms=limits.output_idle_timeout and limits.output_idle_timeout.ms,
            output_bytes=limits.output_bytes.value,
            output_kill_bytes=limits.output_kill_bytes and limits.output_kill_bytes.value,
            file_bytes=limits.file_bytes and limits.file_bytes.value,
            concurrency=limits.concurrency,
            processes=resources.processes,
            memory_bytes=resources.memory.value,
            disk_bytes=resources.disk.value,
            cpu_millis=resources.cpu.millis,
        )

    def to_settings(self, sandbox_uid: str) -> messages.SandboxSettings:
        """What both containers of the sandbox with this uid are told."""
        return messages.SandboxSettings(
            sandbox_uid=sandbox_uid,
            languages=[language.value for language in self.languages],
            network_none=self.network.mode is NetworkMode.NONE,
            env=[entry.to_message() for entry in self.env],
            limits=self.to_limits(),
            preload=self.preload,
            logs=self.logs,
        )


class SandboxTemplate(Object):
    """What a sandbox is made of and may use; for sessions of its own namespace."""

    api_version: Literal["paddock.dev/v1alpha1"] = API_VERSION
    kind: Literal["SandboxTemplate"] = "SandboxTemplate"
    # A default, not required: when server-side apply takes an empty spec over from client-side
    # apply, the API server makes it null for a moment, and null becomes the default.
    spec: SandboxTemplateSpec = SandboxTemplateSpec()
    """What a sandbox is made of and may use; may be left out. Changes concern sandboxes made
    later."""


class ClusterSandboxTemplate(Object):
    """What a sandbox is made of and may use; for sessions of every namespace."""

    api_version: Literal["paddock.dev/v1alpha1"] = API_VERSION
    kind: Literal["ClusterSandboxTemplate"] = "ClusterSandboxTemplate"
    spec: SandboxTemplateSpec = SandboxTemplateSpec()
    """What a sandbox is made of and may use; may be left out. Changes concern sandboxes made
    later."""
