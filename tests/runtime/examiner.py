"""The one who asks a sandbox what schemathesis makes up, and judges the answers.

Requests are changed in two ways: what they are about is there more often than by chance, and
none ends the sandbox.
"""

import itertools
from typing import Any

import requests
from schemathesis import Case
from schemathesis.checks import CheckContext
from schemathesis.core.failures import Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.runtime.box import Box

HOUR = 3_600_000


class Examiner:
    """Asks one sandbox. What requests are about is there, two times of three."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._session = requests.Session()
        self._numbers = itertools.count(1)
        self._execution = ""
        self._made("PUT", "/v1/directories/data")  # the example of a working directory
        self.answered: dict[str, int] = {}
        """Good answers by operation."""

    def hold_to_it(self, case: Case) -> None:
        """Send it and judge the answer; a context that it made is deleted."""
        self._prepare(case)
        response = case.call(**self.arguments())
        self.judge(response, case)
        if case.operation.label == "POST /v1/contexts" and response.status_code == 201:
            self._forget(response.json()["id"])

    def arguments(self) -> dict[str, Any]:
        """For every call, with a token that has just been signed."""
        return {
            "base_url": f"http://{self._box.host}:{self._box.port}",
            "session": self._session,
            "headers": {"Authorization": f"Bearer {self._box.token()}"},
        }

    def judge(self, response: Response, case: Case) -> None:
        """Raises FailureGroup."""
        arguments = self.arguments()
        case.validate_response(
            response,
            headers=arguments["headers"],
            additional_checks=[takes_what_is_well_formed],
            excluded_checks=[positive_data_acceptance],
            transport_kwargs=arguments,
        )
        if response.status_code < 300:
            label = case.operation.label
            self.answered[label] = self.answered.get(label, 0) + 1

    def leave(self) -> None:
        """End what runs, forget contexts."""
        for state in ("Running", "Pending"):
            status, page = self._box.call("GET", f"/v1/executions?state={state}&limit=1000")
            assert status == 200, page
            for execution in page["executions"]:
                self._box.cancel(execution["id"])
        for context in self._box.call("GET", "/v1/contexts")[1]["contexts"]:
            self._forget(context["id"])

    def close(self) -> None:
        self.leave()
        self._session.close()

    def _prepare(self, case: Case) -> None:
        number = next(self._numbers)
        path, body = case.operation.path, case.body
        tame(case)
        if path == "/v1/executions" and isinstance(body, dict) and body.get("id") == "run-1":
            body["id"] = f"made-{number // 2}"  # it is the example, which most of them have
        if case.meta is None or case.meta.is_negative_at(ParameterLocation.PATH) or not number % 3:
            return
        if path.startswith("/v1/executions/{id}"):
            case.path_parameters["id"] = self._an_execution(running=bool(number % 2))
        elif path.startswith("/v1/contexts/{id}"):
            self._made("POST", "/v1/contexts", {"id": "notebook"})
            case.path_parameters["id"] = "notebook"
        elif path == "/v1/files/{path}":
            self._made("PUT", "/v1/files/data/in.csv", raw=b"a,b\n1,2\n")
            case.path_parameters["path"] = "data/in.csv"
        elif path == "/v1/move" and case.meta.generation.mode.is_positive:
            self._made("PUT", "/v1/files/data/in.csv", raw=b"a,b\n1,2\n")
            case.body["source"] = "data/in.csv"
        elif path == "/v1/directories/{path}":
            self._made("PUT", "/v1/directories/data")
            case.path_parameters["path"] = "data"

    def _forget(self, context: str) -> None:
        assert self._box.call("DELETE", f"/v1/contexts/{context}")[0] == 204

    def _made(self, method: str, path: str, body: object = None, **more: Any) -> None:
        status, told = self._box.call(method, path, body, **more)
        assert status in (200, 201), told

    def _an_execution(self, running: bool) -> str:
        """One that reads its input until it is ended, or one that has ended."""
        if not running:
            return str(self._box.run(id="ended", argv=["echo", "a", "b"])["id"])
        known = self._execution and self._box.get(self._execution)["state"] != "Finished"
        if not known:
            self._execution = self._box.submit(argv=["cat"], stdinOpen=True)["id"]
        return self._execution


def tame(case: Case) -> None:
    """A sandbox that is told to end would be of no more use here. And no schema says that no two
    files may have one path, how many bytes a name has, or what lies in what."""
    asked = case.body
    if not isinstance(asked, dict):
        return
    source, target = asked.get("source"), asked.get("target")
    if isinstance(source, str) and isinstance(target, str) and target.startswith(f"{source}/"):
        asked["target"] = "elsewhere"
    for field in ("expiresInMs", "idleTimeoutMs"):
        value = asked.get(field)
        if isinstance(value, int | float) and 0 < value < HOUR and value == int(value):
            asked[field] = value + HOUR
    files = asked.get("files")
    if isinstance(files, list) and all(isinstance(file, dict) for file in files):
        asked["files"] = list({str(file.get("path"))[:60]: file for file in files}.values())
        for file in asked["files"]:
            if isinstance(file.get("path"), str):
                file["path"] = file["path"][:60]


def takes_what_is_well_formed(_: CheckContext, response: Response, case: Case) -> None:
    """Any other refusal is about the sandbox, its template or what was done before."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive and response.status_code == 422 and response.json()["code"] == "InvalidRequest":
        raise Failure(
            operation=case.operation.label,
            title="The document allows what is refused",
            message=response.text,
        )
