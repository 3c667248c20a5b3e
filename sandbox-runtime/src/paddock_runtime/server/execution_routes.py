"""Executions over HTTP."""

import asyncio
import signal
from dataclasses import dataclass

from aiohttp import web

from paddock_api.executions import (
    MAX_TEXT_BYTES,
    ExecutionPage,
    ExecutionRequest,
    OutputEncoding,
    SignalRequest,
    StdinWritten,
)
from paddock_api.reasons import ExecutionReason as Reason
from paddock_api.reasons import ExecutionState as State
from paddock_runtime.server import answers
from paddock_runtime.server.attendance import attending
from paddock_runtime.server.events import (
    KEEP_ALIVE_LINE,
    OPENING,
    Follower,
    Position,
    read_position,
)
from paddock_runtime.server.http import Bodies, answer, hang_up
from paddock_runtime.server.problems import ProblemError, invalid, refuse_nul
from paddock_runtime.server.query import flag, refuse_unknown, wait_seconds, whole_number, word
from paddock_runtime.server.records import End, Entry
from paddock_runtime.server.sandbox import Sandbox

EVENT_STREAM = "text/event-stream"
STREAMS = 32
"""Followed at once; each may hold a few pieces of output (events.PIECE_BYTES) in memory."""
LARGE_ANSWERS = 1
"""Sent at once; each holds up to 8 MiB of output, and more than that while JSON is made of it."""
LARGE_ANSWER_SECONDS = 120.0
"""Others wait for it meanwhile; 48 MB, the largest, then pass at 400 KB/s."""
PAGE, PAGE_LIMIT = 100, 1000


@dataclass(frozen=True, slots=True)
class Options:
    """How a client wants to be answered."""

    wait: float
    max_output: int | None
    encoding: OutputEncoding

    @classmethod
    def of(cls, request: web.Request) -> "Options":
        """Raises 422."""
        query = request.query
        refuse_unknown(query, "wait", "maxOutput", "encoding")
        encoding = word(query, "encoding", OutputEncoding, OutputEncoding.UTF8)
        return cls(
            wait_seconds(query),
            whole_number(query, "maxOutput", None),
            encoding or OutputEncoding.UTF8,
        )


