"""The state of one sandbox put together, and how it ends."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from paddock_api.messages import Capabilities, SandboxSettings
from paddock_runtime import protocol
from paddock_runtime.server import logs
from paddock_runtime.server.configuration import Configuration
from paddock_runtime.server.contexts import Contexts
from paddock_runtime.server.control import WorkspaceLink
from paddock_runtime.server.dispatcher import Dispatcher
from paddock_runtime.server.executions import Executions
from paddock_runtime.server.files import Files
from paddock_runtime.server.journal import Journal, boot_id
from paddock_runtime.server.lifetime import TERMINATED, Lifetime
from paddock_runtime.server.metrics import Metrics
from paddock_runtime.server.output_log import OutputLog
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.records import End, Entry
from paddock_runtime.server.termination import termination_message

END_PATIENCE = 2.0
"""Seconds that executions get to be ended; the kubelet kills the container 5 s after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Places:
    """Directories and files, from the environment."""

    control: Path
    journal: Path
    termination_log: Path
    workspace_uid: int | None


class Sandbox:
    """Needs a running loop. `start` before anything else, `end` last."""

    def __init__(self, settings: SandboxSettings, places: Places) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._places = places
        self._journal = Journal(places.journal)
        self.link = WorkspaceLink(places.control, places.workspace_uid, self)
        self.executions = Executions(self._journal, self.metrics, settings.limits)
        self._lifetime = Lifetime(self._busy, self.over)
        self.configuration = Configuration(settings, self.link, self._journal, self._lifetime)
        environment = self.configuration.environment
        self.contexts = Contexts(self.link, self._journal, environment)
        self._output_log = OutputLog(settings.limits.output_bytes) if settings.logs else None
        self._dispatcher = Dispatcher(
            settings.limits, self.link, self.contexts, environment, self._ended, self._printed
        )
        self.executions.dispatcher = self._dispatcher
        self.contexts.ended = self._dispatcher.end_context
        self.files = Files(settings.limits, places.journal, self.metrics)
        self.ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.metrics.gauges = {
            "executions_running": ("Executions running now.", lambda: self._dispatcher.running),
            "executions_pending": ("Executions waiting.", lambda: self._dispatcher.pending),
            "workspace_connected": ("1 while it answers.", lambda: float(self.link.connected)),
            "workspace_connections": ("Times it connected.", lambda: self.link.connections),
            "file_transfers": ("Files being read or written.", lambda: self.files.transfers),
            "file_server_connections": ("Times it started.", lambda: self.files.connections),
        }

    def start(self) -> None:
        """Read the journal, then let the workspace in."""
        try:
            known = self._restore()
        except ValueError as error:
            if not self.ending.done():
                raise
            logs.warning("journal.broken", error=str(error))
            known = True
        if not known:
            self._journal.write({"type": "boot", "id": boot_id()})
        if self.executions.end_unfinished():
            self._lifetime.used()
        self.link.listen()

    def _restore(self) -> bool:
        """Take over what an earlier runtime wrote; whether there was one. Raises ValueError for a
        journal that holds something else."""
        known = False
        for record, line in self._journal.records():
            known = True
            if record["type"] == "boot" and record["id"] != boot_id():
                # The node went down. What was written last may be lost, an acceptance among it,
                # whose program would run a second time; or be no lines at all.
                self.over(TERMINATED)
            self.configuration.restore(record)
            self.contexts.restore(record)
            self.executions.restore(record, line)
            if record["type"] == "ended":
                self._lifetime.used(record["lastUse"])
        return known

    def over(self, reason: str) -> None:
        """The sandbox is to end; only the first reason counts."""
        if not self.ending.done():
            self.ending.set_result(reason)

    def used(self) -> None:
        """A client did something that counts as use and is no execution."""
        self._lifetime.used()

    def refuse_if_ending(self) -> None:
        if self.ending.done():
            raise ProblemError(
                503,
                "SandboxEnding",
                f"the sandbox is ending ({self.ending.result()}) and takes no new work; "
                "use another session",
            )

    def capabilities(self) -> Capabilities:
        """Raises 503 before the workspace has ever connected."""
        hello = self.link.hello
        if hello is None:
            raise ProblemError(
                503,
                "WorkspaceNotReady",
                "the workspace has not said yet what its node enforces; wait for /readyz",
                Retry_After="1",
            )
        oom_evidence = self.link.evidence.oom_kills() is not None
        return Capabilities.model_validate({**hello.capabilities, "oomEvidence": oom_evidence})

    async def end(self, reason: str) -> None:
        """Cancel what runs, note every end, leave the termination message, stop the workspace."""
        logs.info("sandbox.ending", reason=reason)
        self._lifetime.stop()
        self.executions.cancel_all(f"the sandbox ended ({reason})")
        try:
            async with asyncio.timeout(END_PATIENCE):
                await self._dispatcher.drained()
        except TimeoutError:
            self._dispatcher.workspace_lost()
        self._leave_message(reason)
        self._stop_workspace()

    def close(self) -> None:
        self.link.close()
        self.files.close()
        self._journal.close()

    def workspace_connected(self) -> None:
        logs.info("workspace.connected", connection=self.link.connections)
        hello = self.link.hello
        if hello is not None and (failed := hello.capabilities.get("preloadFailed")):
            logs.warning("workspace.preload_failed", modules=str(failed)[:1000])
        self._dispatcher.pump()

    def workspace_said(self, message: protocol.FromWorkspace) -> None:
        match message:
            case protocol.Ended():
                self._dispatcher.workspace_ended(message)
            case protocol.ContextReady() | protocol.ContextEnded():
                self.contexts.workspace_said(message)
                self._dispatcher.pump()
            case protocol.FilesWritten():
                self.configuration.files_written(message)
            case _:
                logs.warning("workspace.unexpected", message=type(message).__name__)

    def file_server_started(self, descriptor: int) -> None:
        self.files.connect(descriptor)

    def workspace_lost(self) -> None:
        if not self.ending.done():
            logs.warning("workspace.lost")
        self._dispatcher.workspace_lost()
        self.contexts.workspace_lost()
        self.configuration.workspace_lost()
        self.files.workspace_lost()

    def _busy(self) -> bool:
        return self.executions.unfinished > 0 or self.files.busy

    def _printed(self, identity: str, stream: int, data: bytes) -> None:
        if self._output_log is not None:
            self._output_log.add(identity, stream, data)

    def _ended(self, entry: Entry, end: End) -> None:
        self._lifetime.used()
        if self._output_log is not None:
            self._output_log.end(entry.id)
        self.executions.ended(entry, end)

    def _stop_workspace(self) -> None:
        """Told, and left in writing for one that is not connected just now: without it a
        workspace that restarts would wait for a runtime for ever, and its pod would stay."""
        try:
            (self._places.control / protocol.OVER_NAME).touch()
        except OSError as error:
            logs.warning("control.unwritable", error=str(error))
        self.link.send(protocol.Stop())

    def _leave_message(self, reason: str) -> None:
        ends = self.executions.all_ends()
        newest = [entry for entry in ends if entry.collected][-20:]
        uncollected = [entry for entry in ends if not entry.collected]
        message = termination_message(
            reason,
            [self.executions.view(entry, 0, results=False) for entry in uncollected[:64]],
            [self.executions.view(entry, 0, results=False) for entry in newest],
            beyond=len(uncollected[64:]),
        )
        try:
            descriptor = os.open(self._places.termination_log, os.O_WRONLY | os.O_TRUNC)
        except OSError as error:
            logs.warning("termination.unwritable", error=str(error))
            return
        try:
            os.write(descriptor, message)
        finally:
            os.close(descriptor)
