"""What happens to pods, nodes, namespaces and CRDs: scripts that go past the operator."""

import asyncio
import os
import signal

from tests.faults import batch
from tests.faults.kubeapi import Refused
from tests.faults.scenario import Field

REFUSED = "answer 503"


async def quota(there: Field) -> None:
    """The namespace has room for no pod for some seconds, from before the first one."""
    await asyncio.sleep(5)
    await there.admin.delete("resourcequotas", there.namespace, "few")


async def admission_down(there: Field) -> None:
    """The webhook that must agree to every pod answers nobody, then it is gone."""
    await asyncio.sleep(5)
    await there.admin.delete("validatingwebhookconfigurations", "", there.namespace)


async def lose_pod(there: Field, *, evict: bool) -> None:
    """The pod of a running step is taken away by somebody else."""
    await there.until_runs("long")
    pod = await there.pod_of("long")
    assert pod is not None, "the step runs, so its pod is there"
    name = pod["metadata"]["name"]
    if evict:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{there.namespace}/pods/{name}/eviction"
        await there.admin.request("POST", path, eviction)
        there.injected["pod evicted"] += 1
    else:
        options = {"gracePeriodSeconds": 0}
        await there.admin.delete("pods", there.namespace, name, options)
        there.injected["pod deleted"] += 1


async def delete_pod(there: Field) -> None:
    await lose_pod(there, evict=False)


async def evict_pod(there: Field) -> None:
    await lose_pod(there, evict=True)


async def delete_pod_unseen(there: Field) -> None:
    """The same, and the operator is down until the pod is gone."""
    await there.until_runs("long")
    await there.operator.hold_down()
    await lose_pod(there, evict=False)
    await asyncio.sleep(1)
    there.operator.let_up()


async def delete_pod_untold(there: Field) -> None:
    """No status can be written, and the pod goes: nothing may have been sent to it."""

    def answers() -> bool:
        return there.proxy.injected[REFUSED] >= 4

    await there.until(answers)
    await asyncio.sleep(1.5)
    pod = await there.pod_of("long")
    assert pod is not None
    name = pod["metadata"]["name"]
    await there.admin.delete("pods", there.namespace, name, {"gracePeriodSeconds": 0})
    there.injected["pod deleted"] += 1
    await asyncio.sleep(1)
    there.proxy.arm()


async def delete_early(there: Field) -> None:
    """A pod is deleted as soon as it is there, long before its runtime answers."""

    async def gone() -> bool:
        pod = await there.pod_of("long")
        if pod is None:
            return False
        options = {"gracePeriodSeconds": 0}
        await there.admin.delete("pods", there.namespace, pod["metadata"]["name"], options)
        there.injected["pod deleted early"] += 1
        return True

    await there.until(gone)


async def down_at_the_deadline(there: Field) -> None:
    """The operator is away from the first step until the session is long over."""
    await there.until_runs("short-lived")
    await there.operator.hold_down()

    async def ended() -> bool:
        pod = await there.pod_of("short-lived")
        return pod is None or pod["status"]["phase"] in ("Succeeded", "Failed")

    assert await there.until(ended, 25), "the pod ends at its deadline without an operator"
    there.injected["operator down at the deadline"] += 1
    there.operator.let_up()


async def shorten(there: Field) -> None:
    """The lifetime of a running session is cut to what is over."""
    await there.until_runs("long")
    change = {"spec": {"lifetime": {"maxDuration": "1s"}}}
    await there.admin.patch("agentsessions", there.namespace, "long", change)
    there.injected["lifetime shortened"] += 1


async def recreate(there: Field) -> None:
    """A session is deleted at a random moment and made again under the same name, at once."""
    for _ in range(5):
        await asyncio.sleep(there.dice.uniform(0.0, 1.6))
        await there.admin.delete("agentsessions", there.namespace, "hello")
        manifest = batch.HELLO.manifest(there.namespace)
        # The witness must tell its lives apart: a new one may start its step.
        run = f"{there.namespace}/hello#{there.injected['recreated under its name']}"
        manifest["spec"]["env"][0]["value"] = run
        await there.admin.create("agentsessions", there.namespace, manifest)
        there.injected["recreated under its name"] += 1


async def delete_crds(there: Field) -> None:
    """CRDs first, as a hasty uninstall does it; then they come back, and work goes on."""
    await there.until_runs("hello")
    saved = []
    for plural in ("agentsessions", "sandboxes"):
        name = f"{plural}.paddock.dev"
        crd = await there.admin.get("customresourcedefinitions", "", name)
        assert crd is not None
        saved.append(crd)
        await there.admin.delete("customresourcedefinitions", "", name)
        there.injected["CRD deleted"] += 1
    try:

        async def gone() -> bool:
            names = [crd["metadata"]["name"] for crd in saved]
            left = [await there.admin.get("customresourcedefinitions", "", n) for n in names]
            return not any(left) and not await there.pods()

        if not await there.until(gone, 60):
            there.wrong("nothing hangs", "CRDs or pods are there a minute after they were deleted")
    finally:
        for crd in saved:
            metadata = crd["metadata"]
            kept = {key: metadata.get(key) or {} for key in ("labels", "annotations")}
            body = {"metadata": {"name": metadata["name"], **kept}, "spec": crd["spec"]}
            body |= {"apiVersion": crd["apiVersion"], "kind": crd["kind"]}
            await there.admin.create("customresourcedefinitions", "", body)
    manifest = batch.HELLO.manifest(there.namespace)
    manifest["spec"]["env"][0]["value"] += "#again"

    async def created() -> bool:
        try:
            await there.admin.create("agentsessions", there.namespace, manifest)
        except Refused:
            return False
        return True

    assert await there.until(created, 30), "the CRD is served again"


async def delete_namespace(there: Field) -> None:
    await there.until_runs("hello")
    await there.admin.delete("namespaces", "", there.namespace)
    there.injected["namespace deleted"] += 1


async def delete_namespace_without_operator(there: Field) -> None:
    """As after an uninstall: nobody of ours is there, and nothing may hang on us."""
    await there.until_runs("hello")
    await there.operator.hold_down()
    await there.admin.delete("namespaces", "", there.namespace)
    there.injected["namespace deleted"] += 1

    async def gone() -> bool:
        return await there.admin.get("namespaces", "", there.namespace) is None

    assert await there.until(gone, 60), "the namespace goes without an operator"
    there.operator.let_up()


async def freeze_kubelet(there: Field) -> None:
    """The node's agent stands still for some seconds: pods neither start nor stop nor report."""
    from cluster import processes, settings

    mine = settings.from_environment(os.environ)
    kubelets = [p for p in processes.running(processes.find(mine)).values()
                if p.component == "kubelet"]  # fmt: skip
    await there.until_runs("hello")
    for process in kubelets:
        processes.send(mine, process, signal.SIGSTOP)
    try:
        there.injected["kubelet frozen"] += len(kubelets)
        await asyncio.sleep(6)
    finally:
        for process in kubelets:
            processes.send(mine, process, signal.SIGCONT)


async def make_quota(there: Field) -> None:
    body = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}
    await there.admin.create("resourcequotas", there.namespace, body)

    async def counted() -> bool:
        quota = await there.admin.get("resourcequotas", there.namespace, "few")
        return bool(quota and (quota.get("status") or {}).get("hard"))

    assert await there.until(counted)
    there.injected["quota used up"] += 1


async def make_webhook(there: Field) -> None:
    body = {
        "metadata": {"name": there.namespace},
        "webhooks": [
            {
                "name": "nobody.paddock.dev",
                "clientConfig": {"url": "https://127.0.0.1:9/"},
                "failurePolicy": "Fail",
                "timeoutSeconds": 1,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": there.namespace}
                },
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                    }
                ],
            }
        ],
    }
    await there.admin.create("validatingwebhookconfigurations", "", body)
    there.injected["admission webhook down"] += 1
