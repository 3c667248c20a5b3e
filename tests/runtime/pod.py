"""Both programs of a sandbox pod as plain processes, and a client for them.

As root the workspace gets a user and a PID namespace of its own, as in a pod, so that it is
PID 1 there and nothing it starts can outlive it; as anybody else it is an ordinary process.
"""

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.runtime.box import Box, text
from tests.runtime.waiting import PATIENCE

__all__ = ["AS_ROOT", "Pod", "text", "workspace_python"]
ROOT = Path(__file__).resolve().parents[2] / "sandbox-runtime"
AS_ROOT = os.getuid() == 0
_CONTAINER = ["unshare", "--pid", "--mount", "--fork", "--mount-proc"]
_uids = itertools.count(70_000 + os.getpid() % 1000 * 20)


def workspace_python() -> str:
    """One that another user may execute."""
    return "/usr/bin/python3" if AS_ROOT else sys.executable


class Pod(Box):
    """`settings` is PADDOCK_SETTINGS; use as a context manager."""

    def __init__(self, cgroup: Path | None = None, **settings: Any) -> None:
        super().__init__()
        self.key = Ed25519PrivateKey.generate()
        self.settings = {"sandboxUid": "sandbox-1", **settings}
        self.audience = self.settings["sandboxUid"]
        self.uid = next(_uids) if AS_ROOT else os.getuid()
        self.cgroup = cgroup
        self.base = Path(tempfile.mkdtemp(prefix="paddock-pod-"))
        self.base.chmod(0o755)
        self.host, self.port = "127.0.0.1", _free_port()
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
        with (
            (self.base / "runtime.log").open("ab") as log,
            (self.base / "runtime.out").open("ab") as out,
        ):
            self.runtime = self._runtime(public, log, out)

    def _runtime(self, public: str, log: Any, out: Any) -> "subprocess.Popen[bytes]":
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
            stdout=out,
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
                "LANG": "C.UTF-8",  # as the image has it
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
        """What runs as the workspace's user, its four own processes included."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError):
                    status = (path / "status").read_text()
                    if f"\nUid:\t{self.uid}\t" in status and "\nState:\tZ" not in status:
                        found.append(int(path.name))
        return found

    def at_rest(self) -> bool:
        """Nothing of an execution is left: at the most our own four processes."""
        own = self.user_processes()
        commands = [_read(f"/proc/{pid}/cmdline") for pid in own]
        return len(own) <= 4 and all(b"workspace.py" in command for command in commands if command)

    def kill_runtime(self) -> None:
        assert self.runtime is not None
        self.runtime.kill()
        self.runtime.wait()

    def crash_runtime(self) -> None:
        self.kill_runtime()
        self.start_runtime()

    def crash_workspace(self) -> None:
        assert self.workspace is not None
        # setpriv takes --kill-child away: kill PID 1, which takes its namespace along.
        for pid in _children(self.workspace.pid) if AS_ROOT else [self.workspace.pid]:
            os.kill(pid, signal.SIGKILL)
        self.workspace.wait()
        self.start_workspace()

    def kill_fork_server(self) -> None:
        os.kill(self.fork_server(), signal.SIGKILL)

    def terminate(self) -> tuple[int, int]:
        """SIGTERM to the runtime; exit codes of both, the workspace's after it followed."""
        assert self.runtime is not None
        assert self.workspace is not None
        self.runtime.send_signal(signal.SIGTERM)
        return self.runtime.wait(PATIENCE), self.workspace.wait(PATIENCE)

    def end(self) -> None:
        assert self.runtime is not None
        self.runtime.send_signal(signal.SIGTERM)

    def runtime_pid(self) -> int:
        assert self.runtime is not None
        return self.runtime.pid

    def why(self) -> str:
        logs = [path.read_text() for path in sorted(self.base.glob("*.log"))]
        return ":\n" + "\n".join(logs)

    def configure(self, **message: Any) -> tuple[int, Any]:
        message = {"sessionUid": "session-1", "expiresInMs": 600_000, **message}
        return self.call("POST", "/v1/configure", message)


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
