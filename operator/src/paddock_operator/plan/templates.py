"""Finding and reading the template that a session or sandbox names."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from paddock_api.conditions import ConditionReason as R
from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.actions import Key
from paddock_operator.plan.evidence import Trouble
from paddock_operator.plan.views import ObjectView, get


def template_key(view: ObjectView) -> Key:
    """Where the object's templateRef points: its own namespace, or the whole cluster."""
    name = str(get(view.obj, "spec", "templateRef", "name") or "")
    if get(view.obj, "spec", "templateRef", "kind") == "ClusterSandboxTemplate":
        return Key("ClusterSandboxTemplate", "", name)
    return Key("SandboxTemplate", view.namespace, name)


def read_template(key: Key, obj: Mapping[str, Any] | None) -> SandboxTemplateSpec | Trouble:
    """The template's spec, or why it cannot be used."""
    if obj is None:
        return Trouble(
            R.TEMPLATE_NOT_FOUND,
            f"{key.kind}/{key.name} does not exist. Create it, or name one that "
            "`kubectl get sbt,csbt` lists.",
        )
    try:
        return SandboxTemplateSpec.read(ObjectView(obj).spec)
    except ValidationError as error:
        return Trouble(
            R.TEMPLATE_INVALID,
            f"{key.kind}/{key.name}: {_first(error)}. Correct the template, or upgrade the "
            "operator to the version of the CRDs.",
        )


def spec_invalid(error: ValidationError) -> Trouble:
    """A spec that the API server took and only a newer operator understands."""
    return Trouble(
        R.SPEC_INVALID,
        f"{_first(error)}. Upgrade the operator to the version of the CRDs.",
    )


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"spec.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
