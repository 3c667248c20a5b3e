"""Operations that concern the sandbox as a whole."""

from paddock_api.executions import JournalPage
from paddock_api.messages import Capabilities, Configure, Configured
from paddock_api.runtime_api import refusals as no
from paddock_api.runtime_api.parameters import COUNT
from paddock_api.runtime_api.shapes import TEXT, Answer, Body, Parameter, Route

JOURNAL_OUTPUT_LIMIT = 16384

ROUTES = (
    Route(
        "POST",
        "/v1/configure",
        "configure",
        "Give the sandbox to a session",
        (Answer(200, "It is configured, and the files are there.", Configured),),
        (
            *no.WITH_BODY,
            no.ALREADY_CONFIGURED,
            no.FILE_NOT_WRITTEN,
            no.SANDBOX_ENDING,
            no.WORKSPACE_NOT_READY,
            no.WORKSPACE_BUSY,
            no.WORKSPACE_LOST,
            no.JOURNAL_UNAVAILABLE,
        ),
        body=Body(Configure),
    ),
    Route(
        "GET",
        "/v1/journal",
        "readJournal",
        "Ends of executions, oldest first",
        (Answer(200, "At most 100 ends, which count as collected from now on.", JournalPage),),
        (no.INVALID_REQUEST,),
        (
            Parameter("after", "query", COUNT, "`next` of the page before; absent: from the first"),
            Parameter(
                "maxOutput",
                "query",
                {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": JOURNAL_OUTPUT_LIMIT,
                    "default": 2048,
                },
                "Bytes of each stream that are shown of each execution, the last ones.",
                1024,
            ),
        ),
    ),
    Route(
        "GET",
        "/v1/capabilities",
        "readCapabilities",
        "What this node really enforces",
        (Answer(200, "Probed when the workspace started.", Capabilities),),
        (no.WORKSPACE_NOT_READY,),
    ),
    Route(
        "GET",
        "/metrics",
        "readMetrics",
        "Counters of this sandbox",
        (Answer(200, "In the Prometheus text format.", media=TEXT),),
        (),
        token=False,
    ),
    Route(
        "GET",
        "/livez",
        "checkLiveness",
        "Whether the runtime answers",
        (Answer(200, "It does.", media=TEXT),),
        (),
        token=False,
    ),
    Route(
        "GET",
        "/readyz",
        "checkReadiness",
        "Whether an execution sent now would start",
        (Answer(200, "It would.", media=TEXT),),
        (no.SANDBOX_ENDING, no.WORKSPACE_NOT_READY),
        token=False,
    ),
)
