"""Talking to the runtime of one session: configure it, run one execution, wait for its end.

One task per session at most. It only ever asks what may be asked again (configure repeats, an
execution id is accepted once), so it can be killed at any moment and started anew by another
life of the operator. It decides nothing: its answers go into `results`, and the key into the
queue.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol

from paddock_api.executions import Execution, ExecutionRequest
from paddock_api.messages import Configure, Configured
from paddock_api.reasons import ExecutionState
from paddock_operator.plan.actions import CancelExecution, Converse, Key
from paddock_operator.plan.lifetimes import remaining_ms
from paddock_operator.plan.session_input import Refused
from paddock_operator.runtime_client.client import RuntimeRefusal, RuntimeUnavailable, pause

log = logging.getLogger(__name__)

QUICK_S = 0.5
CONFIGURE = ""
"""Key of a refused configure among a session's results."""


class Talks(Protocol):
    """The requests that a conversation makes."""

    async def configure(self, ip: str, sandbox_uid: str, body: Configure) -> Configured:
        """See RuntimeClient."""
        ...

    async def execute(
        self, ip: str, sandbox_uid: str, body: ExecutionRequest, traceparent: str | None
    ) -> Execution:
        """See RuntimeClient."""
        ...

    async def wait(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        """See RuntimeClient."""
        ...

    async def cancel(self, ip: str, sandbox_uid: str, execution_id: str) -> Execution:
        """See RuntimeClient."""
        ...


class Conversations:
    """All conversations of this process, and what they brought."""

    def __init__(
        self,
        client: Talks,
        answered: Callable[[Key], None],
        now: Callable[[], datetime],
        traceparent: Callable[[Converse], str | None] = lambda _: None,
    ) -> None:
        self._client = client
        self._answered = answered
        self._now = now
        self._traceparent = traceparent
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._told: dict[str, tuple[datetime, int | None]] = {}
        """Expiry and idle timeout that a pod was last configured with."""
        self._results: dict[str, dict[str, Execution | Refused]] = {}

    def results(self, session_uid: str) -> dict[str, Execution | Refused]:
        """What was answered, by execution id."""
        return self._results.get(session_uid, {})

    def ensure(self, action: Converse) -> None:
        """See Converse. A conversation about something older is ended: the plan moved on."""
        execution_id = action.execution.id if action.execution else CONFIGURE
        lifetime = _lifetime(action)
        if execution_id in self.results(action.session_uid):
            return
        if execution_id == CONFIGURE and self._told.get(action.pod_uid) == lifetime:
            return
        topic = f"{action.pod_uid} {execution_id} {lifetime}"
        self._begin(action.session_uid, topic, lambda: self._talk(action))

    def cancel(self, action: CancelExecution) -> None:
        """See CancelExecution. It takes the place of the conversation that waits for the end."""
        if action.execution_id not in self.results(action.session_uid):
            topic = f"{action.pod_uid} cancel {action.execution_id}"
            self._begin(action.session_uid, topic, lambda: self._cancel(action))

    def _begin(
        self, session_uid: str, topic: str, talk: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        going = self._tasks.get(session_uid)
        if going is not None:
            if going[0] == topic and not going[1].done():
                return
            going[1].cancel()
        task = asyncio.create_task(talk(), name=f"talk {session_uid} {topic}")
        self._tasks[session_uid] = (topic, task)

    def forget_pod(self, pod_uid: str) -> None:
        """The pod is gone. Its containers may go on for a moment: what they say is late."""
        self._told.pop(pod_uid, None)
        for session_uid, (topic, task) in list(self._tasks.items()):
            if topic.startswith(f"{pod_uid} "):
                del self._tasks[session_uid]
                task.cancel()

    def forget(self, session_uid: str) -> None:
        """The session is over: its results are in its status or nobody will ask."""
        self._results.pop(session_uid, None)
        if (going := self._tasks.pop(session_uid, None)) is not None:
            going[1].cancel()

    async def close(self) -> None:
        """Stop talking; nothing is lost, the runtimes keep their answers."""
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _cancel(self, action: CancelExecution) -> None:
        attempt = 0
        result: Execution | Refused
        while True:
            try:
                answer = await self._client.cancel(
                    action.ip, action.sandbox_uid, action.execution_id
                )
                result = await self._ended(action.ip, action.sandbox_uid, answer)
            except RuntimeUnavailable:
                attempt += 1
                await pause(attempt)
                continue
            except RuntimeRefusal as error:
                result = Refused(error.code, error.detail)
            except Exception:  # a fault of ours must not leave the session without an answer
                attempt += 1
                log.exception("cancellation failed", extra={"session": str(action.session)})
                await pause(attempt)
                continue
            self._bring(action.session, action.session_uid, action.execution_id, result)
            return

    async def _ended(self, ip: str, sandbox_uid: str, answer: Execution) -> Execution:
        loop = asyncio.get_running_loop()
        attempt = 0
        while answer.state is not ExecutionState.FINISHED:
            begun = loop.time()
            answer = await self._client.wait(ip, sandbox_uid, answer.id)
            # Only a runtime that is not well answers a long poll at once with nothing.
            attempt = attempt + 1 if loop.time() - begun < QUICK_S else 0
            if attempt and answer.state is not ExecutionState.FINISHED:
                await pause(attempt)
        return answer

    async def _talk(self, action: Converse) -> None:
        execution_id = CONFIGURE
        attempt = 0
        while True:
            try:
                if self._told.get(action.pod_uid) != _lifetime(action):
                    # Counted anew: a runtime that could not be reached must not live longer.
                    left_ms = remaining_ms(action.expires_at, self._now())
                    body = action.configure.model_copy(update={"expires_in_ms": left_ms})
                    await self._client.configure(action.ip, action.sandbox_uid, body)
                    self._told[action.pod_uid] = _lifetime(action)
                if action.execution is None:
                    return
                execution_id = action.execution.id
                answer = await self._client.execute(
                    action.ip, action.sandbox_uid, action.execution, self._traceparent(action)
                )
                attempt = 0
                answer = await self._ended(action.ip, action.sandbox_uid, answer)
                self._bring(action.session, action.session_uid, execution_id, answer)
                return
            except RuntimeUnavailable as error:
                # Whether the pod still lives is the plan's to decide: it cancels this task.
                attempt += 1
                log.debug("runtime unavailable", extra={"error.message": str(error)})
                await pause(attempt)
            except RuntimeRefusal as error:
                refused = Refused(error.code, error.detail)
                self._bring(action.session, action.session_uid, execution_id, refused)
                return
            except Exception:  # a fault of ours must not leave the session without an answer
                attempt += 1
                log.exception("conversation failed", extra={"session": str(action.session)})
                await pause(attempt)

    def _bring(
        self, session: Key, session_uid: str, execution_id: str, answer: Execution | Refused
    ) -> None:
        self._results.setdefault(session_uid, {})[execution_id] = answer
        self._answered(session)


def _lifetime(action: Converse) -> tuple[datetime, int | None]:
    return action.expires_at, action.configure.idle_timeout_ms
