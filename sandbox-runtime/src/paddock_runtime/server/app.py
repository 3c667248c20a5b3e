"""The HTTP API. Handlers only translate: the rules are in the modules they call."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from paddock_api.messages import Configure, ExecutionRequest, JournalPage, Message
from paddock_runtime.server import answers, logs, metrics
from paddock_runtime.server.auth import BadToken, Verifier
from paddock_runtime.server.problems import ProblemError, invalid, validation_detail
from paddock_runtime.server.query import wait_seconds, whole_number
from paddock_runtime.server.records import Entry
from paddock_runtime.server.sandbox import Sandbox

BODY_BYTES = 1 << 20
JOURNAL_OUTPUT = 2048
"""Bytes of each stream in a journal page, unless maxOutput says otherwise."""
JOURNAL_OUTPUT_LIMIT = 16384
JOURNAL_PAGE = 100
M = TypeVar("M", bound=Message)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(sandbox: Sandbox, verifier: Verifier) -> web.Application:
    api = Api(sandbox, verifier)
    app = web.Application(client_max_size=BODY_BYTES, middlewares=[api.problems, api.token])
    app.router.add_post("/v1/configure", api.configure)
    app.router.add_post("/v1/executions", api.execute)
    app.router.add_get("/v1/executions/{id}", api.execution, allow_head=False)
    app.router.add_delete("/v1/executions/{id}", api.cancel)
    app.router.add_get("/v1/journal", api.journal, allow_head=False)
    app.router.add_get("/v1/capabilities", api.capabilities, allow_head=False)
    app.router.add_get("/metrics", api.metrics)
    app.router.add_get("/livez", api.livez)
    app.router.add_get("/readyz", api.readyz)
    return app


class Api:
    def __init__(self, sandbox: Sandbox, verifier: Verifier) -> None:
        self._sandbox = sandbox
        self._verifier = verifier

    @web.middleware
    async def problems(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every error is a problem with a code; every answer is counted."""
        try:
            answer = await handler(request)
        except ProblemError as error:
            answer = _problem(error)
        except web.HTTPException as error:
            answer = _problem(_from_http(error, request))
        except Exception as error:
            logs.error("http.failed", path=request.path, error=repr(error))
            answer = _problem(
                ProblemError(500, "InternalError", "a bug in the runtime; its log says more")
            )
        self._sandbox.metrics.answers[answer.status] += 1
        return answer

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
        return await handler(request)

    async def configure(self, request: web.Request) -> web.Response:
        message = await _body(request, Configure)
        self._sandbox.refuse_if_ending()
        return _json(await self._sandbox.configuration.configure(message))

    async def execute(self, request: web.Request) -> web.Response:
        seconds, max_output = _options(request)
        wanted = await _body(request, ExecutionRequest)
        executions = self._sandbox.executions
        if executions.known(wanted) is None:
            self._check(wanted)
            self._sandbox.refuse_if_ending()
        entry, new = await executions.accept(wanted)
        await executions.wait(entry, seconds)
        return self._answer(entry, max_output, 201 if new else 200)

    async def execution(self, request: web.Request) -> web.Response:
        seconds, max_output = _options(request)
        entry = self._sandbox.executions.get(request.match_info["id"])
        await self._sandbox.executions.wait(entry, seconds)
        return self._answer(entry, max_output)

    async def cancel(self, request: web.Request) -> web.Response:
        seconds, max_output = _options(request)
        entry = self._sandbox.executions.get(request.match_info["id"])
        self._sandbox.executions.dispatcher.cancel(entry, "a client asked for its end")
        await self._sandbox.executions.wait(entry, seconds)
        return self._answer(entry, max_output)

    async def journal(self, request: web.Request) -> web.Response:
        after = whole_number(request.query, "after", 0) or 0
        max_output = whole_number(request.query, "maxOutput", JOURNAL_OUTPUT)
        if max_output is not None and max_output > JOURNAL_OUTPUT_LIMIT:
            raise invalid(
                f"maxOutput: {max_output} is more than the {JOURNAL_OUTPUT_LIMIT} that a page of "
                "many executions may show of each; ask for the execution itself"
            )
        executions = self._sandbox.executions
        entries = executions.ends_after(after, JOURNAL_PAGE)
        page = JournalPage(
            executions=[executions.view(entry, max_output) for entry in entries],
            next=after + len(entries),
        )
        for entry in entries:
            executions.collected(entry)
        return _json(page)

    async def capabilities(self, request: web.Request) -> web.Response:
        return _json(self._sandbox.capabilities())

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

    def _check(self, wanted: ExecutionRequest) -> None:
        settings = self._sandbox.settings
        ceiling = settings.limits.timeout_ms
        if wanted.timeout_ms is not None and wanted.timeout_ms > ceiling:
            raise ProblemError(
                422,
                "TimeoutAboveCeiling",
                f"timeoutMs: {wanted.timeout_ms} is above the template's {ceiling}; "
                "ask for less or use a template that allows more",
            )
        if wanted.language is not None and wanted.language not in settings.languages:
            raise ProblemError(
                422,
                "LanguageNotOffered",
                f"language: {wanted.language[:40]!r} is not offered by the template, which has "
                f"{', '.join(settings.languages)}",
            )
        for field, texts in (
            ("code", [wanted.code or ""]),
            ("argv", wanted.argv or []),
            ("env", [pair.value for pair in wanted.env]),
        ):
            if any("\0" in text for text in texts):
                raise invalid(f"{field}: holds a NUL character, which no program can be given")

    def _answer(self, entry: Entry, max_output: int | None, status: int = 200) -> web.Response:
        end = self._sandbox.executions.end(entry, max_output)
        if end is None:
            return _json(entry.unfinished(), status)
        self._sandbox.executions.collected(entry)
        if end.size <= answers.WHOLE_BYTES:
            return _json(self._sandbox.executions.view(entry, max_output), status)
        return web.Response(
            body=answers.in_pieces(end), status=status, content_type="application/json"
        )


async def _body(request: web.Request, kind: type[M]) -> M:
    """The message. Raises 413 from aiohttp, else 422 naming the field."""
    body = await request.read()
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise invalid(validation_detail(error.errors(include_url=False))) from error


def _options(request: web.Request) -> tuple[float, int | None]:
    return wait_seconds(request.query), whole_number(request.query, "maxOutput", None)


def _json(message: Message, status: int = 200) -> web.Response:
    return web.Response(body=message.to_json(), status=status, content_type="application/json")


def _problem(error: ProblemError) -> web.Response:
    return web.Response(
        body=error.problem.to_json(),
        status=error.status,
        content_type="application/problem+json",
        headers=error.headers,
    )


def _from_http(error: web.HTTPException, request: web.Request) -> ProblemError:
    headers: dict[str, Any] = {}
    match error.status:
        case 404:
            code, detail = "NotFound", f"there is no {request.path[:80]} here"
        case 405:
            allowed = error.headers.get("Allow", "")
            headers["Allow"] = allowed
            code, detail = "MethodNotAllowed", f"{request.path[:80]} takes {allowed}"
        case 413:
            code, detail = "BodyTooLarge", f"the body is larger than {BODY_BYTES} bytes"
        case _:
            code, detail = "InvalidRequest", error.reason
    return ProblemError(error.status, code, detail, **headers)
