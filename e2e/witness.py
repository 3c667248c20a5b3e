"""A witness of what ran, outside of everything that Paddock keeps: the node's own file system.

A step appends a line to witness.txt in its workspace, an emptyDir, which the kubelet keeps in a
folder of this machine. A thread reads these files all the time, also of pods that are dying.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e import audit

FILE = "witness.txt"
EVERY_S = 0.02
VOLUME = "volumes/kubernetes.io~empty-dir/workspace"


class Witness(threading.Thread):
    """Lines seen, by pod uid. A line stays seen when its file is gone."""

    def __init__(self, pods: Path) -> None:
        super().__init__(name="witness")
        self._pods = pods
        self._end = threading.Event()
        self._seen: dict[str, str] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._end.wait(EVERY_S):
                self._look()
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self._end.set()
        self.join(timeout=10)

    def saw(self, marker: str) -> list[str]:
        """Every line that begins with the marker, from all pods; repeats are what we look for."""
        assert self.error is None, f"the witness died: {self.error!r}"
        assert self.is_alive()
        lines = [line for text in list(self._seen.values()) for line in text.splitlines()]
        return sorted(line for line in lines if line.startswith(marker))

    def _look(self) -> None:
        with os.scandir(self._pods) as folders:
            names = [folder.name for folder in folders]
        for uid in names:
            with contextlib.suppress(OSError):
                text = (self._pods / uid / VOLUME / FILE).read_text(errors="replace")
                if len(text) > len(self._seen.get(uid, "")):
                    self._seen[uid] = text


@contextmanager
def watching(kubeconfig: Path) -> Iterator[Witness]:
    """A witness at work; skips the test where the node is another machine."""
    named = os.environ.get("PADDOCK_E2E_KUBELET_PODS")
    pods = Path(named) if named else None
    if pods is None and audit.local("kubeconfig") == str(kubeconfig.absolute()):
        pods = Path(audit.local("audit-log")).parents[1] / "kubelet" / "pods"
    if pods is None or not os.access(pods, os.R_OK | os.X_OK):
        pytest.skip(
            "the kubelet's folder of pods is not on this machine (kind), so nobody outside of the "
            "sandbox could witness what runs; set PADDOCK_E2E_KUBELET_PODS to its path"
        )
    witness = Witness(pods)
    witness.start()
    try:
        yield witness
    finally:
        witness.stop()
