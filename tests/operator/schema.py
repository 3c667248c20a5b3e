"""Checks a status as the API server would: by the generated CRD, and by the models.

Covers what the schemas use (types, bounds, patterns, list maps, sizes in bytes) and fails on a
keyword that it does not know. A field that the schema does not have is an error, because the
server would drop it and the operator would write it again for ever.
"""

import copy
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from paddock_api.conditions import ConditionReason, ConditionType
from paddock_api.sandbox import SandboxStatus
from paddock_api.session_status import AgentSessionStatus

ROOT = Path(__file__).resolve().parents[2]
PLURALS = {
    "AgentSession": "agentsessions",
    "Sandbox": "sandboxes",
    "SandboxTemplate": "sandboxtemplates",
    "ClusterSandboxTemplate": "clustersandboxtemplates",
}
MODELS: dict[str, type[BaseModel]] = {"AgentSession": AgentSessionStatus, "Sandbox": SandboxStatus}
STATUS_BYTES = 48 * 1024
_IGNORED = {"description", "format", "default", "x-kubernetes-list-type"}
_BYTES_RULE = re.compile(r"size\(bytes\(self\)\) <= ([0-9]+)")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": Mapping,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
}


@functools.cache
def schema_of(kind: str) -> dict[str, Any]:
    """openAPIV3Schema of a kind, from `crds/`."""
    text = (ROOT / "crds" / f"paddock.dev_{PLURALS[kind]}.yaml").read_text()
    version = yaml.load(text, yaml.CSafeLoader)["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def default_status(kind: str) -> dict[str, Any]:
    """The status that the API server gives a new object."""
    default: dict[str, Any] = copy.deepcopy(schema_of(kind)["properties"]["status"]["default"])
    return default


def check_status(kind: str, status: Mapping[str, Any]) -> None:
    """AssertionError with the path if this status would be refused, cut or too large."""
    problems = list(_problems(schema_of(kind)["properties"]["status"], status, "status"))
    assert problems == []
    MODELS[kind].model_validate(status)
    reasons = {entry["reason"] for entry in status["conditions"]}
    assert reasons <= set(ConditionReason)
    assert {entry["type"] for entry in status["conditions"]} <= set(ConditionType)
    assert encoded_size(status) <= STATUS_BYTES


def encoded_size(value: object) -> int:
    """Bytes of JSON as Go writes it into etcd: HTML characters are escaped too."""
    if isinstance(value, Mapping):
        return 2 + sum(encoded_size(k) + encoded_size(v) + 2 for k, v in value.items())
    if isinstance(value, list | tuple):
        return 2 + sum(encoded_size(entry) + 1 for entry in value)
    if isinstance(value, str):
        return 2 + sum(map(_character, value))
    return len(str(value))


def _character(character: str) -> int:
    if character in '"\\\n\r\t':
        return 2
    if character < " " or character in "<>&\u2028\u2029":
        return 6
    return len(character.encode())


def _problems(schema: Mapping[str, Any], value: object, path: str) -> Any:
    kind = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        yield f"{path}: {value!r} is not {kind}"
        return
    for keyword, bound in schema.items():
        if keyword in _IGNORED or keyword == "type":
            continue
        yield from _CHECKS[keyword](schema, bound, value, path)


def _properties(_: object, properties: Any, value: Any, path: str) -> Any:
    for name, entry in value.items():
        if name not in properties:
            yield f"{path}.{name}: no such field"
        else:
            yield from _problems(properties[name], entry, f"{path}.{name}")


def _items(_: object, items: Any, value: Any, path: str) -> Any:
    for index, entry in enumerate(value):
        yield from _problems(items, entry, f"{path}[{index}]")


def _required(_: object, names: Any, value: Any, path: str) -> Any:
    yield from (f"{path}.{name}: missing" for name in names if name not in value)


def _list_map(_: object, keys: Any, value: Any, path: str) -> Any:
    seen = [tuple(entry.get(key) for key in keys) for entry in value]
    if len(set(seen)) != len(seen):
        yield f"{path}: repeated {keys}"


def _rules(_: object, rules: Any, value: Any, path: str) -> Any:
    for rule in rules:
        match = _BYTES_RULE.fullmatch(rule["rule"])
        assert match, f"the checker does not know the rule {rule['rule']}"
        if len(value.encode()) > int(match[1]):
            yield f"{path}: {rule['message']}"


def _bound(name: str, fits: Any) -> Any:
    def check(_: object, bound: Any, value: Any, path: str) -> Any:
        if not fits(value, bound):
            yield f"{path}: {value!r} against {name} {bound}"

    return check


_CHECKS = {
    "properties": _properties,
    "items": _items,
    "required": _required,
    "x-kubernetes-list-map-keys": _list_map,
    "x-kubernetes-validations": _rules,
    "enum": _bound("enum", lambda value, bound: value in bound),
    "pattern": _bound("pattern", lambda value, bound: re.search(bound, value) is not None),
    "minLength": _bound("minLength", lambda value, bound: len(value) >= bound),
    "maxLength": _bound("maxLength", lambda value, bound: len(value) <= bound),
    "minimum": _bound("minimum", lambda value, bound: value >= bound),
    "maximum": _bound("maximum", lambda value, bound: value <= bound),
    "maxItems": _bound("maxItems", lambda value, bound: len(value) <= bound),
    "minItems": _bound("minItems", lambda value, bound: len(value) >= bound),
}
