"""Confinement of the file server: one directory, no program, no other process, no network."""

import os
import resource
import signal

from . import landlock, linux
from .errors import ConfinementError
from .prepared import Prepared

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
_NAME = b"paddock-files\0"
"""For people who look at a list of processes."""


def confine_file_server(prepared: Prepared, directory: str, listed: str) -> None:
    """For good. `directory` may be read and written, `listed` only looked through.

    Raises ConfinementError; the process must end then.
    """
    layer = "rlimits"
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        layer = "signals"
        linux.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        name = linux.buffer(_NAME)
        linux.prctl(PR_SET_NAME, linux.address(name))
        layer = "noNewPrivs"
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        if prepared.program is not None:
            layer = "seccomp"
            prepared.program.install()
        if prepared.abi:
            layer = "landlock"
            ruleset = landlock.build_within(prepared.abi, directory, listed)
            landlock.restrict_self(ruleset, prepared.abi)
            os.close(ruleset)
    except (OSError, ValueError) as error:
        raise ConfinementError(layer, str(error)) from error
