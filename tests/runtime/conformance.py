"""Whether a sandbox does what the OpenAPI document says, asked by schemathesis.

It makes requests that the document allows and requests that it does not, and judges the answers:
status, content type, headers and body are documented, what is well-formed is taken, what is not
is refused, nobody is let in without a token, and nothing is a bug.
"""

import contextlib
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation, BaseSchema
from tests.runtime.examiner import Examiner

from paddock_api.messages import Limits
from paddock_api.openapi.document import document as openapi
from paddock_api.runtime_api import ROUTES

LIMITS = Limits(timeout_ms=300, output_bytes=4096, file_bytes=1 << 20, concurrency=8)
"""Of the sandbox: programs are made up, and none shall take long."""


def schema() -> BaseSchema:
    """The document. Of languages it names those that the template offers."""
    whole = openapi()
    messages = whole["components"]["schemas"]
    messages["ExecutionRequest"]["properties"]["language"]["anyOf"][0]["enum"] = ["python", "bash"]
    _without_long_texts(messages)
    made = schemathesis.openapi.from_dict(whole)
    made.config.generation.update(with_security_parameters=False)  # `ignored_auth` asks without
    return made


def examine(document: BaseSchema, examiner: Examiner, tries: int) -> set[str]:
    """Every operation, with the same requests every time. Raises what is wrong with each.

    Returns the operations that refused everything, of which little is known then.
    """
    wrong: list[BaseException] = []
    for found in document.get_all_operations():
        operation = found.ok()
        try:
            _worked_out(document, operation, examiner)
            for mode in document.config.generation.modes:
                _at_random(operation, examiner, mode, tries)
        except (Exception, FailureGroup) as error:
            wrong.append(error)
    if wrong:
        raise BaseExceptionGroup("the sandbox and the document disagree", wrong)
    return {f"{route.method} {route.path}" for route in ROUTES} - examiner.answered.keys()


def _worked_out(document: BaseSchema, operation: APIOperation, examiner: Examiner) -> None:
    """Each bound and each way to break it, methods that there are not, broken bodies."""
    generation = document.config.generation
    for case in document.iter_coverage_cases(
        operation, generation_modes=generation.modes, generation_config=generation
    ):
        examiner.hold_to_it(case)


def _at_random(
    operation: APIOperation, examiner: Examiner, mode: GenerationMode, tries: int
) -> None:
    @settings(
        max_examples=tries,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        examiner.hold_to_it(case)

    with contextlib.suppress(Unsatisfiable):  # where there is nothing that can be wrong
        ask()


def walk(document: BaseSchema, examiner: Examiner) -> None:
    """What follows from each other: an execution to its end, a context with code in it."""

    def ask(method: str, path: str, status: int, **case: Any) -> Any:
        operation = document[path][method]
        asked = operation.Case(**case)
        answer = asked.call(**examiner.arguments())
        examiner.judge(answer, asked)
        assert answer.status_code == status, answer.text
        is_json = "json" in answer.headers.get("content-type", [""])[0]
        return answer.json() if is_json else answer.text

    one = {"path_parameters": {"id": "fed"}}
    cat = {"id": "fed", "argv": ["cat"], "stdinOpen": True}
    ask("POST", "/v1/executions", 201, body=cat)
    ask("POST", "/v1/executions", 200, body=cat)
    ask("POST", "/v1/executions", 409, body={**cat, "stdinOpen": False})
    written = ask("POST", "/v1/executions/{id}/stdin", 200, body=b"hello\n", **one)
    assert written == {"accepted": 6, "closed": False}
    ask("POST", "/v1/executions/{id}/signal", 200, body={"signal": "SIGTERM"}, **one)
    assert "event: exited" in ask("GET", "/v1/executions/{id}/events", 200, **one)
    ask("POST", "/v1/executions/{id}/stdin", 409, body=b"more", **one)
    ended = ask("DELETE", "/v1/executions/{id}", 200, **one)
    assert (ended["reason"], ended["signal"]) == ("Signaled", "SIGTERM")

    context = {"path_parameters": {"id": "kept"}}
    ask("POST", "/v1/contexts", 201, body={"id": "kept"})
    run = {"language": "python", "code": "20 + 22", "context": "kept"}
    wait = {"query": {"wait": "20s"}}
    [result] = ask("POST", "/v1/executions", 201, body={"id": "cell", **run}, **wait)["results"]
    assert result["data"]["text/plain"] == "42"
    gone = {**run, "id": "end", "code": "import os; os._exit(3)"}
    assert ask("POST", "/v1/executions", 201, body=gone, **wait)["reason"] == "ContextDied"
    ask("POST", "/v1/executions", 409, body={"id": "late", **run})
    ask("POST", "/v1/contexts/{id}/restart", 200, **context)
    ask("DELETE", "/v1/contexts/{id}", 204, **context)
    ask("GET", "/v1/contexts/{id}", 404, **context)


def _without_long_texts(node: Any) -> None:
    """A text with a pattern and both lengths takes schemathesis up to 20 s to draw."""
    if isinstance(node, dict):
        if {"pattern", "minLength", "maxLength"} <= node.keys():
            del node["maxLength"]
        for value in node.values():
            _without_long_texts(value)
    elif isinstance(node, list):
        for value in node:
            _without_long_texts(value)
