"""Makes the fork server what it has to be before any user code exists, then lets it serve."""

import gc
import os
import signal

from .. import cgroup
from ..confinement import ConfinementPolicy, harden_server, prepare, probe
from .environment import base_environment
from .forkserver import ForkServer
from .preload import STANDARD, preload
from .python_main import settle
from .settings import read_settings
from .supervisor import become_subreaper

NO_MEMORY_LIMIT = (
    "The workspace's memory limit cannot be read: only the kernel ends executions for memory."
)


def serve() -> int:
    """Serve one connection of the runtime; 0 if the sandbox is over, 1 if it was lost."""
    settings = read_settings()
    become_subreaper()
    preload(STANDARD.split())
    files = cgroup.open_files()
    wake = _wake_on_child()
    harden_server()
    prepared = prepare(
        ConfinementPolicy(
            network_none=settings.network_none,
            writable=(settings.workspace_dir, settings.temporary_dir, "/dev/shm"),  # noqa: S108
        )
    )
    capabilities = probe()
    if files.memory_limit() is None:
        capabilities["degraded"] = [*capabilities["degraded"], NO_MEMORY_LIMIT]  # type: ignore[misc]
    server = ForkServer(settings, prepared, files, wake)
    settle(base_environment(settings), settings.workspace_dir)
    gc.collect()
    gc.freeze()
    gc.disable()
    return server.run() if server.connect(capabilities) else 0


def _wake_on_child() -> int:
    """A descriptor that becomes readable when a child has died."""
    wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    return wake
