"""The runtime's parts in this process, without a workspace: for moments that no client can hit."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from paddock_api.executions import ExecutionRequest
from paddock_api.messages import SandboxSettings
from paddock_runtime import protocol
from paddock_runtime.server.sandbox import Places, Sandbox


class FakeWorkspace:
    """Connected from the start; keeps what it is told and the descriptors it was passed."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.told: list[protocol.Message] = []
        link = sandbox.link
        link._greeted = True
        link.send = self._send  # type: ignore[method-assign]
        link.drop = lambda: None  # type: ignore[method-assign]

    def _send(self, message: protocol.Message, descriptors: object = ()) -> None:
        self.told.append(message)

    def starts(self) -> list[str]:
        return [message.id for message in self.told if isinstance(message, protocol.Start)]


@contextlib.contextmanager
def started(directory: Path, **limits: int) -> Iterator[Sandbox]:
    for name in ("control", "journal"):
        (directory / name).mkdir(exist_ok=True)
    (directory / "termination-log").touch()
    settings = SandboxSettings.model_validate({"sandboxUid": "u", "limits": limits})
    places = Places(
        directory / "control", directory / "journal", directory / "termination-log", None
    )
    sandbox = Sandbox(settings, places)
    sandbox.start()
    try:
        yield sandbox
    finally:
        sandbox.close()


def request(identity: str = "x", code: str = "") -> ExecutionRequest:
    return ExecutionRequest(id=identity, language="bash", code=code)
