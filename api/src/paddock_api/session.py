"""AgentSession: one user's session, optionally with steps to run. What its author writes."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from paddock_api import executions
from paddock_api.base import (
    API_VERSION,
    DNS_LABEL,
    MAX_ENV,
    EnvVar,
    Language,
    Object,
    Resource,
    TemplateRef,
    input_bytes,
)
from paddock_api.durations import Duration
from paddock_api.names import execution_id
from paddock_api.rules import (
    ATOMIC,
    Matches,
    MaxBytes,
    Rules,
    immutable,
    list_map,
    rule,
    validations,
)
from paddock_api.sandbox import Lifetime
from paddock_api.session_status import AgentSessionStatus

MAX_STEPS = 32
MAX_FILES = 64
MAX_ARGV = 48
MAX_CODE_BYTES = 65536
MAX_TEXT_BYTES = 128 * 1024
"""One stdin or the content of one file."""
MAX_INPUT_BYTES = 192 * 1024
"""Code, stdin, argv, env and files of one session together: the object must stay far below
what etcd takes (1.5 MiB), and everything larger belongs into the image or is fetched."""

# Regular expressions, because what split('/') may return costs more than the API server lets
# a rule cost. The first finds an empty, '.' or '..' part, a leading and a trailing '/'.
_FILE_PATH_RULE = (
    r"!self.matches(r'(^|/)\.{0,2}(/|$)') && !self.matches(r'[^/]{256}')"
    r" && !self.matches(r'[\x00-\x1f\x7f]')"
)


class SessionLifetime(Lifetime):
    """How long the session may live."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(self.idleTimeout) || !has(self.maxDuration)"
                " || duration(self.idleTimeout) <= duration(self.maxDuration)",
                "must not be longer than maxDuration; lower it or raise maxDuration",
                message_expression="self.idleTimeout + ' is longer than maxDuration ('"
                " + self.maxDuration + '); lower it or raise maxDuration'",
                field_path=".idleTimeout",
            )
        )
    )


class InputFile(Resource):
    """One text file that is written into the workspace before the first step."""

    path: Annotated[
        str,
        MaxBytes(1024),
        Rules(
            rule(
                _FILE_PATH_RULE,
                "must be a relative path that stays inside of the workspace: no leading or "
                "trailing '/', no empty, '.' or '..' part, no control character, no part above "
                "255 characters; such as data/input.csv",
            )
        ),
        Field(min_length=1, examples=["data/input.csv"]),
    ]
    """Where, relative to the workspace and inside of it; at most 1024 bytes, each part at most
    255 characters, no control characters; folders are made. Unique in the list. Required."""
    content: Annotated[
        str, MaxBytes(MAX_TEXT_BYTES, quiet=True), Field(examples=["a,b\n1,2\n"])
    ] = ""
    """Its text, at most 131072 bytes of UTF-8; empty when unset."""


class Step(Resource):
    """One program to run: `language` with `code`, or `argv`."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "has(self.argv) != (has(self.language) || has(self.code))",
                "must have either argv, or language with code, not both and not neither; "
                "remove one or split it into two steps",
            ),
            rule(
                "has(self.argv) || has(self.language) == has(self.code)",
                "language and code belong together; set both, or argv instead",
            ),
        )
    )

    name: Annotated[
        str,
        Field(min_length=1, max_length=63, examples=["greet"]),
        Matches(
            DNS_LABEL,
            "must be lower case letters, digits and '-', and start and end without '-'",
        ),
    ]
    """What the status and metrics of this step go by: lower case letters, digits and `-`, at
    most 63, unique in the session. Required."""
    language: Annotated[Language | None, Field(examples=["python"])] = None
    """What `code` is written in; the template must list it."""
    code: Annotated[
        str | None,
        MaxBytes(MAX_CODE_BYTES, quiet=True),
        Field(min_length=1, examples=['print("hello")']),
    ] = None
    """The program's text, 1 to 65536 bytes of UTF-8."""
    argv: Annotated[
        list[Annotated[str, MaxBytes(4096, nul=False)]] | None,
        Rules(
            rule(
                "size(self) == 0 || size(self[0]) > 0",
                "the first entry must name the program",
            )
        ),
        Field(
            min_length=1,
            max_length=MAX_ARGV,
            examples=[["python3", "main.py", "--fast"]],
            json_schema_extra=ATOMIC,
        ),
    ] = None
    """A program and its arguments instead of language and code; no shell is involved. 1 to 48
    entries of at most 4096 bytes each."""
    stdin: Annotated[str, MaxBytes(MAX_TEXT_BYTES, quiet=True), Field(examples=["1 2 3\n"])] = ""
    """What the program reads from its standard input, at most 131072 bytes of UTF-8; empty
    when unset."""
    timeout: Annotated[Duration | None, Field(examples=["30s"])] = None
    """Wall clock after which it is killed, 1ms to 168h and not above `lifetime.maxDuration`.
    Unset: the template's `limits.timeout`, and above that it is refused (condition Stalled),
    never clamped."""
    continue_on_failure: Annotated[bool, Field(examples=[True])] = False
    """True: later steps run, and the session completes, even if this one fails."""

    def to_request(self, session_uid: str) -> executions.ExecutionRequest:
        """The same as the runtime is asked to run it; its id is the same every time."""
        return executions.ExecutionRequest(
            id=execution_id(session_uid, self.name),
            language=self.language,
            code=self.code,
            argv=self.argv,
            stdin=self.stdin,
            timeout_ms=self.timeout and self.timeout.ms,
        )


