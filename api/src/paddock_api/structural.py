"""From pydantic's JSON schema to the structural schema that Kubernetes takes.

Structural means: types everywhere, no references, no alternatives, no null. Descriptions end
with an example, because `kubectl explain` shows nothing else of it.
"""

import json
from typing import Any

from pydantic import BaseModel

from paddock_api.rules import FOR_PARENT, VALIDATIONS, JsonDict, for_parent

_NOISE = ("title", "examples", "discriminator", "const")
_EMPTY: tuple[Any, ...] = (None, "", [], {})


def structural_schema(model: type[BaseModel]) -> JsonDict:
    """The structural schema of a model, without null and with static defaults.

    Raises ValueError for what Kubernetes cannot express (a union other than with None).
    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}))


def _convert(node: JsonDict, definitions: JsonDict) -> JsonDict:
    """One schema node, references resolved; inner descriptions and rules are kept below outer."""
    node = _merge_reference(node, definitions)
    node = _merge_optional(node, definitions)
    result: JsonDict = {}
    default = _without_empty(node.get("default"))
    if description := _description(node, default):
        result["description"] = description
    for key, value in node.items():
        if key in _NOISE or key in ("$defs", "description", "properties", "items", "default"):
            continue
        result[key] = value
    if "properties" in node:
        result["properties"] = {
            name: _convert(child, definitions) for name, child in node["properties"].items()
        }
        moved = [
            for_parent(name, entry)
            for name, child in result["properties"].items()
            for entry in child.pop(FOR_PARENT, [])
        ]
        if moved:
            result[VALIDATIONS] = [*result.get(VALIDATIONS, []), *moved]
    if "items" in node:
        result["items"] = _convert(node["items"], definitions)
        result["items"].pop("description", None)
    if default not in _EMPTY:
        result["default"] = default
    if node.get("type") == "integer":
        result.setdefault("format", "int64")
    return result


def _merge_reference(node: JsonDict, definitions: JsonDict) -> JsonDict:
    if "$ref" not in node:
        return node
    target = _merge_reference(definitions[node["$ref"].rpartition("/")[2]], definitions)
    return _overlay(target, {key: value for key, value in node.items() if key != "$ref"})


def _merge_optional(node: JsonDict, definitions: JsonDict) -> JsonDict:
    """`anyOf: [x, null]` becomes x: what may be None in Python may be absent on the wire."""
    if "anyOf" not in node:
        return node
    real = [entry for entry in node["anyOf"] if entry != {"type": "null"}]
    if len(real) != 1:
        raise ValueError(f"not structural: {json.dumps(node)}")
    outer = {key: value for key, value in node.items() if key != "anyOf"}
    return _overlay(_merge_reference(real[0], definitions), outer)


def _overlay(inner: JsonDict, outer: JsonDict) -> JsonDict:
    """`outer` wins over `inner`, and rules of both apply."""
    merged = {**inner, **outer}
    if VALIDATIONS in inner and VALIDATIONS in outer:
        merged[VALIDATIONS] = inner[VALIDATIONS] + outer[VALIDATIONS]
    return merged


def _without_empty(value: Any) -> Any:
    """A default as the API server is told it: no null and nothing empty, since absent means the
    same and reads better.

    An object's default is written out and not left at `{}`, because the server checks it
    against the object's rules before it fills in what the fields say.
    """
    if not isinstance(value, dict):
        return value
    inner = {name: _without_empty(entry) for name, entry in value.items()}
    return {name: entry for name, entry in inner.items() if entry not in _EMPTY}


def _description(node: JsonDict, default: Any) -> str:
    """The docstring on one line per paragraph, then what kubectl explain would not show."""
    paragraphs = node.get("description", "").split("\n\n")
    text = "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    if default not in _EMPTY and not isinstance(default, dict):
        text += f" Default: {_show(default)}."
    if examples := node.get("examples"):
        text += f" Example: {_show(examples[0])}"
    return text


def _show(value: Any) -> str:
    if isinstance(value, str) and value.isprintable():
        return value
    return json.dumps(value, ensure_ascii=False)
