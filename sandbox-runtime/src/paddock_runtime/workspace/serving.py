"""Makes the fork server what it has to be before any user code exists, then lets it serve."""

import contextlib
import gc
import os
import signal
from collections.abc import Iterator

from .. import cgroup
from ..confinement import ConfinementPolicy, harden_server, prepare, probe
from .beneath import Root
from .children import Children
from .environment import base_environment, erase_inherited
from .forkserver import ForkServer
from .preload import STANDARD, preload
from .python_main import settle
from .settings import read_settings
from .supervisor import become_subreaper

NO_MEMORY_LIMIT = (
    "The workspace's memory limit cannot be read: only the kernel ends executions for memory."
)
NO_OPENAT2 = (
    "openat2 is refused (a kernel before 5.6, or a system call filter): the files API follows no "
    "links, not even those that stay inside the workspace."
)


def serve() -> int:
    """Serve one connection of the runtime; 0 if the sandbox is over, 1 if it was lost."""
    settings = read_settings()
    become_subreaper()
    preload(STANDARD.split())
    erase_inherited()
    # Libraries size their thread pools when they are imported.
    os.environ.update(base_environment(settings))
    failed = preload(settings.preload)
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
    capabilities |= {
        "preloaded": [name for name in settings.preload if name not in failed],
        "preloadFailed": [f"{name}: {why}" for name, why in failed.items()],
    }
    capabilities["degraded"] = [*capabilities["degraded"], *lacks(files, settings.workspace_dir)]  # type: ignore[misc]
    server = ForkServer(settings, Children(settings, prepared), files, wake)
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


def lacks(files: cgroup.CgroupFiles, workspace: str) -> Iterator[str]:
    """A sentence for each thing of this container, besides confinement, that is less than whole."""
    if files.memory_limit() is None:
        yield NO_MEMORY_LIMIT
    with contextlib.closing(Root(workspace)) as root:
        if not root.follows_links:
            yield NO_OPENAT2
