"""Schemas of messages: pydantic's, with what the docstrings say.

Requests may say null where something may be absent; answers never do, and always have what has
another default than null (`Message.to_json`).
"""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from paddock_api.messages import Message
from paddock_api.runtime_api.shapes import JsonDict

PREFIX = "#/components/schemas/"
_NULL = {"type": "null"}


def reference(model: type[Message]) -> JsonDict:
    return {"$ref": PREFIX + model.__name__}


def components(
    requests: Iterable[type[Message]], answers: Iterable[type[Message]]
) -> dict[str, JsonDict]:
    """By name; what is reached from several messages is there once.

    Raises ValueError where something is both asked for and answered and would differ.
    """
    asked, told = list(requests), list(answers)
    _, whole = models_json_schema(
        [
            *((model, "validation") for model in asked),
            *((model, "serialization") for model in told),
        ],
        by_alias=True,
        ref_template=PREFIX + "{model}",
    )
    schemas: dict[str, JsonDict] = whole["$defs"]
    in_answers = _reached(schemas, [model.__name__ for model in told])
    in_requests = _reached(schemas, [model.__name__ for model in asked])
    documented = _documented([*asked, *told])
    for name, schema in schemas.items():
        _describe(schema, documented[name])
        if name in in_answers:
            before = repr(schema)
            _as_answered(schema)
            if name in in_requests and repr(schema) != before:
                raise ValueError(f"{name} means one thing in requests and another in answers")
        _tidy(schema)
    return schemas


def prose(text: str) -> str:
    """A docstring as paragraphs of one line each."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in paragraphs)


def member_docs(kind: type) -> dict[str, str]:
    """The docstrings under a class's fields or members, by their names in Python."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for line, following in zip(definition.body, definition.body[1:], strict=False):
        match line, following:
            case (
                ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]),
                ast.Expr(ast.Constant(str(text))),
            ):
                found[name] = prose(text)
    return found


def _documented(models: Iterable[type[BaseModel]]) -> dict[str, type]:
    """Every message and vocabulary that these are made of, by name."""
    found: dict[str, type] = {}
    waiting: list[Any] = list(models)
    while waiting:
        kind = waiting.pop()
        if not isinstance(kind, type):
            waiting.extend(getattr(kind, "__args__", ()))
        elif issubclass(kind, BaseModel) and kind.__name__ not in found:
            found[kind.__name__] = kind
            waiting.extend(field.annotation for field in kind.model_fields.values())
        elif issubclass(kind, Enum):
            found[kind.__name__] = kind
        else:
            waiting.extend(getattr(kind, "__args__", ()))
    return found


def _describe(schema: JsonDict, kind: type) -> None:
    texts = member_docs(kind)
    lines = [prose(kind.__doc__ or "")]
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if name in texts:
                schema["properties"][field.alias]["description"] = texts[name]
    elif issubclass(kind, Enum):
        lines += [f"- `{kind[name].value}`: {text}" for name, text in texts.items()]
    schema["description"] = "\n".join([lines[0], *([""] if lines[1:] else []), *lines[1:]])


def _as_answered(schema: JsonDict) -> None:
    """Absent instead of null."""
    properties = schema.get("properties", {})
    for value in properties.values():
        kinds = value.get("anyOf", [])
        if _NULL in kinds:
            [kind] = [kind for kind in kinds if kind != _NULL]
            del value["anyOf"]
            value.update(kind)
    required = [name for name, value in properties.items() if value.get("default", 0) is not None]
    if required:
        schema["required"] = required
    for value in properties.values():
        value.pop("default", None)


def _tidy(node: Any) -> None:
    """Names that only repeat the field's are left out, and what is absent by default."""
    match node:
        case dict():
            if isinstance(node.get("title"), str) and ("type" in node or "anyOf" in node):
                del node["title"]
            if "default" in node and node["default"] is None:
                del node["default"]
            for value in node.values():
                _tidy(value)
        case list():
            for value in node:
                _tidy(value)


def _reached(schemas: dict[str, JsonDict], names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_references(schemas[name]))
    return found


def _references(node: Any) -> Iterator[str]:
    match node:
        case {"$ref": str(target), **more}:
            yield target.removeprefix(PREFIX)
            yield from _references(more)
        case dict():
            for value in node.values():
                yield from _references(value)
        case list():
            for value in node:
                yield from _references(value)
