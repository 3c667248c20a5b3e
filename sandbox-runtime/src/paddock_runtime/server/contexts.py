"""Contexts: interpreters in the workspace that keep their variables between executions."""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from paddock_api.contexts import Context, ContextRequest
from paddock_api.reasons import ContextState as State
from paddock_api.reasons import ExecutionReason as Reason
from paddock_runtime import protocol
from paddock_runtime.server.control import WorkspaceLink
from paddock_runtime.server.journal import Journal
from paddock_runtime.server.memfd import sealed_memfd
from paddock_runtime.server.problems import ProblemError
from paddock_runtime.server.records import now

MAX_CONTEXTS = 8
"""Living and dead: each is a process, and each execution in one may keep 1 MiB of results."""
_NUMBERED = "/"
PATIENCE = 10.0
"""Seconds for an interpreter to be there or gone: milliseconds, but for a machine that swaps."""


@dataclass(slots=True, eq=False)
class ContextEntry:
    """One context. `settled` is set whenever it is neither starting nor being ended; `changing`
    is held by the one who starts or ends it."""

    request: ContextRequest
    created_at: datetime
    instance: str = ""
    """What the workspace calls its interpreter: another one for each, so that what it says of one
    that was given up is not taken for its successor's."""
    state: State = State.STARTING
    executions: int = 0
    message: str | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def id(self) -> str:
        return self.request.id

    def view(self) -> Context:
        return Context(
            id=self.id,
            state=self.state,
            language=self.request.language,
            executions=self.executions,
            message=self.message,
            created_at=self.created_at,
        )


