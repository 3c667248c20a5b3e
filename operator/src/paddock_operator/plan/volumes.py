"""The volume of a workspace: one PersistentVolumeClaim per sandbox, gone with it."""

from paddock_api.template import SandboxTemplateSpec
from paddock_operator.plan.actions import Create, Key
from paddock_operator.plan.pods import owner_reference
from paddock_operator.plan.views import ObjectView


def claim_of(sandbox: ObjectView, template: SandboxTemplateSpec) -> Create | None:
    """Make the sandbox's claim, or find it again: it has the sandbox's name and controller."""
    volume = template.workspace.volume
    if volume is None:
        return None
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": str(volume.size)}},
    }
    if volume.storage_class_name is not None:
        spec["storageClassName"] = volume.storage_class_name
    manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": sandbox.name,
            "namespace": sandbox.namespace,
            "labels": {"app.kubernetes.io/managed-by": "paddock"},
            "ownerReferences": [owner_reference(sandbox, "Sandbox")],
        },
        "spec": spec,
    }
    key = Key("PersistentVolumeClaim", sandbox.namespace, sandbox.name)
    return Create(key, sandbox.uid, manifest)
