"""The few questions that the tool itself asks: health of each component, node, pods.

A client of a hundred lines instead of kubectl, because an `up` that has nothing to do should not
spend its time on starting processes.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any

from cluster.settings import LOOPBACK, NODE_IP, NODE_NAME, Settings

TIMEOUT = 5.0


class ApiError(Exception):
    """An answer other than 2xx, or none at all (status 0)."""

    def __init__(self, status: int, text: str):
        super().__init__(f"{status} {text}".strip())
        self.status = status


class Api:
    """The API server, as the administrator."""

    def __init__(self, settings: Settings, timeout: float = TIMEOUT):
        pki = settings.pki
        self._timeout = timeout
        self._context = _tls(pki / "ca.crt", pki / "admin.crt", pki / "admin.key")

    def request(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPSConnection(
            NODE_IP, 6443, timeout=self._timeout, context=self._context
        )
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json", "User-Agent": "paddock-cluster"}
            connection.request(method, path, body=data, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(0, str(error)) from error
        finally:
            connection.close()
        if answer.status // 100 != 2:
            raise ApiError(answer.status, text[:500])
        try:
            return json.loads(text)
        except ValueError:
            return text

    def ensure(self, path: str, body: dict[str, Any]) -> None:
        """Create an object unless it is there."""
        try:
            self.request("GET", f"{path}/{body['metadata']['name']}")
        except ApiError as error:
            if error.status != 404:
                raise
            self.request("POST", path, body)

    def node_exists(self) -> bool:
        try:
            self.request("GET", f"/api/v1/nodes/{NODE_NAME}")
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def node_condition(self) -> dict[str, Any]:
        """Return the node's Ready condition; empty while there is no node or no answer."""
        try:
            node = self.request("GET", f"/api/v1/nodes/{NODE_NAME}")
        except ApiError as error:
            return {"message": f"the API server says: {error}"} if error.status != 404 else {}
        return ready_condition(node)

    def has_default_service_account(self) -> bool:
        try:
            self.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")
        except ApiError:
            return False
        return True


def ready_condition(node: dict[str, Any]) -> dict[str, Any]:
    """Pick the Ready condition out of a node."""
    conditions = node.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item.get("type") == "Ready"), {})


def _tls(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(str(certificate), str(key))
    return context


def problem(settings: Settings, component: str, timeout: float = TIMEOUT) -> str:
    """Ask a component for its health; "" when it is well, else what is wrong."""
    pki = settings.pki
    try:
        if component == "etcd":
            client = pki / "apiserver-etcd.crt"
            context = _tls(pki / "etcd-ca.crt", client, client.with_suffix(".key"))
            return _get(LOOPBACK, 12379, "/health", context, timeout)
        if component == "containerd":
            return _connect(settings.containerd_socket, timeout)
        if component == "kube-apiserver":
            api = Api(settings, timeout)
            api.request("GET", "/readyz")
            # That alone says "ok" while its connections to a restarted etcd still wait out their
            # back-off, which may take two minutes. A read of one object asks etcd.
            api.node_exists()
            return ""
        host, port, secure = {
            "kube-controller-manager": (LOOPBACK, 10257, True),
            "kube-scheduler": (LOOPBACK, 10259, True),
            "kubelet": (LOOPBACK, 10248, False),
            "kube-proxy": (LOOPBACK, 10256, False),
        }[component]
        # Those two sign a certificate of their own at every start; nothing secret is asked here.
        unverified = ssl._create_unverified_context() if secure else None
        return _get(host, port, "/healthz", unverified, timeout)
    except (OSError, http.client.HTTPException, ApiError) as error:
        return str(error) or type(error).__name__


def _get(host: str, port: int, path: str, context: ssl.SSLContext | None, timeout: float) -> str:
    if context is not None:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=timeout, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{path} says {answer.status}: {text[:300]}"


def _connect(path: Path, timeout: float) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
    return ""
