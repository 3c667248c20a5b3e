"""The runtime's HTTP API without programs: one server, and what each pod's address knows.

It speaks the protocol with the runtime's own checks of tokens and queries, and runs nothing:
a program ends at once, or when it is told to.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from paddock_api.executions import Execution, ExecutionRequest, Output
from paddock_api.messages import Configure, Configured, Message, SandboxSettings
from paddock_api.reasons import ExecutionReason, ExecutionState
from paddock_operator.plan.views import PodView
from paddock_runtime.server.auth import BadToken, Verifier, read_keys
from paddock_runtime.server.problems import ProblemError, invalid, validation_detail
from paddock_runtime.server.query import wait_seconds

M = TypeVar("M", bound=Message)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Program:
    """One execution: what was asked, what became of it, and whoever waits for its end."""

    def __init__(self, request: ExecutionRequest) -> None:
        self.request = request
        self.over = asyncio.Event()
        now = datetime.now(UTC)
        self.execution = Execution(
            id=request.id, state=ExecutionState.RUNNING, accepted_at=now, started_at=now
        )

    def end(self, reason: ExecutionReason, code: int | None) -> None:
        """The first end counts."""
        if not self.over.is_set():
            told = {"state": ExecutionState.FINISHED, "reason": reason, "exit_code": code}
            measured = {"duration_ms": 1, "cpu_ms": 1, "finished_at": datetime.now(UTC)}
            output = {"stdout": Output(tail="hello\n", bytes=6)}
            self.execution = self.execution.model_copy(update=told | measured | output)
            self.over.set()


class Runtime:
    """What one pod knows."""

    def __init__(self, pod: PodView) -> None:
        containers = {entry["name"]: entry for entry in pod.spec["containers"]}
        env = {entry["name"]: entry["value"] for entry in containers["runtime"]["env"]}
        settings = SandboxSettings.model_validate_json(env["PADDOCK_SETTINGS"])
        self.verifier = Verifier(read_keys(env["PADDOCK_VERIFY_KEYS"]), settings.sandbox_uid)
        self.configured: Configure | None = None
        self.programs: dict[str, Program] = {}

    def program(self, execution_id: str) -> Program:
        if execution_id not in self.programs:
            raise ProblemError(404, "NotFound", f"no execution {execution_id!r}")
        return self.programs[execution_id]


class FakeRuntimes:
    """`app` serves all of them; which one is meant is the address that was asked."""

    def __init__(self, *, endless: bool) -> None:
        self._endless = endless
        self._runtimes: dict[str, Runtime] = {}
        self.starts: list[str] = []
        """Ids of all programs that were started, one entry per start."""
        self.asked: list[tuple[float, str]] = []
        """(time.monotonic, id) of every request to run an execution, repeats included."""
        self.app = web.Application(middlewares=[self._checked])
        self.app.router.add_get("/readyz", self._readyz)
        self.app.router.add_post("/v1/configure", self._configure)
        self.app.router.add_post("/v1/executions", self._execute)
        self.app.router.add_get("/v1/executions/{id}", self._wait)
        self.app.router.add_delete("/v1/executions/{id}", self._cancel)

    def add(self, ip: str, pod: PodView) -> None:
        self._runtimes[ip] = Runtime(pod)

    def remove(self, ip: str) -> None:
        del self._runtimes[ip]

    def end_all(self) -> None:
        """Every program ends well, and those of later on at once."""
        self._endless = False
        for runtime in self._runtimes.values():
            for program in runtime.programs.values():
                program.end(ExecutionReason.EXITED, 0)

    @web.middleware
    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path.startswith("/v1/"):
                self._runtime(request).verifier.verify(request.headers.get("Authorization"))
            return await handler(request)
        except BadToken as error:
            problem = ProblemError(401, "Unauthorized", str(error))
        except ProblemError as error:
            problem = error
        return _json(problem.problem, problem.status)

    def _runtime(self, request: web.Request) -> Runtime:
        assert request.transport is not None
        ip = request.transport.get_extra_info("sockname")[0]
        if ip not in self._runtimes:  # a kept connection to a pod that has gone
            raise ProblemError(503, "Terminating", "the pod is gone")
        return self._runtimes[ip]

    async def _readyz(self, request: web.Request) -> web.Response:
        self._runtime(request)
        return web.Response(text="ok\n")

    async def _configure(self, request: web.Request) -> web.Response:
        runtime, body = self._runtime(request), await _body(request, Configure)
        before = runtime.configured
        if before is not None and _content(before) != _content(body):
            raise ProblemError(409, "AlreadyConfigured", "other session, env or files")
        runtime.configured = body
        return _json(Configured(files=len(body.files), repeated=before is not None))

    async def _execute(self, request: web.Request) -> web.Response:
        runtime, body = self._runtime(request), await _body(request, ExecutionRequest)
        self.asked.append((time.monotonic(), body.id))
        if runtime.configured is None:
            raise ProblemError(409, "NotConfigured", "configure comes first")
        new = body.id not in runtime.programs
        if new:
            self.starts.append(body.id)
            runtime.programs[body.id] = Program(body)
            if not self._endless:
                runtime.programs[body.id].end(ExecutionReason.EXITED, 0)
        elif runtime.programs[body.id].request != body:
            raise ProblemError(409, "ExecutionIdReused", f"{body.id} was another request")
        return await _answer(request, runtime.program(body.id), 201 if new else 200)

    async def _wait(self, request: web.Request) -> web.Response:
        program = self._runtime(request).program(request.match_info["id"])
        return await _answer(request, program)

    async def _cancel(self, request: web.Request) -> web.Response:
        program = self._runtime(request).program(request.match_info["id"])
        program.end(ExecutionReason.CANCELLED, None)
        return await _answer(request, program)


async def _body(request: web.Request, kind: type[M]) -> M:
    try:
        return kind.model_validate_json(await request.read(), strict=True)
    except ValidationError as error:
        raise invalid(validation_detail(error.errors())) from error


async def _answer(request: web.Request, program: Program, status: int = 200) -> web.Response:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_seconds(request.query)):
            await program.over.wait()
    return _json(program.execution, status)


def _json(message: Message, status: int = 200) -> web.Response:
    return web.Response(body=message.to_json(), status=status, content_type="application/json")


def _content(told: Configure) -> tuple[object, ...]:
    """What may not change; the rest is the remaining life."""
    return told.session_uid, told.env, told.files
