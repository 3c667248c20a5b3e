"""The HTTP API put together. Handlers only translate: the rules are in the modules they call."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from paddock_api.executions import Execution, JournalPage
from paddock_api.messages import Configure
from paddock_runtime.server import logs, metrics
from paddock_runtime.server.auth import BadToken, Verifier
from paddock_runtime.server.connections import Connections
from paddock_runtime.server.context_routes import ContextRoutes
from paddock_runtime.server.execution_routes import ExecutionRoutes
from paddock_runtime.server.file_routes import FileRoutes
from paddock_runtime.server.http import BODY_BYTES, Bodies, answer, from_http, hang_up, problem
from paddock_runtime.server.problems import ProblemError, invalid
from paddock_runtime.server.query import refuse_unknown, whole_number
from paddock_runtime.server.sandbox import Sandbox

JOURNAL_OUTPUT = 2048
"""Bytes of each stream in a journal page, unless maxOutput says otherwise."""
JOURNAL_OUTPUT_LIMIT = 16384
JOURNAL_PAGE, JOURNAL_BYTES = 100, 256 << 10
"""Ends of one page, and bytes of JSON from which on the next end is for the next page."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(sandbox: Sandbox, verifier: Verifier, connections: Connections) -> web.Application:
    bodies = Bodies()
    api = Api(sandbox, verifier, connections, bodies)
    app = web.Application(client_max_size=BODY_BYTES, middlewares=[api.problems, api.token])
    app.router.add_post("/v1/configure", api.configure)
    ExecutionRoutes(sandbox, bodies).add_to(app.router)
    ContextRoutes(sandbox, bodies).add_to(app.router)
    FileRoutes(sandbox, bodies).add_to(app.router)
    app.router.add_get("/v1/journal", api.journal, allow_head=False)
    app.router.add_get("/v1/capabilities", api.capabilities, allow_head=False)
    app.router.add_get("/metrics", api.metrics, allow_head=False)
    app.router.add_get("/livez", api.livez, allow_head=False)
    app.router.add_get("/readyz", api.readyz, allow_head=False)
    return app


class Api:
    """What concerns the sandbox as a whole, and what every request passes."""

    def __init__(
        self, sandbox: Sandbox, verifier: Verifier, connections: Connections, bodies: Bodies
    ) -> None:
        self._sandbox = sandbox
        self._verifier = verifier
        self._connections = connections
        self._bodies = bodies

    @web.middleware
    async def problems(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every error is a problem with a code; every answer is counted."""
        response: web.StreamResponse
        try:
            response = await handler(request)
        except ProblemError as error:
            response = problem(error)
        except web.HTTPException as error:
            response = problem(from_http(error, request))
        except ConnectionError:
            raise  # there is nobody left to be told
        except Exception as error:
            logs.error("http.failed", path=request.path, error=repr(error))
            if request.writer.output_size:  # an answer was begun: no second one into it
                raise hang_up(request, "a bug in the runtime") from error
            response = problem(
                ProblemError(500, "InternalError", "a bug in the runtime; its log says more")
            )
        self._sandbox.metrics.answers[response.status] += 1
        return response

    @web.middleware
    async def token(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Before the body is read: who has no token gets no parser."""
        if request.path.startswith("/v1/"):
            try:
                self._verifier.verify(request.headers.get("Authorization"))
            except BadToken as error:
                raise ProblemError(
                    401, "Unauthorized", str(error), WWW_Authenticate="Bearer"
                ) from error
            self._connections.shown_token(request)
        return await handler(request)

    async def configure(self, request: web.Request) -> web.Response:
        message = await self._bodies.message(request, Configure)
        self._sandbox.refuse_if_ending()
        return answer(await self._sandbox.configuration.configure(message))

    async def journal(self, request: web.Request) -> web.Response:
        refuse_unknown(request.query, "after", "maxOutput")
        after = whole_number(request.query, "after", 0) or 0
        max_output = whole_number(request.query, "maxOutput", JOURNAL_OUTPUT)
        if max_output is not None and max_output > JOURNAL_OUTPUT_LIMIT:
            raise invalid(
                f"maxOutput: {max_output} is more than the {JOURNAL_OUTPUT_LIMIT} that a page of "
                "many executions may show of each; ask for the execution itself"
            )
        executions = self._sandbox.executions
        shown: list[Execution] = []
        size = 0
        for entry in executions.ends_after(after, JOURNAL_PAGE):
            seen = executions.view(entry, max_output, results=False)
            size += len(seen.to_json())
            if shown and size > JOURNAL_BYTES:
                break
            shown.append(seen)
            executions.collected(entry)
        return answer(JournalPage(executions=shown, next=after + len(shown)))

    async def capabilities(self, request: web.Request) -> web.Response:
        return answer(self._sandbox.capabilities())

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._sandbox.metrics.text().encode(),
            headers={"Content-Type": metrics.CONTENT_TYPE},
        )

    async def livez(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """Ready is: an execution sent now would start."""
        self._sandbox.refuse_if_ending()
        if not self._sandbox.link.connected:
            raise ProblemError(503, "WorkspaceNotReady", "the workspace is not connected")
        return web.Response(text="ok\n")
