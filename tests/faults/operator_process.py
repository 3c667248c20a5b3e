"""The operator under test as a process on this machine, one life after the other.

It runs from a copy of the sources, so that an edit in the middle of a long run changes
nothing, and so that mutants never touch the tree.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from tests.end_with_parent import end_with_parent
from tests.faults.installation import Installed
from tests.faults.kubeapi import Admin

ROOT = Path(__file__).resolve().parents[2]
AGAIN_S = 0.5
"""Between an end that nobody planned and the next life, as a kubelet would begin it."""


def copy_sources(folder: Path) -> Path:
    """operator/ and api/ as they are now, in the layout that patches name; returns its root."""
    for part in ("operator", "api"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / part / "src", folder / part / "src", ignore=ignored)
    return folder


class OperatorProcess:
    """`start` begins a life, and begins another whenever one ends, until `stop`."""

    def __init__(
        self, admin: Admin, installed: Installed, sources: Path, server: str, folder: Path
    ) -> None:
        self._admin = admin
        self._namespace = installed.namespace
        folder.mkdir()
        self._log = folder / "operator.log"
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stay_down = asyncio.Event()
        self._stay_down.set()
        self.lives = 0
        self.kills = 0
        self.own_ends: list[int] = []
        """Exit codes of lives that ended by themselves."""
        kubeconfig = folder / "operator.kubeconfig"
        kubeconfig.write_text(_kubeconfig(server, installed.token))
        kubeconfig.chmod(0o600)
        path = (sources / "operator" / "src", sources / "api" / "src")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "KUBECONFIG": str(kubeconfig),
            "PADDOCK_NAMESPACE": installed.namespace,
            "PADDOCK_HTTP_PORT": "0",
            **installed.environment,
        }

    def start(self, **environment: str) -> None:
        """Begin; variables on top of those that the chart sets."""
        assert self._keeper is None
        self._keeper = asyncio.create_task(self._keep(self._environment | environment))

    async def kill(self) -> None:
        """SIGKILL; the next life begins at once unless it is held down."""
        process = self._process
        if process is not None and process.returncode is None:
            self.kills += 1
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await self._release_lease()

    async def hold_down(self) -> None:
        """Kill it, and begin no new life until `let_up`."""
        self._stay_down.clear()
        await self.kill()

    def let_up(self) -> None:
        self._stay_down.set()

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT."""
        assert self._process is not None
        assert self._process.returncode is None
        self._process.send_signal(number)

    async def stop(self) -> None:
        """The end of all lives."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._release_lease()

    def log(self) -> str:
        """The end of what all its lives logged."""
        return self._log.read_text(errors="replace")[-8000:] if self._log.exists() else ""

    async def _keep(self, environment: dict[str, str]) -> None:
        while True:
            await self._stay_down.wait()
            self.lives += 1
            killed = self.kills
            with self._log.open("ab") as file:
                file.write(f"--- life {self.lives}\n".encode())
                file.flush()
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "paddock_operator",
                    cwd=self._log.parent, env=environment, stdout=file, stderr=file,
                    preexec_fn=end_with_parent,
                )  # fmt: skip
            code = await self._process.wait()
            if self.kills == killed:
                self.own_ends.append(code)
                await asyncio.sleep(AGAIN_S)

    async def _release_lease(self) -> None:
        """What is dead does not hold a Lease: here nobody waits until it has run out."""
        for lease in (await self._admin.list("leases", self._namespace))["items"]:
            name = lease["metadata"]["name"]
            if name.startswith("paddock"):
                await self._admin.delete("leases", self._namespace, name)


def _kubeconfig(server: str, token: str) -> str:
    """JSON is YAML."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
            "clusters": [{"name": "proxy", "cluster": {"server": server}}],
            "users": [{"name": "operator", "user": {"token": token}}],
        }
    )
