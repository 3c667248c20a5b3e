"""The OpenAPI 3.1 document of the runtime's HTTP API."""

from collections import defaultdict
from typing import Any

from paddock_api.messages import Message, Problem
from paddock_api.openapi.schemas import components, prose, reference
from paddock_api.runtime_api import TAGS, refusals
from paddock_api.runtime_api.executions import EVENT_ID
from paddock_api.runtime_api.shapes import (
    BYTES,
    EVENT_STREAM,
    JSON,
    PROBLEM,
    RETRY_AFTER,
    Answer,
    Body,
    Header,
    JsonDict,
    Parameter,
    Refusal,
    Route,
)

SCHEME = "sandbox"
_BEARER_TEXT = """
A JWT (EdDSA with an Ed25519 key) for this one sandbox: `aud` is the sandbox's uid as a plain
string, `iat` and `exp` are whole seconds at most 60 apart. The operator signs; the sandbox holds
public keys only.
"""
_ABOUT = """
The HTTP API of every sandbox pod. Every error is a Problem (RFC 9457) with a stable code. Unknown
fields of a message are refused; what is absent is never written as null.
"""


def document() -> JsonDict:
    """As JSON data. No server is named: every sandbox has an address of its own."""
    routes = [route for group in TAGS.values() for route in group]
    requests = {route.body.model for route in routes if route.body and route.body.model}
    answered = {model for route in routes for answer in route.answers for model in _models(answer)}
    paths: dict[str, JsonDict] = defaultdict(dict)
    for tag, group in TAGS.items():
        for route in group:
            paths[route.path][route.method.lower()] = _operation(route, tag)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Paddock runtime", "version": "1", "description": prose(_ABOUT)},
        "tags": [{"name": tag} for tag in TAGS],
        "security": [{SCHEME: []}],
        "paths": dict(paths),
        "components": {
            "schemas": components(_sorted(requests), _sorted({*answered, Problem})),
            "securitySchemes": {
                SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": prose(_BEARER_TEXT),
                }
            },
        },
    }


def refused(route: Route) -> tuple[Refusal, ...]:
    """All that an operation may say no with."""
    always = (refusals.UNAUTHORIZED, refusals.INTERNAL) if route.token else (refusals.INTERNAL,)
    return (*always, *route.refusals)


def _operation(route: Route, tag: str) -> JsonDict:
    operation: JsonDict = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [tag],
        "responses": {
            **{str(answer.status): _answer(answer) for answer in route.answers},
            **_problems(route),
        },
    }
    if route.description:
        operation["description"] = route.description
    if route.parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in route.parameters]
    if route.body:
        operation["requestBody"] = _body(route.body)
    if not route.token:
        operation["security"] = []
    return operation


def _parameter(parameter: Parameter) -> JsonDict:
    made: JsonDict = {
        "name": parameter.name,
        "in": parameter.where,
        "schema": dict(parameter.schema),
        "description": parameter.description,
    }
    if parameter.where == "path":
        made["required"] = True
    if parameter.example is not None:
        made["example"] = parameter.example
    return made


def _body(body: Body) -> JsonDict:
    described = {"description": body.description} if body.description else {}
    if body.model is None:
        return {**described, "content": {BYTES: {}}}
    return {**described, "required": True, "content": {JSON: {"schema": reference(body.model)}}}


def _answer(answer: Answer) -> JsonDict:
    content: JsonDict = {}
    if answer.model:
        content[JSON] = {"schema": reference(answer.model)}
    if answer.media:
        content[answer.media] = {} if answer.media == BYTES else {"schema": {"type": "string"}}
    if answer.events:
        events = [_event(name, model) for name, model in answer.events.items()]
        content[EVENT_STREAM] = {"schema": {"oneOf": events}}
    made: JsonDict = {"description": answer.description}
    if content:
        made["content"] = content
    if answer.headers:
        made["headers"] = _headers(answer.headers)
    if answer.links:
        made["links"] = {
            name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
            for name in answer.links
        }
    return made


def _event(name: str, model: type[Message]) -> JsonDict:
    """One event of a stream, whose data are JSON."""
    data = {
        "type": "string",
        "contentMediaType": JSON,
        "contentSchema": reference(model),
    }
    return {
        "title": name,
        "type": "object",
        "required": ["id", "event", "data"],
        "properties": {
            "id": {"type": "string", "pattern": f"^{EVENT_ID}$"},
            "event": {"const": name},
            "data": data,
        },
    }


def _problems(route: Route) -> dict[str, JsonDict]:
    """By status: its codes, and the headers that come with it."""
    by_status: dict[int, list[Refusal]] = defaultdict(list)
    for refusal in refused(route):
        by_status[refusal.status].append(refusal)
    return {str(status): _problem(route, by_status[status]) for status in sorted(by_status)}


def _problem(route: Route, found: list[Refusal]) -> JsonDict:
    [status] = {refusal.status for refusal in found}
    lines = [f"- `{refusal.code}`: {refusal.meaning}" for refusal in found]
    made: JsonDict = {"description": "\n".join(lines)}
    if route.method != "HEAD":
        codes = sorted(refusal.code for refusal in found)
        narrowed = {"properties": {"code": {"enum": codes}, "status": {"const": status}}}
        schema = {"allOf": [reference(Problem), narrowed]}
        made["content"] = {PROBLEM: {"schema": schema}}
    if headers := _HEADERS.get(status):
        made["headers"] = _headers(headers)
    return made


def _headers(headers: tuple[Header, ...]) -> JsonDict:
    return {
        header.name: {
            "description": header.description,
            "required": header.required,
            "schema": {"type": "string"},
        }
        for header in headers
    }


_LATER = (Header(RETRY_AFTER, "Seconds, where the same request may succeed later.", False),)
_HEADERS = {
    401: (Header("WWW-Authenticate", "`Bearer`."),),
    416: (Header("Content-Range", "How many bytes the file has."),),
    429: _LATER,
    503: _LATER,
}


def _models(answer: Answer) -> list[type[Message]]:
    return [*([answer.model] if answer.model else []), *answer.events.values()]


def _sorted(models: Any) -> list[type[Message]]:
    return sorted(models, key=lambda model: str(model.__name__))
