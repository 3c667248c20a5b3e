"""What all resource models share, and the small types that several kinds use."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from paddock_api import messages
from paddock_api.rules import Matches, MaxBytes, rule, validations

GROUP = "paddock.dev"
VERSION = "v1alpha1"
API_VERSION: Final = "paddock.dev/v1alpha1"
CATEGORY = "paddock"

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
MAX_ENV = 64


class Resource(BaseModel):
    """Base of every part of a resource: camelCase on the wire, immutable in Python.

    Unknown fields are ignored when an object is read, so that a CRD newer than this code
    does not break it; the API server is what refuses a misspelt field.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def read(cls, raw: Mapping[str, Any] | None) -> Self:
        """The model of a part of an object as the API server sent it; absent reads as empty.

        Raises pydantic.ValidationError when it does not fit.
        """
        return cls.model_validate(raw or {})

    def to_dict(self) -> dict[str, Any]:
        """The wire form as plain JSON data: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, always with milliseconds: `2026-08-01T09:30:00.123Z` sorts as text too."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


Time = Annotated[
    AwareDatetime,
    PlainSerializer(format_time, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment in a status. Milliseconds are kept: sessions start and end within one second."""

Count = Annotated[int, Field(ge=0, le=2**53)]
"""A number of things, bytes or milliseconds; every JSON reader can hold it exactly."""


class Language(StrEnum):
    """A language that the runtime can run code of."""

    PYTHON = "python"
    BASH = "bash"


class TemplateKind(StrEnum):
    """Where a template lives."""

    NAMESPACED = "SandboxTemplate"
    CLUSTER = "ClusterSandboxTemplate"


class TemplateRef(Resource):
    """The template that decides image, limits and isolation of the sandbox."""

    kind: Annotated[TemplateKind, Field(examples=["ClusterSandboxTemplate"])] = (
        TemplateKind.NAMESPACED
    )
    """`SandboxTemplate` is looked up in the object's own namespace (the default);
    `ClusterSandboxTemplate` serves all namespaces."""
    name: Annotated[
        str,
        Field(min_length=1, max_length=253, examples=["python"]),
        Matches(
            DNS_SUBDOMAIN,
            "must be the name of a template: lower case letters, digits, '-' and '.'",
        ),
    ]
    """Name of the template. Required."""


class EnvVar(Resource):
    """One environment variable of user code."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!self.name.startsWith('PADDOCK_')",
                "must not start with PADDOCK_, which is Paddock's own; choose another name",
                field_path=".name",
            )
        )
    )

    name: Annotated[
        str,
        Field(min_length=1, max_length=256, examples=["GREETING"]),
        Matches(
            r"^[A-Za-z_][A-Za-z0-9_]*$",
            "must be letters, digits and '_', and not start with a digit, such as GREETING",
        ),
    ]
    """A C identifier of at most 256 characters, unique in its list, not starting with
    `PADDOCK_`. Required."""
    # The kernel takes no single string above 128 KiB, name included.
    value: Annotated[str, MaxBytes(32768, nul=False, quiet=True), Field(examples=["hi"])] = ""
    """At most 32768 bytes of UTF-8 without NUL; empty when unset. Not a place for secrets:
    whoever may read this object reads it."""

    def to_message(self) -> messages.EnvVar:
        """The same as the runtime is told it."""
        return messages.EnvVar(name=self.name, value=self.value)


def input_bytes(*, env: str = "", files: str = "", steps: str = "", optional: bool = False) -> str:
    """CEL: UTF-8 bytes of names and values, paths and contents, codes, stdins and argvs.

    Each argument is the expression of a list; with `optional` it may be absent.
    """

    def part(items: str, *texts: str) -> str:
        total = f"{items}.map(i, {' + '.join(texts)}).sum()"
        return f"(has({items}) ? {total} : 0)" if optional else total

    def size(field: str) -> str:
        return f"(has(i.{field}) ? size(bytes(i.{field})) : 0)"

    parts = []
    if env:
        parts.append(part(env, "size(bytes(i.name))", size("value")))
    if files:
        parts.append(part(files, "size(bytes(i.path))", size("content")))
    if steps:
        argv = "(has(i.argv) ? i.argv.map(a, size(bytes(a))).sum() : 0)"
        parts.append(part(steps, size("code"), size("stdin"), argv))
    return " + ".join(parts)


class OwnerReference(Resource):
    """One entry of metadata.ownerReferences."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class ObjectMeta(Resource):
    """The part of metadata that Paddock reads; the API server keeps the rest."""

    name: str = ""
    namespace: str | None = None
    generate_name: str | None = None
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = None
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class Object(Resource):
    """Base of whole resources; each adds `apiVersion`, `kind`, `spec` and mostly `status`."""

    metadata: ObjectMeta = ObjectMeta()
