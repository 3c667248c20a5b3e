"""What every generated schema promises, walked over every node of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from paddock_api.crds import KINDS, Kind, build_crd, main, render_crds
from paddock_api.structural import structural_schema

ROOT = Path(__file__).resolve().parents[2]
MAX_CRD_BYTES = 256 * 1024
FORBIDDEN = {
    "$ref",
    "$defs",
    "allOf",
    "anyOf",
    "const",
    "discriminator",
    "examples",
    "nullable",
    "oneOf",
    "title",
    "uniqueItems",
    "readOnly",
}

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def schema_of(kind: Kind) -> dict[str, Any]:
    schema: dict[str, Any] = build_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema node with its path; metadata belongs to the API server."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        if f"{path}.{name}" != ".metadata":
            yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def fields(kind: Kind) -> list[tuple[str, dict[str, Any]]]:
    return [entry for entry in nodes(schema_of(kind)) if not entry[0].endswith("[]")]


def under(kind: Kind, part: str) -> list[tuple[str, dict[str, Any]]]:
    return [entry for entry in nodes(schema_of(kind)) if entry[0].startswith(part)]


@every_kind
def test_every_field_is_described(kind: Kind) -> None:
    silent = [path for path, node in fields(kind) if len(node.get("description", "")) < 4]
    assert silent == []


@every_kind
def test_every_field_with_a_value_shows_an_example(kind: Kind) -> None:
    values = [
        (path, node)
        for path, node in fields(kind)
        if path.startswith((".spec.", ".status.")) and "properties" not in node
    ]
    silent = [
        path
        for path, node in values
        if "Example: " not in node["description"] and "properties" not in node.get("items", {})
    ]
    assert silent == []


@every_kind
def test_nothing_is_used_that_a_structural_schema_forbids(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        assert not FORBIDDEN & node.keys(), path
        assert isinstance(node.get("type", "int-or-string"), str), path
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path


@every_kind
def test_every_list_says_how_it_merges(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        if node.get("type") != "array":
            continue
        assert node["x-kubernetes-list-type"] in ("map", "set", "atomic"), path
        for key in node.get("x-kubernetes-list-map-keys", []):
            assert key in node["items"]["required"], path


@every_kind
def test_everything_that_can_grow_is_bounded(kind: Kind) -> None:
    for path, node in under(kind, ".spec") + under(kind, ".status"):
        match node.get("type"):
            case "string":
                assert {"maxLength", "enum", "format"} & node.keys(), path
            case "array":
                assert "maxItems" in node, path
            case "integer":
                assert {"minimum", "maximum", "format"} <= node.keys(), path
            case None:
                assert "maxLength" in node, path
            case _:
                assert "additionalProperties" not in node, path


@every_kind
def test_every_rule_says_what_to_do(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        for entry in node.get("x-kubernetes-validations", []):
            assert len(entry["message"]) > 20, path
            assert entry["message"][0].islower(), path
            assert "\n" not in entry["message"], path


@every_kind
def test_no_rule_makes_the_server_quote_a_large_value(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        if node.get("maxLength", 0) > 4096:
            assert "x-kubernetes-validations" not in node, path
            assert not any(key.startswith("x-paddock") for key in node), path


@every_kind
def test_a_default_is_never_null_nor_empty(kind: Kind) -> None:
    for path, node in nodes(schema_of(kind)):
        if "default" in node:
            assert node["default"] not in (None, "", [], {}), path
            assert "null" not in json.dumps(node["default"]), path


@every_kind
def test_what_is_reconciled_starts_as_not_ready(kind: Kind) -> None:
    version = build_crd(kind)["spec"]["versions"][0]
    if not kind.status:
        assert "status" not in schema_of(kind)["properties"]
        assert "subresources" not in version
        return
    assert version["subresources"] == {"status": {}}
    default = schema_of(kind)["properties"]["status"]["default"]
    assert default.items() <= kind.status.read(default).to_dict().items()
    said = {entry["type"]: entry["status"] for entry in default["conditions"]}
    assert said == {"Ready": "Unknown", "Reconciling": "True"}


@every_kind
def test_at_most_six_columns_are_shown_and_age_is_the_last(kind: Kind) -> None:
    narrow = [column.name for column in kind.columns if not column.wide]
    assert len(narrow) <= 6
    assert narrow[-1] == "Age"


def test_files_stay_below_what_kubectl_apply_takes() -> None:
    for name, text in render_crds().items():
        assert len(text.encode()) < MAX_CRD_BYTES, name


def test_the_committed_files_are_the_generated_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(ROOT / "crds"), "--check"]) == 0, capsys.readouterr().out


def test_writing_removes_what_is_no_kind_any_more(tmp_path: Path) -> None:
    (tmp_path / "paddock.dev_olds.yaml").write_text("old: true\n")
    assert main(["--out", str(tmp_path)]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == render_crds()


def test_a_check_shows_what_differs_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--out", str(tmp_path)])
    edited = tmp_path / "paddock.dev_sandboxes.yaml"
    edited.write_text(edited.read_text().replace("sbx", "box"))
    (tmp_path / "paddock.dev_sandboxtemplates.yaml").unlink()
    (tmp_path / "paddock.dev_olds.yaml").write_text("old: true\n")
    assert main(["--out", str(tmp_path), "--check"]) == 1
    shown = capsys.readouterr().out
    assert "-      - box" in shown or "-    - box" in shown
    assert "+  name: sandboxtemplates.paddock.dev" in shown
    assert "-old: true" in shown
    assert "box" in edited.read_text()


def test_a_real_alternative_has_no_structural_schema() -> None:
    class Ambiguous(BaseModel):
        value: int | str

    with pytest.raises(ValueError, match="not structural"):
        structural_schema(Ambiguous)
