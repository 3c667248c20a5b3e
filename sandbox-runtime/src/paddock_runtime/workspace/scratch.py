"""What executions leave behind in memory."""

import os
import shutil

SHARED_MEMORY = "/dev/shm"  # noqa: S108


def sweep_shared_memory(directory: str = SHARED_MEMORY) -> None:
    """Remove our user's files there: they outlive their execution and count as its memory.

    Only for a user that has nothing else there, as in a container, and while nothing runs.
    """
    uid = os.getuid()
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.stat(follow_symlinks=False).st_uid != uid:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)  # noqa: PTH108
        except OSError:
            continue
