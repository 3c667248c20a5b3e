"""Requests to the runtime in one pod, with errors that say whether asking again can help.

The address is always the pod's, as the API server told it; no redirect is followed and
nothing that a pod answers is used to reach anything else.
"""

import asyncio
from typing import TypeVar

import aiohttp
from pydantic import ValidationError

from paddock_api.executions import Execution, ExecutionRequest
from paddock_api.messages import RUNTIME_PORT, Configure, Configured, Message, Problem
from paddock_operator.runtime_client.tokens import TokenIssuer
from paddock_operator.telemetry import metrics

WAIT_S = 20
"""One long poll; the runtime answers at the end of the execution or after this."""
ANSWER_TIMEOUT_S = 10
"""On top of the long poll: a runtime that is silent for longer is asked anew."""
CONNECT_TIMEOUT_S = 2
TAIL_BYTES = 2048
MAX_ANSWER_BYTES = 1 << 20
"""An answer holds two tails and some numbers; more than this is not a runtime of ours."""

M = TypeVar("M", bound=Message)


class RuntimeUnavailable(Exception):
    """No usable answer: connection, timeout, 5xx or nonsense. Asking again may help."""


class RuntimeRefusal(Exception):
    """A 4xx: the runtime understood and refused."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


class RuntimeClient:
    """One connection pool for all pods."""

    def __init__(self, tokens: TokenIssuer) -> None:
        self._tokens = tokens
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(
                total=WAIT_S + ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def ready(self, ip: str) -> bool:
        """Whether /readyz answers 200 now."""
        timeout = aiohttp.ClientTimeout(total=CONNECT_TIMEOUT_S)
        try:
            async with self._session.get(
                f"{_base(ip)}/readyz", timeout=timeout, allow_redirects=False
            ) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def configure(self, ip: str, sandbox_uid: str, body: Configure) -> Configured:
        """`POST /v1/configure`."""
        return await self._call("POST", ip, sandbox_uid, "/v1/configure", Configured, body)

    async def execute(
        self, ip: str, sandbox_uid: str, body: ExecutionRequest, traceparent: str | None
    ) -> Execution:
        """`POST /v1/executions`, waiting for its end for up to WAIT_S."""
        path = f"/v1/executions?wait={WAIT_S}s&maxOutput={TAIL_BYTES}"
        answer = await self._call("POST", ip, sandbox_uid, path, Execution, body, traceparent)
        return _of(body.id, answer)

    async def wait(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        """`GET /v1/executions/{id}`, waiting for its end for up to WAIT_S."""
        path = f"/v1/executions/{execution_id}?wait={WAIT_S}s&maxOutput={TAIL_BYTES}"
        return _of(execution_id, await self._call("GET", ip, sandbox_uid, path, Execution))

    async def cancel(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        """`DELETE /v1/executions/{id}`, waiting for its end for up to WAIT_S.

        One that has ended stays as it is, so it may be asked again. Raises RuntimeRefusal with
        code NotFound where the execution was never accepted.
        """
        path = f"/v1/executions/{execution_id}?wait={WAIT_S}s&maxOutput={TAIL_BYTES}"
        return _of(execution_id, await self._call("DELETE", ip, sandbox_uid, path, Execution))

    async def _call(
        self,
        method: str,
        ip: str,
        sandbox_uid: str,
        path: str,
        answer: type[M],
        body: Message | None = None,
        traceparent: str | None = None,
    ) -> M:
        headers = {"Authorization": f"Bearer {self._tokens.token(sandbox_uid)}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if traceparent is not None:
            headers["traceparent"] = traceparent
        route = path.split("?")[0].split("/")[2]
        try:
            async with self._session.request(
                method,
                _base(ip) + path,
                headers=headers,
                data=body.to_json() if body is not None else None,
                allow_redirects=False,
            ) as response:
                raw = await _read(response)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            metrics.RUNTIME_REQUESTS.labels(route, type(error).__name__).inc()
            raise RuntimeUnavailable(f"{route}: {type(error).__name__}: {error}") from error
        metrics.RUNTIME_REQUESTS.labels(route, str(status)).inc()
        return _parse(answer, status, raw, route)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, bounded: a pod must not fill the operator's memory."""
    raw = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError(f"answer longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(raw)


def _parse(answer: type[M], status: int, raw: bytes, route: str) -> M:
    if 200 <= status < 300:
        try:
            return answer.model_validate_json(raw)
        except ValidationError as error:
            raise RuntimeUnavailable(f"{route}: not a {answer.__name__}") from error
    if status in (401, 408, 429) or not 400 <= status < 500:
        # 401: a clock that is off or a key that is being rotated; both may pass.
        raise RuntimeUnavailable(f"{route}: HTTP {status}")
    try:
        problem = Problem.model_validate_json(raw)
    except ValidationError as error:
        raise RuntimeUnavailable(f"{route}: HTTP {status} without a problem") from error
    raise RuntimeRefusal(status, problem.code, problem.detail)


def _of(execution_id: str, answer: Execution) -> Execution:
    if answer.id != execution_id:
        raise RuntimeUnavailable(
            f"executions: asked for {execution_id}, answered for {answer.id[:128]!r}"
        )
    return answer


def _base(ip: str) -> str:
    return f"http://[{ip}]:{RUNTIME_PORT}" if ":" in ip else f"http://{ip}:{RUNTIME_PORT}"


async def pause(attempt: int) -> None:
    """Between attempts: 50 ms doubling to 2 s."""
    await asyncio.sleep(min(2.0, 0.05 * 2 ** min(attempt, 10)))
