"""The one writer: carries out actions, with preconditions that make repeats and races safe.

create   a taken name is read; the object is returned only if its controller uid is ours
status   merge patch with uid and resourceVersion: a changed or replaced object answers 409
suspend  merge patch of a Sandbox's spec, with the same preconditions as a status
delete   uid precondition; gone or replaced already is success
"""

from collections.abc import Mapping
from typing import Any

from paddock_operator.cluster.client import MERGE_PATCH, Api, Json, get, is_there, path_of
from paddock_operator.cluster.errors import AlreadyExists, ClusterError, Conflict, NotFound
from paddock_operator.plan.actions import Create, Delete, PatchStatus, SetSuspend
from paddock_operator.plan.views import ObjectView


class NameTaken(ClusterError):
    """The child's name belongs to an object that is not ours."""

    reason = "NameTaken"
    way_out = "Delete or rename that object."


class Writer:
    """Mutating requests, Events apart. Every method returns the object as the server has it,
    None if it is gone."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def create(self, action: Create) -> Json:
        """Create, or adopt what an earlier life of this operator created under this name."""
        key = action.key
        try:
            return await self._api.request(
                "POST", path_of(key.kind, key.namespace), body=action.manifest
            )
        except AlreadyExists:
            existing = await get(self._api, key)
            if ObjectView(existing).owned_by(action.owner_uid):
                return existing
            if ObjectView(existing).deleting:
                raise Conflict(f"{key} of before is still going.") from None
            raise NameTaken(f"{key} exists and is not owned by uid {action.owner_uid}.") from None

    async def patch_status(self, action: PatchStatus) -> Json | None:
        """Write the difference between the old and the new status; None if the object is gone."""
        key = action.key
        body = {
            "metadata": {"uid": action.uid, "resourceVersion": action.resource_version},
            "status": merge_patch(action.old, action.status),
        }
        try:
            return await self._api.request(
                "PATCH",
                path_of(key.kind, key.namespace, key.name, "status"),
                body=body,
                content_type=MERGE_PATCH,
            )
        except NotFound:
            return None

    async def set_suspend(self, action: SetSuspend) -> Json | None:
        """Write `spec.suspend`; None if the object is gone."""
        key = action.key
        body = {
            "metadata": {"uid": action.uid, "resourceVersion": action.resource_version},
            "spec": {"suspend": action.suspend},
        }
        try:
            return await self._api.request(
                "PATCH",
                path_of(key.kind, key.namespace, key.name),
                body=body,
                content_type=MERGE_PATCH,
            )
        except NotFound:
            return None

    async def delete(self, action: Delete) -> Json | None:
        """Delete exactly that uid. What has a grace or finalizers is returned: it stays a while."""
        key = action.key
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": action.uid},
            "propagationPolicy": "Background",
        }
        try:
            answer = await self._api.request(
                "DELETE", path_of(key.kind, key.namespace, key.name), body=body
            )
        except NotFound:
            return None
        except Conflict:
            # Most often another uid has the name now; but whoever admits may say 409 as well.
            if await is_there(self._api, key, action.uid):
                raise
            return None
        return answer if ObjectView(answer).deleting else None


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386 patch that turns `old` into `new`: changed keys, and null for those gone."""
    patch: dict[str, Any] = {}
    for name in old.keys() | new.keys():
        if name not in new:
            patch[name] = None
            continue
        before, after = old.get(name), new[name]
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            patch[name] = merge_patch(before, after)
        else:
            patch[name] = after
    return patch
