"""Confinement of user code inside the workspace container. Standard library only.

The fork server calls `harden_server()` and `prepare(policy)` before any user code exists; each
forked child calls `Prepared.enter(limits)` last thing before user code or exec. `probe()` says
what this node enforces; a layer that it promised is never left out silently.
"""

from .errors import ConfinementError
from .files import confine_file_server
from .prepared import ConfinementPolicy, Prepared, prepare
from .probing import probe
from .rlimits import ResourceLimits
from .server import harden_server

__all__ = [
    "ConfinementError",
    "ConfinementPolicy",
    "Prepared",
    "ResourceLimits",
    "confine_file_server",
    "harden_server",
    "prepare",
    "probe",
]
