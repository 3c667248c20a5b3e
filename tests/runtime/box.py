"""A sandbox from outside: what two processes on this machine and a pod of a cluster both offer.

`Box` is the HTTP client of one sandbox and the few things that may happen to it from outside;
`Template` is what it is made of. Cases that hold for every sandbox are written against these.
"""

import contextlib
import http.client
import itertools
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from tests.runtime.waiting import eventually

from paddock_api.messages import Limits

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, eq=False)
class Template:
    """Limits and environment of a sandbox; `limits` are all that its executions may use."""

    name: str
    limits: Limits = field(default_factory=Limits)
    env: Mapping[str, str] = field(default_factory=dict)
    memory: bool = False
    """Whether the memory limit is what it is about, so that it has to be a real one."""


class ElsewhereError(Exception):
    """The process asked about is not one of this machine's."""


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Box(ABC):
    """`key` signs tokens for `audience`, the sandbox's uid; the runtime answers at host:port."""

    host: str
    port: int
    key: Any
    audience: str

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    @abstractmethod
    def end(self) -> None:
        """Ask for its end from outside, as the kubelet does, and do not wait for it."""

    @abstractmethod
    def crash_runtime(self) -> None:
        """SIGKILL to the runtime, which is started again; `wait_ready` before going on."""

    @abstractmethod
    def kill_fork_server(self) -> None:
        """SIGKILL to the process that every execution is forked from."""

    @abstractmethod
    def crash_workspace(self) -> None:
        """SIGKILL to the first process of the workspace, which is started again."""

    @abstractmethod
    def runtime_pid(self) -> int:
        """The runtime's process, as this machine sees it. Raises ElsewhereError, as do the
        three before it, where it sees none."""

    def token(self, key: Any = None, algorithm: str = "EdDSA", **claims: Any) -> str:
        now = int(time.time())
        whole = {"iat": now, "exp": now + 60, "aud": self.audience, **claims}
        whole = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(whole, self.key if key is None else key, algorithm=algorithm)

    def connect(self, timeout: float = 40) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def exchange(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str | None = None,
        raw: bytes | None = None,
        connection: http.client.HTTPConnection | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request and the whole answer; over a connection of its own if none is given."""
        own = connection or self.connect()
        try:
            answer = self._ask(own, method, path, body, token, raw, headers)
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            if connection is None:
                own.close()

    def call(self, method: str, path: str, body: object = None, **more: Any) -> tuple[int, Any]:
        """Status and body, decoded where it is JSON."""
        answer = self.exchange(method, path, body, **more)
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, answer.json() if is_json else answer.body.decode()

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        body: object = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer to be read bit by bit; leaving the block is hanging up."""
        connection = self.connect()
        try:
            answer = self._ask(connection, method, path, body, None, raw, headers)
            with answer:
                yield answer
        finally:
            connection.close()

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: object,
        token: str | None,
        raw: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> http.client.HTTPResponse:
        data = raw if raw is not None else None if body is None else _json(body)
        bearer = {"Authorization": f"Bearer {token if token is not None else self.token()}"}
        connection.request(method, path, data, {**bearer, **(headers or {})})
        return connection.getresponse()

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("GET", "/readyz")[0] == 200
        return False

    def wait_ready(self) -> None:
        try:
            eventually(self.is_ready, "ready")
        except AssertionError as error:
            error.add_note(self.why())
            raise

    def why(self) -> str:
        """What its logs say, for people."""
        return ""

    def new_id(self) -> str:
        return f"x{next(self._numbers)}"

    def submit(self, query: str = "", **request: Any) -> dict[str, Any]:
        request.setdefault("id", self.new_id())
        status, answer = self.call("POST", f"/v1/executions{query}", request)
        assert status in (200, 201), answer
        assert isinstance(answer, dict)
        return answer

    def run(self, **request: Any) -> dict[str, Any]:
        """An execution, ended."""
        answer = self.submit("?wait=25s", **request)
        assert answer["state"] == "Finished", answer
        return answer

    def python(self, code: str, **request: Any) -> dict[str, Any]:
        return self.run(language="python", code=code, **request)

    def bash(self, code: str, **request: Any) -> dict[str, Any]:
        return self.run(language="bash", code=code, **request)

    def get(self, identity: str, query: str = "") -> dict[str, Any]:
        status, answer = self.call("GET", f"/v1/executions/{identity}{query}")
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def cancel(self, identity: str, query: str = "?wait=10s") -> dict[str, Any]:
        status, answer = self.call("DELETE", f"/v1/executions/{identity}{query}")
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer


def text(execution: dict[str, Any], stream: str = "stdout") -> str:
    output = execution[stream]
    return str(output["head"] + output["tail"])


def _json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