class ExecutionRoutes:
    def __init__(self, sandbox: Sandbox, bodies: Bodies) -> None:
        self._sandbox = sandbox
        self._executions = sandbox.executions
        self._bodies = bodies
        self._streams = self._large_answers = 0

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/executions", self.execute)
        router.add_get("/v1/executions", self.list, allow_head=False)
        router.add_get("/v1/executions/{id}", self.get, allow_head=False)
        router.add_delete("/v1/executions/{id}", self.cancel)
        router.add_get("/v1/executions/{id}/events", self.events, allow_head=False)
        router.add_post("/v1/executions/{id}/stdin", self.stdin)
        router.add_post("/v1/executions/{id}/signal", self.signal)

    async def execute(self, request: web.Request) -> web.StreamResponse:
        options = Options.of(request)
        followed = EVENT_STREAM in request.headers.get("Accept", "")
        wanted = await self._bodies.message(request, ExecutionRequest)
        if followed:  # before it is accepted: after a 429 nothing may run
            self._refuse_if_too_many_follow()
        if self._executions.known(wanted) is None:
            self._check(wanted)
            self._sandbox.refuse_if_ending()
        entry, new = self._executions.accept(wanted)
        del wanted  # it may be large, and the answer may take a minute
        status = 201 if new else 200
        if followed:
            return await self._stream(request, entry, Position(), options, status)
        return await self._waited(request, entry, options, status)

    async def list(self, request: web.Request) -> web.Response:
        refuse_unknown(request.query, "after", "limit", "state")
        after = whole_number(request.query, "after", 0) or 0
        limit = whole_number(request.query, "limit", PAGE) or 0
        if not 1 <= limit <= PAGE_LIMIT:
            raise invalid(f"limit: {limit} is not from 1 to {PAGE_LIMIT}, the most of one page")
        state = word(request.query, "state", State, None)
        entries, following = self._executions.page(after, limit, state)
        views = [self._executions.view(entry, 0, results=False) for entry in entries]
        return answer(ExecutionPage(executions=views, next=following))

    async def get(self, request: web.Request) -> web.StreamResponse:
        options = Options.of(request)
        return await self._waited(request, self._entry(request), options)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        options = Options.of(request)
        entry = self._entry(request)
        self._executions.dispatcher.cancel(entry, "a client asked for its end")
        return await self._waited(request, entry, options)

    async def events(self, request: web.Request) -> web.StreamResponse:
        position = read_position(request.headers.get("Last-Event-ID"))
        refuse_unknown(request.query, "encoding")
        options = Options.of(request)
        entry = self._entry(request)
        if position.started:  # who begins has nothing that could be checked
            shown = self._executions.shown(entry, 0, results=False)
            if shown.facts.reason is not Reason.RUNTIME_RESTARTED:  # of that one nobody knows it
                position.refuse_beyond(shown.stdout.total, shown.stderr.total, shown.facts.state)
        return await self._stream(request, entry, position, options)

    async def stdin(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        refuse_unknown(request.query, "close")
        close = flag(request.query, "close")
        data = await self._bodies.read(request)
        if len(data) > MAX_TEXT_BYTES:
            raise ProblemError(
                413,
                "BodyTooLarge",
                f"stdin: {len(data)} bytes are more than the {MAX_TEXT_BYTES} of one request; "
                "send it in parts",
            )
        self._refuse_unless_running(entry)
        if entry.run is None or entry.run.stdin is None:
            raise ProblemError(
                409,
                "StdinNotOpen",
                f"id: {entry.id} was not started with stdinOpen, so it takes no more input",
            )
        entry.run.stdin.write(data, close)
        return answer(StdinWritten(accepted=len(data), closed=close))

    async def signal(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        wanted = await self._bodies.message(request, SignalRequest)
        self._refuse_unless_running(entry)
        self._executions.dispatcher.signal(entry, signal.Signals[wanted.signal])
        return answer(self._executions.view(entry, 0))

    def _entry(self, request: web.Request) -> Entry:
        return self._executions.get(request.match_info["id"])

    def _refuse_unless_running(self, entry: Entry) -> None:
        if entry.state is not State.RUNNING:
            raise ProblemError(409, "NotRunning", f"id: {entry.id} is {entry.state}, not Running")

    def _check(self, wanted: ExecutionRequest) -> None:
        settings = self._sandbox.settings
        ceiling = settings.limits.timeout_ms
        if wanted.timeout_ms is not None and wanted.timeout_ms > ceiling and not wanted.background:
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
        refuse_nul(
            {
                "code": [wanted.code or ""],
                "argv": wanted.argv or [],
                "env": [pair.value for pair in wanted.env],
                "cwd": [wanted.cwd or ""],
            }
        )
        for field, text in (("code", wanted.code or ""), ("stdin", wanted.stdin)):
            if len(text.encode()) > MAX_TEXT_BYTES:
                raise invalid(
                    f"{field}: {len(text.encode())} bytes are more than {MAX_TEXT_BYTES}; put "
                    "data into a file (PUT /v1/files/{path})"
                )
        if wanted.context is not None:
            context = self._sandbox.contexts.check(wanted.context)
            if wanted.language != context.request.language:
                raise invalid(
                    f"language: {wanted.language} is not that of context {wanted.context}, which "
                    f"is {context.request.language}"
                )

    async def _waited(
        self, request: web.Request, entry: Entry, options: Options, status: int = 200
    ) -> web.StreamResponse:
        with attending(entry, self._executions.dispatcher):
            await self._executions.wait(entry, options.wait)
        shown = self._executions.shown(entry, options.max_output)
        if shown.size <= answers.WHOLE_BYTES:
            self._executions.collected(entry)
            return answer(self._executions.wire(shown, options.encoding), status)
        return await self._large(request, entry, shown, options, status)

    async def _large(
        self, request: web.Request, entry: Entry, shown: End, options: Options, status: int
    ) -> web.StreamResponse:
        """In pieces, at the client's speed; meanwhile all of it is in memory."""
        if self._large_answers >= LARGE_ANSWERS:
            raise ProblemError(
                429,
                "TooManyAnswers",
                f"id: {entry.id} is known here, but an answer with much output is being sent "
                f"already; GET /v1/executions/{entry.id} later, ask for less with maxOutput, or "
                "follow the events",
                Retry_After="1",
            )
        self._executions.collected(entry)
        response = web.StreamResponse(
            status=status, headers={"Content-Type": "application/json; charset=utf-8"}
        )
        self._large_answers += 1
        try:
            await response.prepare(request)
            async with asyncio.timeout(LARGE_ANSWER_SECONDS):
                async for piece in answers.in_pieces(shown.facts, shown, options.encoding):
                    await response.write(piece)
        except TimeoutError:
            raise hang_up(request, "the client takes it too slowly") from None
        finally:
            self._large_answers -= 1
        await response.write_eof()
        return response

    async def _stream(
        self,
        request: web.Request,
        entry: Entry,
        position: Position,
        options: Options,
        status: int = 200,
    ) -> web.StreamResponse:
        if position.exited:  # by the specification of EventSource: do not come back
            return web.Response(status=204)
        self._refuse_if_too_many_follow()
        response = web.StreamResponse(
            status=status,
            headers={"Content-Type": EVENT_STREAM, "Cache-Control": "no-store"},
        )
        follower = Follower(self._executions, entry, options.encoding, position)
        self._streams += 1
        try:
            with attending(entry, self._executions.dispatcher), follower:
                await response.prepare(request)
                await response.write(OPENING)
                await self._follow(response, follower)
        finally:
            self._streams -= 1
        await response.write_eof()
        return response

    def _refuse_if_too_many_follow(self) -> None:
        if self._streams >= STREAMS:
            raise ProblemError(
                429,
                "TooManyStreams",
                f"{STREAMS} clients follow executions of this sandbox already; try again later "
                "or ask with wait",
                Retry_After="1",
            )

    async def _follow(self, response: web.StreamResponse, follower: Follower) -> None:
        while not follower.over:
            event = follower.due()
            if event:
                await response.write(event)
            elif not await follower.more():
                await response.write(KEEP_ALIVE_LINE)