class Contexts:
    """All contexts of this sandbox. `ended` is told the id, a reason and a sentence when one is
    gone, so that what waits for it can end as well; set it before making any."""

    ended: Callable[[str, Reason, str], None]

    def __init__(
        self, link: WorkspaceLink, journal: Journal, environment: Callable[[], Mapping[str, str]]
    ) -> None:
        self._link = link
        self._journal = journal
        self._environment = environment
        self._entries: dict[str, ContextEntry] = {}
        self._numbers = itertools.count(1)

    def all(self) -> list[Context]:
        return [entry.view() for entry in self._entries.values()]

    def get(self, identity: str) -> ContextEntry:
        """Raises 404."""
        entry = self._entries.get(identity)
        if entry is None:
            raise ProblemError(404, "NotFound", f"id: there is no context {identity[:128]!r}")
        return entry

    async def create(self, request: ContextRequest) -> tuple[ContextEntry, bool]:
        """The context, waiting for code, and whether it is new.

        Raises ProblemError: 409 ContextIdReused, 422 ContextNotStarted, 429 TooManyContexts, 503.
        """
        while (known := self._entries.get(request.id)) is not None:
            if known.request != request:
                raise ProblemError(
                    409,
                    "ContextIdReused",
                    f"id: {request.id!r} is a context made with other env or cwd; use a new id or "
                    "delete it",
                )
            await self._settled(known)
            if self._entries.get(request.id) is known:
                return known, False
            # Whoever was making it has gone, and it with him.
        if len(self._entries) >= MAX_CONTEXTS:
            raise ProblemError(
                429,
                "TooManyContexts",
                f"this sandbox has {MAX_CONTEXTS} contexts, the most it can have; delete one",
            )
        entry = ContextEntry(request, now())
        self._entries[entry.id] = entry
        try:
            async with entry.changing:
                await self._start(entry)
        except BaseException:  # also when the client has gone: nobody knows of it
            if self._entries.get(entry.id) is entry:
                del self._entries[entry.id]
                self.ended(entry.id, Reason.CONTEXT_DIED, "its context was not made after all")
            entry.settled.set()
            self._link.send(protocol.CloseContext(entry.instance))
            raise
        wire = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        self._note({"type": "context", "id": entry.id, "at": now().isoformat(), "request": wire})
        return entry, True

    async def restart(self, identity: str) -> ContextEntry:
        """A new interpreter under the same id. What ran or waited ends."""
        entry = self.get(identity)
        async with entry.changing:
            self.get(identity)
            await self._end(entry, "its context was restarted")
            await self._start(entry)
        return entry

    async def delete(self, identity: str) -> None:
        """End it and forget it. What ran or waited ends."""
        entry = self.get(identity)
        async with entry.changing:
            self.get(identity)
            await self._end(entry, "its context was deleted")
            del self._entries[identity]
            self._note({"type": "contextDeleted", "id": identity})

    def check(self, identity: str) -> ContextEntry:
        """One that code may be sent to. Raises 404, 409 ContextDied."""
        entry = self._entries.get(identity)
        if entry is None:
            raise ProblemError(
                404,
                "NotFound",
                f"context: there is no context {identity[:128]!r}; make it (POST /v1/contexts), "
                "or leave the field out",
            )
        if entry.state is State.DEAD:
            raise ProblemError(
                409,
                "ContextDied",
                f"context: {identity!r} is dead ({entry.message}); restart it "
                f"(POST /v1/contexts/{identity}/restart) or make another",
            )
        return entry

    def instance(self, identity: str) -> str:
        """What the workspace calls it."""
        return self._entries[identity].instance

    def free(self, identity: str) -> bool:
        entry = self._entries.get(identity)
        return entry is not None and entry.state is State.IDLE

    def taken(self, identity: str) -> None:
        entry = self._entries[identity]
        entry.state = State.BUSY
        entry.executions += 1

    def released(self, identity: str) -> None:
        entry = self._entries.get(identity)
        if entry is not None and entry.state is State.BUSY:
            entry.state = State.IDLE

    def workspace_said(self, message: protocol.ContextReady | protocol.ContextEnded) -> None:
        entry = self._entries.get(message.id.rpartition(_NUMBERED)[0])
        if entry is None or entry.instance != message.id:
            return
        match message:
            case protocol.ContextReady():
                entry.state = State.IDLE
                entry.settled.set()
            case protocol.ContextEnded():
                self._dead(entry, message.message)

    def workspace_lost(self) -> None:
        for entry in list(self._entries.values()):
            if entry.state is not State.DEAD:
                self._dead(entry, "the workspace died under it")

    def restore(self, record: dict[str, Any]) -> None:
        """Take over what an earlier runtime noted: it lived, and is dead now."""
        if record["type"] == "context":
            request = ContextRequest.model_validate(record["request"])
            entry = ContextEntry(request, datetime.fromisoformat(record["at"]), state=State.DEAD)
            entry.message = "the runtime's container restarted"
            entry.settled.set()
            self._entries[entry.id] = entry
        elif record["type"] == "contextDeleted":
            self._entries.pop(record["id"], None)

    async def _start(self, entry: ContextEntry) -> None:
        if not self._link.connected:
            raise ProblemError(
                503,
                "WorkspaceNotReady",
                "the workspace is not connected; wait for /readyz and send it again",
                Retry_After="1",
            )
        request = entry.request
        env = {**self._environment(), **{pair.name: pair.value for pair in request.env}}
        payload = sealed_memfd(json.dumps({"env": env, "cwd": request.cwd}).encode())
        entry.state, entry.message = State.STARTING, None  # from here on somebody settles it
        entry.settled.clear()
        entry.instance = f"{entry.id}{_NUMBERED}{next(self._numbers)}"
        try:
            self._link.send(protocol.NewContext(entry.instance), [payload])
        finally:
            os.close(payload)
        await self._settled(entry)
        if entry.state is State.DEAD:
            raise ProblemError(422, "ContextNotStarted", f"{entry.message}")

    async def _end(self, entry: ContextEntry, message: str) -> None:
        self.ended(entry.id, Reason.CANCELLED, message)
        if entry.state is State.DEAD:
            return
        entry.settled.clear()
        self._link.send(protocol.CloseContext(entry.instance))
        await self._settled(entry)

    async def _settled(self, entry: ContextEntry) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await entry.settled.wait()
        except TimeoutError as error:
            raise ProblemError(
                503,
                "WorkspaceBusy",
                f"the workspace did not answer within {PATIENCE:.0f} s; send it again",
                Retry_After="1",
            ) from error

    def _dead(self, entry: ContextEntry, message: str) -> None:
        entry.state, entry.message = State.DEAD, message
        entry.settled.set()
        self.ended(entry.id, Reason.CONTEXT_DIED, f"its context died: {message}")

    def _note(self, record: dict[str, Any]) -> None:
        """Without it a restarted runtime says 404 instead of ContextDied: it may be lost."""
        if not self._journal.full:
            with contextlib.suppress(OSError):
                self._journal.write(record)
