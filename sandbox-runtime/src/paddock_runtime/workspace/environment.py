"""The environment of user code, built from nothing.

Nothing is inherited: the container's own environment holds KUBERNETES_* and the settings.
"""

from .settings import Settings


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
