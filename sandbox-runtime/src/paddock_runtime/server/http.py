"""What handlers share: messages in and out, and errors as problems."""

import asyncio
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from paddock_api.messages import Message
from paddock_runtime.server.json_size import VALUES, values_in
from paddock_runtime.server.problems import ProblemError, invalid, validation_detail

BODY_BYTES = 4 << 20
"""Of one request: 1 MiB of code and 1 MiB of stdin, as JSON may write them."""
STALL_SECONDS = 30.0
BODIES_BYTES = 16 << 20
"""Of all requests whose bodies are being read at once."""
M = TypeVar("M", bound=Message)


class Bodies:
    """Reads bodies, of all clients together no more than the runtime has memory for."""

    def __init__(self) -> None:
        self._reading = 0

    async def read(self, request: web.Request) -> bytes:
        """The whole body. Raises 408, 411, 413, 422, 429."""
        encoding = request.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise invalid(
                f"Content-Encoding: {encoding[:40]!r} is not taken; send the body as it is"
            )
        size = request.content_length
        if size is None and request.body_exists:
            raise ProblemError(411, "LengthRequired", "send the body with a Content-Length")
        size = size or 0
        if size > BODY_BYTES:
            raise ProblemError(
                413, "BodyTooLarge", f"the body of {size} bytes is larger than {BODY_BYTES}"
            )
        if self._reading + size > BODIES_BYTES:
            raise ProblemError(
                429,
                "TooManyBodies",
                f"bodies of {self._reading} bytes are being received already; send it again later",
                Retry_After="1",
            )
        self._reading += size
        try:
            # Not request.read(), which keeps the bytes for as long as the answer takes.
            async with asyncio.timeout(STALL_SECONDS):
                return await request.content.read()
        except TimeoutError as error:
            raise ProblemError(
                408, "RequestTimeout", f"the body did not come within {STALL_SECONDS:.0f} s"
            ) from error
        finally:
            self._reading -= size

    async def message(self, request: web.Request, kind: type[M]) -> M:
        """Raises, besides what `read` does, 413 again and 422 naming the field."""
        body = await self.read(request)
        if not body:
            raise invalid("the body: there is none, and this call takes a JSON object")
        values = values_in(body)
        if values > VALUES:
            raise ProblemError(
                413,
                "BodyTooLarge",
                f"the body has room for {values} JSON values, {VALUES} are allowed; "
                "put data into files",
            )
        try:
            return kind.model_validate_json(body, strict=True)
        except ValidationError as error:
            raise invalid(validation_detail(error.errors(include_url=False))) from error


def answer(message: Message, status: int = 200) -> web.Response:
    return web.Response(body=message.to_json(), status=status, content_type="application/json")


def problem(error: ProblemError) -> web.Response:
    return web.Response(
        body=error.problem.to_json(),
        status=error.status,
        content_type="application/problem+json",
        headers=error.headers,
    )


def from_http(error: web.HTTPException, request: web.Request) -> ProblemError:
    """What aiohttp itself refuses."""
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


def hang_up(request: web.Request, why: str) -> ConnectionError:
    """What was begun cannot be ended as promised, and no client must take it for whole."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError(why)
