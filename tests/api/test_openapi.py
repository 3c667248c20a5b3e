"""The OpenAPI document: valid, closed, and about the runtime that there is."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import schemathesis

from paddock_api.openapi.__main__ import main, render
from paddock_api.openapi.document import document
from paddock_api.runtime_api import REFUSALS, ROUTES, executions, files, sandbox
from paddock_api.runtime_api.parameters import WAIT_PATTERN
from paddock_runtime import file_protocol, server
from paddock_runtime.server import app, execution_routes, file_problems, query
from paddock_runtime.server.problems import ProblemError

SERVER = Path(server.__file__).parent


def test_the_document_is_openapi() -> None:
    schemathesis.openapi.from_dict(document()).validate()


def test_the_document_of_the_checkout_is_up_to_date(tmp_path: Path) -> None:
    assert main(["--out", str(Path(__file__).parents[2] / "docs" / "reference"), "--check"]) == 0
    assert main(["--out", str(tmp_path), "--check"]) == 1
    assert main(["--out", str(tmp_path)]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == render()


def test_names_no_host() -> None:
    assert not re.findall("://", "".join(render().values()))
    assert "servers" not in document()


def test_every_message_is_closed() -> None:
    messages = document()["components"]["schemas"]
    objects = {name for name, schema in messages.items() if schema["type"] == "object"}
    assert {"ExecutionRequest", "Execution", "FileInfo", "Problem"} <= objects
    for name in objects:
        assert messages[name]["additionalProperties"] is False, name


def test_answers_are_never_null_and_say_what_is_always_there() -> None:
    execution = document()["components"]["schemas"]["Execution"]
    assert "null" not in repr(execution)
    assert {"id", "state", "stdout", "truncated"} <= set(execution["required"])
    assert not {"reason", "exitCode"} & set(execution["required"])


def test_every_operation_and_field_is_described() -> None:
    whole = document()
    for path in whole["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert all(found["description"] for found in operation.get("parameters", ()))
    for name, schema in whole["components"]["schemas"].items():
        assert schema["description"], name
    output = whole["components"]["schemas"]["OutputEvent"]["properties"]
    assert output["omitted"]["description"].startswith("Bytes before `offset`")


def test_operations_have_one_id_each() -> None:
    ids = [route.operation for route in ROUTES]
    assert len(set(ids)) == len(ids)
    linked = {name for route in ROUTES for answer in route.answers for name in answer.links}
    assert linked <= set(ids)


def test_the_runtime_has_these_routes_and_no_others() -> None:
    nothing = SimpleNamespace(executions=None, contexts=None, files=None)
    made = app.make_app(cast(Any, nothing), cast(Any, None), cast(Any, None))
    found = {
        (route.method, resource.canonical)
        for resource in made.router.resources()
        for route in resource
    }
    assert found == {(route.method, route.path) for route in ROUTES}


def test_these_are_the_parameters_and_headers_that_are_read() -> None:
    documented = {(found.where, found.name) for route in ROUTES for found in route.parameters}
    queries = {name for where, name in documented if where == "query"}
    assert set(_names_read("query")) == queries
    headers = {name for where, name in documented if where == "header"}
    other = {"Accept", "Authorization", "Content-Encoding", "Expect"}
    assert set(_names_read("headers")) - other == headers


def test_these_are_the_codes_of_all_problems() -> None:
    documented = {(refusal.status, refusal.code) for refusal in REFUSALS}
    used = {(found.status, found.code) for route in ROUTES for found in route.refusals}
    assert documented - used == {(500, "InternalError"), (401, "Unauthorized")}
    assert set(_problems()) == documented


def test_bounds_are_the_runtime_s() -> None:
    assert executions.PAGE_LIMIT == execution_routes.PAGE_LIMIT
    assert executions.PAGE == execution_routes.PAGE
    assert sandbox.JOURNAL_OUTPUT_LIMIT == app.JOURNAL_OUTPUT_LIMIT
    assert files.LISTED == file_protocol.MAX_LISTED


@pytest.mark.parametrize("unit", ["ms", "s", "m", "h"])
def test_waits_are_documented_up_to_the_longest(unit: str) -> None:
    for count in itertools.chain(range(70), range(59_990, 60_010)):
        text = f"{count}{unit}"
        try:
            query.wait_seconds({"wait": text})
        except ProblemError:
            assert not re.search(WAIT_PATTERN, text), text
        else:
            assert re.search(WAIT_PATTERN, text) or (unit, count) in (("m", 0), ("h", 0)), text


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the server's sources with what is called."""
    for path in SERVER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


def _names_read(what: str) -> Iterator[str]:
    """Literal names of query parameters or of headers."""
    readers = {"whole_number", "duration", "flag", "word", "file_paths.raw_parameter"}
    for called, node in _calls():
        match node.args:
            case [_, ast.Constant(str(name)), *_] if what == "query" and called in readers:
                yield name
            case [ast.Constant(str(name)), *_] if re.search(rf"^(request\.)?{what}\.get$", called):
                yield name


def _problems() -> Iterator[tuple[int, str]]:
    """Status and code of every one that the sources spell out."""
    for called, node in _calls():
        match called, node.args:
            case "ProblemError", [ast.Constant(int(status)), ast.Constant(str(code)), *_]:
                yield status, code
            case "_again" | "unavailable", [ast.Constant(str(code)), *_]:
                yield 503, code
    for code, (status, _) in file_problems._SAID.items():
        yield status, code
