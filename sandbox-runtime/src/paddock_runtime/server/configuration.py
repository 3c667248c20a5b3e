"""What the sandbox was told when it was claimed: environment, files, remaining life.

Environment and files take effect together; after an error none does, and the same message may be
sent again, which writes the files again. Only the remaining life counts from the receipt on.
"""

import asyncio
import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from typing import Any

from paddock_api.messages import Configure, Configured, SandboxSettings
from paddock_runtime import protocol
from paddock_runtime.server.control import WorkspaceLink
from paddock_runtime.server.journal import Journal
from paddock_runtime.server.lifetime import Lifetime
from paddock_runtime.server.memfd import sealed_memfd
from paddock_runtime.server.problems import ProblemError, invalid, refuse_nul

CONNECT_PATIENCE = 5.0
WRITE_PATIENCE = 20.0


class Configuration:
    """Takes effect once; a repeat only moves the deadline."""

    def __init__(
        self, settings: SandboxSettings, link: WorkspaceLink, journal: Journal, lifetime: Lifetime
    ) -> None:
        self._link = link
        self._journal = journal
        self._lifetime = lifetime
        self._template_env = {pair.name: pair.value for pair in settings.env}
        self._session_env: dict[str, str] = {}
        self._digest: str | None = None
        self._one_at_a_time = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._written: tuple[int, asyncio.Future[None]] | None = None
        """The number of the request that the workspace is busy with, and its outcome."""

    def environment(self) -> Mapping[str, str]:
        """The template's env under the session's."""
        return {**self._template_env, **self._session_env}

    async def configure(self, message: Configure) -> Configured:
        """Noted, and the files are there, when this returns. Raises ProblemError."""
        check_files(message)
        refuse_nul({"env": [pair.value for pair in message.env]})
        wanted = _digest(message)
        async with self._one_at_a_time:
            if self._digest not in (None, wanted):
                raise ProblemError(
                    409,
                    "AlreadyConfigured",
                    "sessionUid, env or files differ from what this sandbox was configured with; "
                    "it serves one session, so take another sandbox",
                )
            repeated = self._digest is not None
            if not repeated and message.files:
                await self._write_files(message)
            # At once, whatever the disk says: a deadline that is kept does no harm.
            lifetime = self._lifetime.configure(message.expires_in_ms, message.idle_timeout_ms)
            record = {"type": "lifetime", "lifetime": lifetime}
            env = {pair.name: pair.value for pair in message.env}
            if not repeated:
                record |= {"type": "configured", "digest": wanted, "env": env}
            self._note(record)
            self._session_env, self._digest = env, wanted
        return Configured(files=len(message.files), repeated=repeated)

    def restore(self, record: dict[str, Any]) -> None:
        """Take over what an earlier runtime noted."""
        if record["type"] == "configured":
            self._digest, self._session_env = record["digest"], record["env"]
        if "lifetime" in record:
            self._lifetime.restore(record["lifetime"])

    def files_written(self, message: protocol.FilesWritten) -> None:
        """The workspace's answer. A late one, of a request that was given up, is nobody's."""
        if self._written is None or self._written[0] != message.number:
            return
        outcome = self._written[1]
        if outcome.done():
            return
        if message.error is None:
            outcome.set_result(None)
        elif message.passing:
            outcome.set_exception(_again("WorkspaceBusy", message.error))
        else:
            outcome.set_exception(ProblemError(422, "FileNotWritten", f"files: {message.error}"))

    def workspace_lost(self) -> None:
        if self._written is not None and not self._written[1].done():
            error = _again("WorkspaceLost", "the workspace died while it wrote the files")
            self._written[1].set_exception(error)

    def _note(self, record: dict[str, Any]) -> None:
        """Raises 503 JournalUnavailable."""
        try:
            self._journal.write(record)
        except OSError as error:
            raise _again("JournalUnavailable", f"{error.strerror}") from error

    async def _write_files(self, message: Configure) -> None:
        await self._connected()
        listed = [{"path": file.path, "content": file.content} for file in message.files]
        payload = sealed_memfd(json.dumps(listed).encode())
        number = next(self._numbers)
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._written = number, outcome
        try:
            self._link.send(protocol.WriteFiles(number, message.keep_files), [payload])
            async with asyncio.timeout(WRITE_PATIENCE):
                await outcome
        except TimeoutError as error:
            raise _again(
                "WorkspaceBusy", f"the files were not written within {WRITE_PATIENCE:.0f} s"
            ) from error
        finally:
            os.close(payload)
            self._written = None

    async def _connected(self) -> None:
        deadline = asyncio.get_running_loop().time() + CONNECT_PATIENCE
        while not self._link.connected:
            if asyncio.get_running_loop().time() > deadline:
                raise ProblemError(
                    503,
                    "WorkspaceNotReady",
                    "the workspace is not connected yet; wait for /readyz and send it again",
                    Retry_After="1",
                )
            await asyncio.sleep(0.01)


def _again(code: str, what: str) -> ProblemError:
    return ProblemError(503, code, f"configure may be sent again: {what}", Retry_After="1")


def check_files(message: Configure) -> None:
    """Plain relative paths that stay inside, each once. Raises 422 InvalidRequest."""
    seen: set[str] = set()
    for index, file in enumerate(message.files):
        parts = file.path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise invalid(
                f"files.{index}.path: {file.path[:80]!r} is not a plain relative path inside "
                "the workspace, such as data/in.csv"
            )
        if any(len(part.encode()) > 255 for part in parts):
            raise invalid(f"files.{index}.path: a name in it is longer than 255 bytes")
        if file.path in seen:
            raise invalid(f"files.{index}.path: {file.path[:80]!r} is there twice")
        seen.add(file.path)


def _digest(message: Configure) -> str:
    same = message.model_dump_json(include={"session_uid", "env", "files"})
    return hashlib.sha256(same.encode()).hexdigest()[:32]
