"""Operations on contexts."""

from paddock_api.contexts import Context, ContextList, ContextRequest
from paddock_api.runtime_api import refusals as no
from paddock_api.runtime_api.parameters import CONTEXT
from paddock_api.runtime_api.shapes import Answer, Body, Route

_STARTING = (no.CONTEXT_NOT_STARTED, no.SANDBOX_ENDING, no.WORKSPACE_NOT_READY, no.WORKSPACE_BUSY)
FOLLOWING = ("readContext", "interruptContext", "restartContext", "deleteContext")

ROUTES = (
    Route(
        "POST",
        "/v1/contexts",
        "createContext",
        "Make an interpreter that keeps its variables",
        (
            Answer(201, "It waits for code.", Context, links=FOLLOWING),
            Answer(200, "The id was made by the same request before.", Context, links=FOLLOWING),
        ),
        (
            *no.WITH_BODY,
            no.CONTEXT_ID_REUSED,
            no.LANGUAGE_NOT_OFFERED,
            no.TOO_MANY_CONTEXTS,
            *_STARTING,
        ),
        body=Body(ContextRequest),
    ),
    Route(
        "GET",
        "/v1/contexts",
        "listContexts",
        "All contexts",
        (Answer(200, "At most 8.", ContextList),),
        (),
    ),
    Route(
        "GET",
        "/v1/contexts/{id}",
        "readContext",
        "One context",
        (Answer(200, "As it is now.", Context),),
        (no.NOT_FOUND,),
        (CONTEXT,),
    ),
    Route(
        "DELETE",
        "/v1/contexts/{id}",
        "deleteContext",
        "End a context and forget it",
        (Answer(204, "What ran or waited in it was cancelled."),),
        (no.NOT_FOUND, no.WORKSPACE_BUSY),
        (CONTEXT,),
    ),
    Route(
        "POST",
        "/v1/contexts/{id}/interrupt",
        "interruptContext",
        "Raise KeyboardInterrupt in what runs",
        (Answer(200, "Sent, if anything runs; code may catch it.", Context),),
        (no.NOT_FOUND,),
        (CONTEXT,),
    ),
    Route(
        "POST",
        "/v1/contexts/{id}/restart",
        "restartContext",
        "Give a context a new interpreter",
        (Answer(200, "It waits for code. What ran or waited in it was cancelled.", Context),),
        (no.NOT_FOUND, *_STARTING),
        (CONTEXT,),
    ),
)
