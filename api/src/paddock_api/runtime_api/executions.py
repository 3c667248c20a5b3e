"""Operations on executions."""

from paddock_api.executions import (
    Execution,
    ExecutionPage,
    ExecutionRequest,
    ExitedEvent,
    OutputEvent,
    SignalRequest,
    StartedEvent,
    StdinWritten,
)
from paddock_api.messages import Message
from paddock_api.reasons import ExecutionState
from paddock_api.runtime_api import refusals as no
from paddock_api.runtime_api.parameters import COUNT, ENCODING, EXECUTION, OPTIONS, page_size
from paddock_api.runtime_api.shapes import Answer, Body, Parameter, Route

EVENTS: dict[str, type[Message]] = {
    "started": StartedEvent,
    "stdout": OutputEvent,
    "stderr": OutputEvent,
    "exited": ExitedEvent,
}
PAGE, PAGE_LIMIT = 100, 1000
FOLLOWING = (
    "readExecution",
    "followExecution",
    "writeStdin",
    "signalExecution",
    "cancelExecution",
)
_STREAMED = (
    "An event stream says `started`, `stdout`, `stderr` and `exited`, which is the last, and a "
    "comment every 5 silent seconds. The id of an event says how far it is in both streams."
)
EVENT_ID = "[0-9]{1,18}-[0-9]{1,18}(-end)?"
LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "header",
    {"type": "string", "pattern": rf"^({EVENT_ID})?$"},
    "The id of the last event that the client has got: the stream goes on behind it.",
    "12-0",
)

ROUTES = (
    Route(
        "POST",
        "/v1/executions",
        "execute",
        "Run a program or code",
        (
            Answer(
                201,
                "Accepted; ended, if `wait` was enough.",
                Execution,
                None,
                EVENTS,
                links=FOLLOWING,
            ),
            Answer(
                200,
                "The id was accepted before: its state.",
                Execution,
                None,
                EVENTS,
                links=FOLLOWING,
            ),
        ),
        (
            *no.WITH_BODY,
            no.NOT_FOUND,
            no.CONTEXT_DIED,
            no.EXECUTION_ID_REUSED,
            no.TOO_MANY_IN_BACKGROUND,
            no.TIMEOUT_ABOVE_CEILING,
            no.LANGUAGE_NOT_OFFERED,
            no.TOO_MANY_PENDING,
            no.TOO_MANY_STREAMS,
            no.TOO_MANY_ANSWERS,
            no.SANDBOX_ENDING,
            no.JOURNAL_FULL,
            no.JOURNAL_UNAVAILABLE,
        ),
        OPTIONS,
        Body(ExecutionRequest),
        f"With `Accept: text/event-stream` the answer is the execution's event stream. {_STREAMED}",
    ),
    Route(
        "GET",
        "/v1/executions",
        "listExecutions",
        "Executions in the order of their acceptance",
        (Answer(200, "One page, without output.", ExecutionPage),),
        (no.INVALID_REQUEST,),
        (
            Parameter(
                "state",
                "query",
                {"type": "string", "enum": [state.value for state in ExecutionState]},
                "Only those in this state.",
            ),
            Parameter("after", "query", COUNT, "`next` of the page before; absent: from the first"),
            page_size(PAGE_LIMIT, PAGE),
        ),
    ),
    Route(
        "GET",
        "/v1/executions/{id}",
        "readExecution",
        "One execution: its end, or how it stands",
        (Answer(200, "With its output so far.", Execution),),
        (no.INVALID_REQUEST, no.NOT_FOUND, no.TOO_MANY_ANSWERS),
        (EXECUTION, *OPTIONS),
    ),
    Route(
        "DELETE",
        "/v1/executions/{id}",
        "cancelExecution",
        "End an execution",
        (Answer(200, "It is being ended, or has ended. It can still be asked for.", Execution),),
        (no.INVALID_REQUEST, no.NOT_FOUND, no.TOO_MANY_ANSWERS),
        (EXECUTION, *OPTIONS),
    ),
    Route(
        "GET",
        "/v1/executions/{id}/events",
        "followExecution",
        "Follow an execution while it runs, or afterwards",
        (
            Answer(200, "From the beginning, or behind `Last-Event-ID`.", events=EVENTS),
            Answer(204, "`Last-Event-ID` was that of the last event: there will be no more."),
        ),
        (no.INVALID_REQUEST, no.EVENT_NOT_THERE, no.NOT_FOUND, no.TOO_MANY_STREAMS),
        (EXECUTION, ENCODING, LAST_EVENT_ID),
        description=_STREAMED,
    ),
    Route(
        "POST",
        "/v1/executions/{id}/stdin",
        "writeStdin",
        "Give input to an execution started with `stdinOpen`",
        (Answer(200, "All of it was taken.", StdinWritten),),
        (
            *no.WITH_BODY,
            no.NOT_FOUND,
            no.NOT_RUNNING,
            no.STDIN_NOT_OPEN,
            no.STDIN_CLOSED,
            no.STDIN_FULL,
        ),
        (
            EXECUTION,
            Parameter(
                "close",
                "query",
                {"type": "boolean", "default": False},
                "Whether the program reads the end of its input behind this.",
                True,
            ),
        ),
        Body(description="At most 1 MiB."),
    ),
    Route(
        "POST",
        "/v1/executions/{id}/signal",
        "signalExecution",
        "Send a signal",
        (Answer(200, "It was sent.", Execution),),
        (*no.WITH_BODY, no.NOT_FOUND, no.NOT_RUNNING),
        (EXECUTION,),
        Body(SignalRequest),
    ),
)
