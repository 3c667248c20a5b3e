"""Sends executions to the workspace, as many at once as may run, and collects their ends."""

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping

from paddock_api.executions import Execution
from paddock_api.messages import Limits
from paddock_api.reasons import ExecutionReason as Reason
from paddock_api.reasons import ExecutionState as State
from paddock_runtime import protocol
from paddock_runtime.server import logs
from paddock_runtime.server.contexts import Contexts
from paddock_runtime.server.control import WorkspaceLink
from paddock_runtime.server.decide import Evidence, decide, explain
from paddock_runtime.server.memfd import sealed_memfd
from paddock_runtime.server.output import NOTHING, Kept
from paddock_runtime.server.records import End, Entry, now
from paddock_runtime.server.results import read_results
from paddock_runtime.server.running import RESULTS, Run, RunLimits, Watcher

KILL_PATIENCE = 5.0
"""Seconds after which a workspace that does not end an execution is given up."""
MESSAGE_CHARACTERS = 1000
"""The workspace's sentences may quote what user code chose: the journal's lines stay short."""


class Dispatcher:
    """`environment` gives what every execution gets; `ended` is told each end, once; `printed`
    each piece of output, with the number of its stream (1 stdout, 2 stderr)."""

    def __init__(
        self,
        limits: Limits,
        link: WorkspaceLink,
        contexts: Contexts,
        environment: Callable[[], Mapping[str, str]],
        ended: Callable[[Entry, End], None],
        printed: Callable[[str, int, bytes], None],
    ) -> None:
        self._limits = limits
        self._link = link
        self._contexts = contexts
        self._environment = environment
        self._ended = ended
        self._printed = printed
        self._queue: deque[Entry] = deque()
        self._running: dict[str, Entry] = {}
        self._patience: dict[str, asyncio.TimerHandle] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def pending(self) -> int:
        return len(self._queue)

    def submit(self, entry: Entry) -> None:
        self._queue.append(entry)
        self.pump()

    def pump(self) -> None:
        """Start what waits and may run now, in order but for those whose context is taken."""
        passed: list[Entry] = []
        while (
            self._queue and self._link.connected and len(self._running) < self._limits.concurrency
        ):
            entry = self._queue.popleft()
            if entry.context is not None and not self._contexts.free(entry.context):
                passed.append(entry)
                continue
            try:
                self._dispatch(entry)
            except OSError as error:
                self._running.pop(entry.id, None)
                message = f"the runtime could not start it: {error.strerror}"
                self._conclude(entry, Evidence(None, start_error=126), message=message)
        self._queue.extendleft(reversed(passed))

    def cancel(self, entry: Entry, message: str) -> None:
        """Ask for the end of an execution that runs, end one that has not started (submitted
        or not: it never will be started). Ended ones stay as they are."""
        if entry.id in self._running:
            self._kill(entry, Reason.CANCELLED, message)
        elif entry.state is State.PENDING:
            if entry in self._queue:
                self._queue.remove(entry)
            entry.kill_message = message
            self._conclude(entry, Evidence(None, kill_reason=Reason.CANCELLED))

    def signal(self, entry: Entry, number: int) -> bool:
        """To the program's first process group; False where it does not run."""
        if entry.id not in self._running:
            return False
        entry.client_killed |= number == signal.SIGKILL
        self._link.send(protocol.Signal(entry.id, number))
        return True

    def running_in(self, context: str) -> Entry | None:
        return next((entry for entry in self._running.values() if entry.context == context), None)

    def end_context(self, context: str, reason: Reason, message: str) -> None:
        """End what waits for a context that is gone, or is about to be ended for us. What runs
        in it the workspace ends."""
        running = self.running_in(context)
        if reason is Reason.CANCELLED and running is not None and running.kill_reason is None:
            self._expect_end(running, reason, message)
        for entry in [entry for entry in self._queue if entry.context == context]:
            self._queue.remove(entry)
            entry.kill_message = message
            self._conclude(entry, Evidence(None, kill_reason=reason))

    async def drained(self) -> None:
        """Until nothing runs. Only of use when everything was cancelled and nothing is accepted."""
        for entry in list(self._running.values()):
            if entry.done is not None:
                await entry.done.wait()

    def workspace_ended(self, message: protocol.Ended) -> None:
        entry = self._running.pop(message.id, None)
        if entry is None:
            return
        evidence = Evidence(
            status=message.status,
            kill_reason=_known(message.kill_reason),
            start_error=message.start_error,
            oom_kills=message.oom_kills,
            cpu_ms=message.cpu_ms,
            cpu_limit_ms=self._limits.cpu_time_ms,
            context_died=message.context_died,
            client_killed=entry.client_killed,
        )
        if entry.context is not None:
            self._contexts.released(entry.context)
        self._conclude(entry, evidence, message)
        self.pump()

    def workspace_lost(self) -> None:
        """Everything that ran is over. To be called at once: the evidence goes soon."""
        oom_kills = self._link.evidence.oom_kills() or 0
        for entry in list(self._running.values()):
            del self._running[entry.id]
            before = entry.run.oom_kills if entry.run else 0
            evidence = Evidence(
                None, kill_reason=entry.kill_reason, oom_kills=max(0, oom_kills - before)
            )
            self._conclude(entry, evidence)

    def _dispatch(self, entry: Entry) -> None:
        request = entry.request
        if request is None:
            return
        own_timeout = None if entry.background else self._limits.timeout_ms
        own_silence = None if entry.background else self._limits.output_idle_timeout_ms
        limits = RunLimits(
            timeout_ms=request.timeout_ms or own_timeout,
            output_bytes=self._limits.output_bytes,
            output_idle_timeout_ms=own_silence,
            output_kill_bytes=self._limits.output_kill_bytes,
        )
        entry.run = Run(limits, self._watcher(entry))
        entry.run.oom_kills = self._link.evidence.oom_kills() or 0
        body = {
            "language": request.language,
            "code": request.code,
            "argv": request.argv,
            "env": {**self._environment(), **{pair.name: pair.value for pair in request.env}},
            "cwd": request.cwd,
        }
        with contextlib.ExitStack() as owned:
            files = [sealed_memfd(json.dumps(body).encode())]
            owned.callback(os.close, files[0])
            entry.run.start(results=entry.context is not None, stdin=request.stdin_open)
            files += entry.run.child_ends
            if entry.run.stdin is not None:
                entry.run.stdin.write(request.stdin.encode())
            elif request.stdin:
                files.append(sealed_memfd(request.stdin.encode()))
                owned.callback(os.close, files[-1])
            start = protocol.Start(
                id=entry.id,
                python=request.language == "python",
                handed_over=entry.run.started,
                context=entry.context and self._contexts.instance(entry.context),
                background=entry.background,
            )
            self._running[entry.id] = entry
            entry.state, entry.started_at, entry.request = State.RUNNING, now(), None
            self._link.send(start, files)
        entry.run.handed_over()
        if entry.context is not None:
            self._contexts.taken(entry.context)
        entry.changed()

    def _watcher(self, entry: Entry) -> Watcher:
        def printed(stream: int, data: bytes) -> None:
            self._printed(entry.id, stream + 1, data)
            entry.changed()

        return Watcher(
            ask_end=lambda reason, message: self._kill(entry, reason, message), printed=printed
        )

    def _kill(self, entry: Entry, reason: Reason, message: str) -> None:
        if entry.kill_reason is not None or entry.id not in self._running:
            return
        self._link.send(protocol.Kill(entry.id, reason))
        self._expect_end(entry, reason, message)

    def _expect_end(self, entry: Entry, reason: Reason, message: str) -> None:
        entry.kill_reason, entry.kill_message = reason, message
        loop = asyncio.get_running_loop()
        self._patience[entry.id] = loop.call_later(KILL_PATIENCE, self._give_up, entry.id)

    def _give_up(self, identity: str) -> None:
        if identity in self._running:
            logs.error("workspace.unresponsive", execution=identity)
            self._link.drop()

    def _conclude(
        self,
        entry: Entry,
        evidence: Evidence,
        ended: protocol.Ended | None = None,
        message: str | None = None,
    ) -> None:
        timer = self._patience.pop(entry.id, None)
        if timer is not None:
            timer.cancel()
        streams: list[Kept] = []
        duration_ms = None
        if entry.run is not None:
            duration_ms = round((asyncio.get_running_loop().time() - entry.run.started) * 1000)
            streams = entry.run.finish()
        verdict = decide(evidence)
        if message is None and ended is not None:
            message = ended.message
        if message is None and verdict.reason == evidence.kill_reason:
            message = entry.kill_message
        if message is None:
            message = explain(verdict, self._limits)
        started = ended is not None and ended.start_error is None
        results = streams[RESULTS] if len(streams) > RESULTS else NOTHING
        facts = Execution(
            id=entry.id,
            state=State.FINISHED,
            context=entry.context,
            background=entry.background,
            reason=verdict.reason,
            exit_code=verdict.exit_code,
            signal=verdict.signal,
            message=message and message[:MESSAGE_CHARACTERS],
            duration_ms=ended.duration_ms if ended else duration_ms,
            cpu_ms=ended.cpu_ms if ended and started else None,
            peak_memory_bytes=ended.peak_memory_bytes if ended and started else None,
            oom_kills=evidence.oom_kills,
            truncated=any(kept.omitted for kept in streams),
            error=read_results(results)[1],
            accepted_at=entry.accepted_at,
            started_at=entry.started_at,
            finished_at=now(),
        )
        self._ended(entry, End(facts, *streams))


def _known(reason: str | None) -> str | None:
    return reason if reason in set(Reason) else None
