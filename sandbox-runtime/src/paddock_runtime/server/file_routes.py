"""Files over HTTP."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from paddock_api.files import MoveRequest
from paddock_runtime.file_protocol import MAX_LISTED
from paddock_runtime.server import file_headers, file_paths
from paddock_runtime.server.file_content import OpenFile
from paddock_runtime.server.http import Bodies, answer, hang_up
from paddock_runtime.server.problems import ProblemError, invalid
from paddock_runtime.server.query import duration, flag, refuse_unknown, whole_number
from paddock_runtime.server.sandbox import Sandbox

FILES, DIRECTORIES = "/v1/files/", "/v1/directories/"
PIECE = 256 << 10
STALL_SECONDS = 30.0
"""A client that takes or sends nothing for so long is hung up on: there are few transfers."""
LONGEST_TTL = 168 * 3600.0
"""Seconds; no session lives longer."""


class FileRoutes:
    def __init__(self, sandbox: Sandbox, bodies: Bodies) -> None:
        self._sandbox = sandbox
        self._files = sandbox.files
        self._bodies = bodies

    def add_to(self, router: web.UrlDispatcher) -> None:
        # `.` does not match a newline, which a name may hold.
        file, directory = FILES + r"{path:[\s\S]*}", DIRECTORIES + r"{path:[\s\S]*}"
        router.add_get(file, self.get, allow_head=False)
        router.add_head(file, self.head)
        router.add_put(file, self.put, expect_handler=_not_yet)
        router.add_delete(file, self.delete)
        for path in (DIRECTORIES.rstrip("/"), directory):
            router.add_get(path, self.list, allow_head=False)
            router.add_put(path, self.make_directory)
        router.add_post("/v1/move", self.move)

    async def get(self, request: web.Request) -> web.StreamResponse:
        path = self._file_path(request)
        with self._files.transfer():
            content = await self._files.open(path)
            try:
                part = file_headers.part_of(content.status, request.headers)
                response = await _prepared(request, part)
                await self._send(request, response, content, part)
            finally:
                content.close()
                self._sandbox.used()
        return response

    async def head(self, request: web.Request) -> web.StreamResponse:
        """Asking what is there is no use of the sandbox."""
        content = await self._files.open(self._file_path(request))
        content.close()
        part = file_headers.part_of(content.status, request.headers, whole=True)
        self._sandbox.metrics.file_operations["stat"] += 1
        return await _prepared(request, part)

    async def put(self, request: web.Request) -> web.Response:
        path = self._file_path(request)
        exclusive = file_headers.exclusive(request.headers)
        refuse_unknown(request.query, "mode", "ttl")
        mode = file_headers.mode_in(request.query.get("mode"))
        ttl = _ttl(request)
        with self._files.transfer():
            try:
                upload = await self._files.create(
                    path,
                    request.content_length or 0,
                    exclusive=exclusive,
                    expires=ttl is not None,
                )
                try:
                    async for data in _body(request):
                        await upload.write(data)
                    # A client that goes now does not stop what is done.
                    committing = self._files.commit(upload, mode, ttl)
                    info, created = await asyncio.shield(committing)
                finally:
                    upload.abort()
                    self._sandbox.used()
            except ProblemError as error:
                if exclusive and error.problem.code == "Exists":
                    raise ProblemError(412, "Exists", error.problem.detail) from error
                raise
        return answer(info, 201 if created else 200)

    async def delete(self, request: web.Request) -> web.Response:
        refuse_unknown(request.query, "recursive")
        path, recursive = self._file_path(request), flag(request.query, "recursive")
        await asyncio.shield(self._files.delete(path, recursive))
        self._sandbox.used()
        return web.Response(status=204)

    async def list(self, request: web.Request) -> web.Response:
        """Asking what is there is no use of the sandbox."""
        path = file_paths.path_of_target(request.raw_path, DIRECTORIES)
        refuse_unknown(request.query, "limit", "after")
        limit = whole_number(request.query, "limit", MAX_LISTED) or 0
        if not 1 <= limit <= MAX_LISTED:
            raise invalid(f"limit: {limit} is not from 1 to {MAX_LISTED}, the most of one page")
        after = file_paths.parse_name(file_paths.raw_parameter(request.raw_path, "after"), "after")
        self._sandbox.refuse_if_ending()
        return answer(await self._files.list(path, after, limit))

    async def make_directory(self, request: web.Request) -> web.Response:
        path = file_paths.path_of_target(request.raw_path, DIRECTORIES)
        self._sandbox.refuse_if_ending()
        info, created = await asyncio.shield(self._files.make_directory(path))
        self._sandbox.used()
        return answer(info, 201 if created else 200)

    async def move(self, request: web.Request) -> web.Response:
        wanted = await self._bodies.message(request, MoveRequest)
        source = file_paths.parse_path(wanted.source, "source")
        target = file_paths.parse_path(wanted.target, "target")
        if target.startswith(source + b"/"):
            raise invalid("target: it is inside of source, and nothing can be moved into itself")
        self._sandbox.refuse_if_ending()
        info = await asyncio.shield(self._files.move(source, target, wanted.overwrite))
        self._sandbox.used()
        return answer(info)

    def _file_path(self, request: web.Request) -> bytes:
        path = file_paths.path_of_target(request.raw_path, FILES)
        if not path:
            raise invalid("path: it is empty; name a file, such as /v1/files/data/in.csv")
        self._sandbox.refuse_if_ending()
        return path

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        content: OpenFile,
        part: file_headers.Part,
    ) -> None:
        metrics = self._sandbox.metrics
        offset, end = part.start, part.start + part.length
        while offset < end:
            try:
                data = await content.read(min(PIECE, end - offset), offset)
            except OSError as error:
                raise hang_up(request, f"the file cannot be read: {error.strerror}") from error
            if not data:
                raise hang_up(request, "the file became shorter while it was read")
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await response.write(data)
            except TimeoutError:
                raise hang_up(request, "the client takes nothing") from None
            offset += len(data)
            metrics.file_bytes["read"] += len(data)
        await response.write_eof()
        metrics.file_operations["read"] += 1


async def _prepared(request: web.Request, part: file_headers.Part) -> web.StreamResponse:
    response = web.StreamResponse(status=part.status, headers=part.headers)
    if part.status != 304:
        response.content_length = part.length
    await response.prepare(request)
    return response


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    """The content in pieces. Raises 408."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    while True:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                data = await request.content.readany()
        except TimeoutError:
            raise ProblemError(
                408, "RequestTimeout", f"the body: nothing came for {STALL_SECONDS:.0f} s"
            ) from None
        if not data:
            return
        yield data


async def _not_yet(request: web.Request) -> None:
    """The client is asked for the body once it is known that it is wanted."""


def _ttl(request: web.Request) -> float | None:
    seconds = duration(request.query, "ttl")
    if seconds is not None and not 0 < seconds <= LONGEST_TTL:
        raise invalid(f"ttl: {request.query['ttl'][:40]} is not more than 0s and at most 168h")
    return seconds
