"""Both programs of a sandbox pod as plain processes, and a client for them.

As root the workspace gets a user and a PID namespace of its own, as in a pod, so that it is
PID 1 there and nothing it starts can outlive it; as anybody else it is an ordinary process.
"""

import base64
import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROOT = Path(__file__).resolve().parents[2] / "sandbox-runtime"
AS_ROOT = os.getuid() == 0
_CONTAINER = ["unshare", "--pid", "--mount", "--fork", "--mount-proc"]
_uids = itertools.count(70_000 + os.getpid() % 1000 * 20)


def workspace_python() -> str:
    """One that another user may execute."""
    return "/usr/bin/python3" if AS_ROOT else sys.executable


class Pod:
    """`settings` is PADDOCK_SETTINGS; use as a context manager."""

    def __init__(self, cgroup: Path | None = None, **settings: Any) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.settings = {"sandboxUid": "sandbox-1", **settings}
        self.uid = next(_uids) if AS_ROOT else os.getuid()
        self.cgroup = cgroup
        self.base = Path(tempfile.mkdtemp(prefix="paddock-pod-"))
        self.base.chmod(0o755)
        self.port = _free_port()
        self._numbers = itertools.count(1)
        self.runtime: subprocess.Popen[bytes] | None = None
        self.workspace: subprocess.Popen[bytes] | None = None
        for name in ("control", "journal", "work", "tmp", "bin", "lib"):
            (self.base / name).mkdir()
        (self.base / "control").chmod(0o1777)
        for name in ("work", "tmp"):
            os.chown(self.base / name, self.uid, self.uid if AS_ROOT else -1)
        shutil.copy(ROOT / "bin" / "workspace.py", self.base / "bin")
        # Copied, not linked: the checkout may be where another user cannot go.
        shutil.copytree(
            ROOT / "src" / "paddock_runtime",
            self.base / "lib" / "paddock_runtime",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (self.base / "termination-log").touch()

    def __enter__(self) -> "Pod":
        self.start_runtime()
        self.start_workspace()
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        if not AS_ROOT:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired, ProcessLookupError):
                self.terminate()
        elif self.workspace is not None and self.workspace.poll() is None:
            # setpriv takes --kill-child away: kill PID 1, which takes its namespace along.
            for pid in _children(self.workspace.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for process in (self.runtime, self.workspace):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    @property
    def work(self) -> Path:
        return self.base / "work"

    def start_runtime(self) -> None:
        public = base64.b64encode(self.key.public_key().public_bytes_raw()).decode()
        with (self.base / "runtime.log").open("ab") as log:
            self.runtime = self._runtime(public, log)

    def _runtime(self, public: str, log: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "paddock_runtime.server"],
            env={
                "PADDOCK_PORT": str(self.port),
                "PADDOCK_SETTINGS": json.dumps(self.settings),
                "PADDOCK_VERIFY_KEYS": public,
                "PADDOCK_CONTROL_DIR": str(self.base / "control"),
                "PADDOCK_JOURNAL_DIR": str(self.base / "journal"),
                "PADDOCK_TERMINATION_LOG": str(self.base / "termination-log"),
                "PADDOCK_WORKSPACE_UID": str(self.uid),
            },
            stderr=log,
        )

    def start_workspace(self) -> None:
        python = [workspace_python(), "-I", str(self.base / "bin" / "workspace.py")]
        become = [f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        cgroup = self.cgroup

        def join() -> None:
            if cgroup is not None:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))

        log = (self.base / "workspace.log").open("ab")
        self.workspace = subprocess.Popen(
            [*_CONTAINER, "setpriv", *become, *python] if AS_ROOT else python,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",
                "PADDOCK_SETTINGS": json.dumps(self.settings),
                "PADDOCK_CONTROL_DIR": str(self.base / "control"),
                "PADDOCK_WORKSPACE_DIR": str(self.work),
                "PADDOCK_TMP_DIR": str(self.base / "tmp"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=join if cgroup is not None else None,
        )
        log.close()

    def fork_server(self) -> int:
        """Its pid, as this test sees it."""
        assert self.workspace is not None
        supervisor = _children(self.workspace.pid)[0] if AS_ROOT else self.workspace.pid
        return _children(supervisor)[0]

    def user_processes(self) -> list[int]:
        """What runs as the workspace's user, its three own processes included."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError):
                    status = (path / "status").read_text()
                    if f"\nUid:\t{self.uid}\t" in status and "\nState:\tZ" not in status:
                        found.append(int(path.name))
        return found

    def at_rest(self) -> bool:
        """Nothing of an execution is left: at the most our own three processes."""
        own = self.user_processes()
        commands = [_read(f"/proc/{pid}/cmdline") for pid in own]
        return len(own) <= 3 and all(b"workspace.py" in command for command in commands if command)

    def kill_runtime(self) -> None:
        assert self.runtime is not None
        self.runtime.kill()
        self.runtime.wait()

    def terminate(self) -> tuple[int, int]:
        """SIGTERM to the runtime; exit codes of both, the workspace's after it followed."""
        assert self.runtime is not None
        assert self.workspace is not None
        self.runtime.send_signal(signal.SIGTERM)
        return self.runtime.wait(5), self.workspace.wait(5)

    def wait_ready(self, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.call("GET", "/readyz")[0] == 200:
                    return
            time.sleep(0.01)
        logs = [(self.base / f"{name}.log").read_text() for name in ("runtime", "workspace")]
        raise AssertionError("the pod did not become ready:\n" + "\n".join(logs))

    def token(self, key: Any = None, algorithm: str = "EdDSA", **claims: Any) -> str:
        now = int(time.time())
        whole = {"iat": now, "exp": now + 60, "aud": self.settings["sandboxUid"], **claims}
        whole = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(whole, self.key if key is None else key, algorithm=algorithm)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str | None = None,
        raw: bytes | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> tuple[int, Any]:
        """Status and body, decoded where it is JSON."""
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = raw if raw is not None else None if body is None else _json(body)
        try:
            headers = {"Authorization": f"Bearer {token if token is not None else self.token()}"}
            own.request(method, path, data, headers)
            answer = own.getresponse()
            text = answer.read()
            is_json = "json" in (answer.getheader("Content-Type") or "")
            return answer.status, json.loads(text) if is_json else text.decode()
        finally:
            if connection is None:
                own.close()

    def submit(self, query: str = "", **request: Any) -> dict[str, Any]:
        request.setdefault("id", f"x{next(self._numbers)}")
        status, answer = self.call("POST", f"/v1/executions{query}", request)
        assert status in (200, 201), answer
        assert isinstance(answer, dict)
        return answer

    def run(self, **request: Any) -> dict[str, Any]:
        """An execution, ended."""
        answer = self.submit("?wait=25s", **request)
        assert answer["state"] == "Finished", answer
        return answer

    def python(self, code: str, **request: Any) -> dict[str, Any]:
        return self.run(language="python", code=code, **request)

    def bash(self, code: str, **request: Any) -> dict[str, Any]:
        return self.run(language="bash", code=code, **request)

    def get(self, identity: str, query: str = "") -> dict[str, Any]:
        status, answer = self.call("GET", f"/v1/executions/{identity}{query}")
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def configure(self, **message: Any) -> tuple[int, Any]:
        message = {"sessionUid": "session-1", "expiresInMs": 600_000, **message}
        return self.call("POST", "/v1/configure", message)


def text(execution: dict[str, Any], stream: str = "stdout") -> str:
    output = execution[stream]
    return str(output["head"] + output["tail"])


def _json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
