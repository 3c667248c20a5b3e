"""The environment of user code, built from nothing.

Nothing is inherited: the container's own environment holds KUBERNETES_* and the settings.
"""

import ctypes
import os

from .settings import Settings


def erase_inherited() -> None:
    """Forget the environment that this process was started with, also where the kernel shows it:
    a forked child has the same /proc/self/environ."""
    os.environ.clear()
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])  # env_start and env_end of proc(5)
    if start:
        ctypes.memset(start, 0, end - start)


def base_environment(settings: Settings) -> dict[str, str]:
    """What every program finds; the template's, session's and execution's env go on top.

    The uid has no passwd entry, hence USER and LOGNAME. PYTHONIOENCODING makes a Python that a
    program starts as strict about surrogates as ours is. Thread pools are sized by the CPU
    limit, since os.cpu_count() shows the node.
    """
    threads = str(max(1, -(-settings.cpu_millis // 1000)))
    return {
        "HOME": settings.workspace_dir,
        "TMPDIR": settings.temporary_dir,
        "XDG_CACHE_HOME": f"{settings.temporary_dir}/.cache",
        "MPLCONFIGDIR": f"{settings.temporary_dir}/.cache/matplotlib",
        "USER": "sandbox",
        "LOGNAME": "sandbox",
        "PATH": settings.path,
        "LANG": "C.UTF-8",
        "PYTHONIOENCODING": "utf-8",
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }
