"""What a schema says beyond JSON types: CEL rules, list types, limits in bytes.

One declaration on a model serves both sides: pydantic checks it in Python where that is
cheap, and the generator hands it to the API server, which is the one that refuses.
"""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

JsonDict = dict[str, Any]

VALIDATIONS = "x-kubernetes-validations"
FOR_PARENT = "x-paddock-rules-for-parent"
"""In pydantic's schema only: rules that the generator moves to the parent object."""

ATOMIC: JsonDict = {"x-kubernetes-list-type": "atomic"}
"""For Field(json_schema_extra=…): server-side apply replaces the list as a whole."""
SET: JsonDict = {"x-kubernetes-list-type": "set"}
"""The same, for a list of scalars without repeats."""


def list_map(*keys: str) -> JsonDict:
    """For Field(json_schema_extra=…): a list whose items are told apart by these keys.

    The API server refuses two items with one key, and server-side apply merges by it.
    """
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def rule(
    expression: str,
    message: str,
    *,
    field_path: str | None = None,
    message_expression: str | None = None,
    reason: str | None = None,
) -> JsonDict:
    """One entry of `x-kubernetes-validations`.

    `message` is a sentence without the field (the API server puts its path in front) and
    says the way out. `field_path` is relative to where the rule stands, `.a.b`.
    """
    entry = {"rule": expression, "message": message}
    if message_expression:
        entry["messageExpression"] = message_expression
    if reason:
        entry["reason"] = reason
    if field_path:
        entry["fieldPath"] = field_path
    return entry


def validations(*rules: JsonDict) -> JsonDict:
    """For ConfigDict(json_schema_extra=…): the CEL rules of a whole object."""
    return {VALIDATIONS: list(rules)}


def immutable(field: str, *, optional: bool = False) -> JsonDict:
    """A rule for the parent object: the field keeps the value that it was created with.

    It stands on the parent because a transition rule on the field itself does not run when
    the field is added or removed.
    """
    same = f"self.{field} == oldSelf.{field}"
    if optional:
        same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})"
    return rule(
        same,
        "cannot be changed after creation; create another object instead",
        field_path=f".{field}",
    )


class Rules:
    """`Annotated[T, Rules(rule(…), …)]`: CEL rules of one field, after those of its type."""

    def __init__(self, *rules: JsonDict) -> None:
        self._rules = rules

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return _with_rules(handler(core), *self._rules)


@dataclass(frozen=True)
class Matches:
    """`Annotated[str, Matches(pattern, "must be …")]`: a pattern, and the same in words.

    The pattern serves editors and offline checkers; of it alone the API server would only say
    the expression itself, which tells few people what to write.
    """

    pattern: str
    words: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = {**handler(core), "pattern": self.pattern}
        return _with_rules(schema, rule(f"self.matches(r'{self.pattern}')", self.words))

    def _check(self, text: str | None) -> str | None:
        if text is not None and not re.fullmatch(self.pattern, text):
            raise ValueError(self.words)
        return text


@dataclass(frozen=True)
class MaxBytes:
    """`Annotated[str, MaxBytes(n)]`: at most n bytes of UTF-8 and, with `nul=False`, no NUL.

    Characters would be the wrong measure: what counts is what crosses the wire and what the
    kernel is given. With `quiet=True` the rules stand on the parent object: the API server
    quotes the value of the field on which a rule failed, and nobody wants to read 64 KiB of
    it, or somebody's data in a log.
    """

    limit: int
    nul: bool = True
    quiet: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # The size that was found is not in the message: the server holds what string() of a
        # number may cost for unbounded, and refuses the rule.
        size = f"must be at most {self.limit} bytes of UTF-8"
        rules = [rule(f"size(bytes(self)) <= {self.limit}", size)]
        if not self.nul:
            rules.append(rule(r"!self.contains('\x00')", "must not hold a NUL character"))
        # As many characters are a necessary condition, and bound what CEL may cost.
        schema = {**handler(core), "maxLength": self.limit}
        return {**schema, FOR_PARENT: rules} if self.quiet else _with_rules(schema, *rules)

    def _check(self, text: str | None) -> str | None:
        if text is None:
            return None
        if len(text.encode("utf-8", "surrogatepass")) > self.limit:
            raise ValueError(f"must be at most {self.limit} bytes of UTF-8")
        if not self.nul and "\0" in text:
            raise ValueError("must not hold a NUL character")
        return text


def for_parent(field: str, entry: JsonDict) -> JsonDict:
    """A rule of a field, rewritten for the object that has the field."""
    expression = entry["rule"].replace("self", f"self.{field}")
    return {**entry, "rule": f"!has(self.{field}) || {expression}", "fieldPath": f".{field}"}


def _with_rules(schema: JsonDict, *rules: JsonDict) -> JsonDict:
    return {**schema, VALIDATIONS: [*schema.get(VALIDATIONS, []), *rules]}