_TOTAL = input_bytes(env="self.env", files="self.files", steps="self.steps", optional=True)
_TOO_LONG = "has(s.timeout) && duration(s.timeout) > duration(self.lifetime.maxDuration)"
# Indexing the declared list keeps the name's bound known to the server's cost estimate;
# filter(…)[0].name would not.
_FIRST_TOO_LONG = f"self.steps[self.steps.map(s, {_TOO_LONG}).indexOf(true)].name"


class AgentSessionSpec(Resource):
    """Whose session it is, what it runs and for how long."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            immutable("user"),
            immutable("templateRef"),
            immutable("env", optional=True),
            immutable("files", optional=True),
            immutable("steps", optional=True),
            rule(
                f"{_TOTAL} <= {MAX_INPUT_BYTES}",
                "code, stdin, argv, env and files together must be at most "
                f"{MAX_INPUT_BYTES} bytes of UTF-8; put larger data into the image or split "
                "the session",
            ),
            rule(
                "!has(self.steps) || !has(self.lifetime) || !has(self.lifetime.maxDuration)"
                f" || !self.steps.exists(s, {_TOO_LONG})",
                "a step's timeout must not be longer than lifetime.maxDuration; lower it or "
                "raise lifetime.maxDuration",
                message_expression=f"'the timeout of step ' + {_FIRST_TOO_LONG} + ' is longer"
                " than lifetime.maxDuration (' + self.lifetime.maxDuration + '); lower it or"
                " raise lifetime.maxDuration'",
                field_path=".steps",
            ),
        )
    )

    user: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            examples=["alice@example.com"],
        ),
        Matches(
            r"^[A-Za-z0-9_][A-Za-z0-9._@:+|/=~-]*$",
            "must be letters, digits and any of ._@:+|/=~- and start with a letter, a digit or "
            "'_', such as alice@example.com",
        ),
    ]
    """Whose session it is: asserted by whoever may create sessions here, and what budgets,
    limits and audit count by. Letters, digits and `._@:+|/=~-`, at most 253. Immutable.
    Required."""
    template_ref: TemplateRef
    """The template of its sandbox. Immutable. Required."""
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=MAX_ENV,
        examples=[[{"name": "GREETING", "value": "hi"}]],
        json_schema_extra=list_map("name"),
    )
    """Environment of its steps, over the template's; at most 64 entries. Immutable."""
    files: Annotated[
        list[InputFile],
        Rules(
            rule(
                "self.all(f, !self.exists(g, g.path.startsWith(f.path + '/')))",
                "a path cannot be a file and the folder of another file; rename one",
            )
        ),
    ] = Field(
        default_factory=list,
        max_length=MAX_FILES,
        examples=[[{"path": "data.csv", "content": "a,b\n1,2\n"}]],
        json_schema_extra=list_map("path"),
    )
    """Text files that are there before the first step; at most 64. Immutable."""
    steps: list[Step] = Field(
        default_factory=list,
        max_length=MAX_STEPS,
        examples=[[{"name": "greet", "language": "python", "code": 'print("hello")'}]],
        json_schema_extra=list_map("name"),
    )
    """Programs that run in this order, at most 32; then the session is finished. Without any
    it stays open until its lifetime is over. Immutable."""
    lifetime: SessionLifetime = SessionLifetime()
    """How long it may live."""
    suspend: Annotated[bool, Field(examples=[False])] = False
    """True: its sandbox has no pod until this is false again. It takes effect between steps:
    a running one ends as Cancelled, is not repeated, and ends the session as Failed unless it has
    `continueOnFailure`. Files survive only in the template's
    `workspace.volume`. maxDuration goes on, idleTimeout does not count."""


class AgentSession(Object):
    """One user's session in an isolated sandbox, and what became of its steps."""

    api_version: Literal["paddock.dev/v1alpha1"] = API_VERSION
    kind: Literal["AgentSession"] = "AgentSession"
    spec: AgentSessionSpec
    """Whose session it is, what it runs and for how long. Required."""
    status: AgentSessionStatus = AgentSessionStatus()
    """What became of it; written by the operator alone."""
