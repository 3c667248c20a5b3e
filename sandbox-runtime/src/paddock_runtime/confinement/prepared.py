"""From a policy to something a forked child can put on in a fraction of a millisecond."""

import os
from dataclasses import dataclass

from . import landlock, linux, rlimits, rules, seccomp, server
from .errors import ConfinementError
from .probing import findings


@dataclass(frozen=True)
class ConfinementPolicy:
    """What user code of this sandbox may do; the same for all its executions."""

    network_none: bool
    writable: tuple[str, ...]  # absolute paths; the devices programs need are added


@dataclass(frozen=True)
class Prepared:
    """The layers of a policy, built. Make it with `prepare` in the fork server."""

    ruleset: int | None  # None where the node has no Landlock
    abi: int
    program: seccomp.Filter | None
    oom_score: bool

    def enter(self, limits: rlimits.ResourceLimits) -> None:
        """Confine this process, for good, and everything it starts.

        To be called in a forked, single-threaded child right before user code or exec, after
        it has closed the descriptors of the control connection. On ConfinementError the child
        must exit: some layers may be on already, and others are not.

        The order is forced. rlimits come before the filter, which refuses the mark's limit
        from then on. oom_score_adj belongs to root while the process is not dumpable, and
        Landlock refuses writing to it. Becoming dumpable comes after the filter: from there on
        there is nothing to gain by taking this process over.
        """
        layer = "signals"
        try:
            server.restore_signals()
            layer = "rlimits"
            rlimits.apply(limits)
            layer = "noNewPrivs"
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            if self.program is not None:
                layer = "seccomp"
                self.program.install()
            layer = "dumpable"
            linux.prctl(linux.PR_SET_DUMPABLE, 1)
            if self.oom_score:
                layer = "oomScoreAdj"
                server.set_oom_score()
            if self.ruleset is None:
                # Nothing else keeps other executions from /proc/PID/mem. A program started by
                # exec is dumpable again whatever we do; `probe` says so.
                layer = "dumpable"
                linux.prctl(linux.PR_SET_DUMPABLE, 0)
                return
            layer = "landlock"
            landlock.restrict_self(self.ruleset, self.abi)
            # The ruleset is one object shared with the fork server: user code holding it could
            # add rules to it, and the next execution would get them.
            os.close(self.ruleset)
        except (OSError, ValueError) as error:
            raise ConfinementError(layer, str(error)) from error


def prepare(policy: ConfinementPolicy) -> Prepared:
    """Build the layers that this node was found to have; once, before any user code runs."""
    for path in policy.writable:
        if not path.startswith("/"):
            raise ConfinementError("policy", f"not an absolute path: {path!r}")
    found = findings()
    ruleset = None
    if found.landlock_abi:
        try:
            ruleset = landlock.build(found.landlock_abi, policy.writable, policy.network_none)
        except OSError as error:
            raise ConfinementError("landlock", str(error)) from error
    program = None
    machine = seccomp.this_machine()
    if found.seccomp and machine is not None:
        # PID 1, ourselves, who restarts us, and the group that a negative pid would reach.
        ours = {1, os.getpid(), os.getppid(), os.getpgrp()} - {0}
        protected = () if found.signal_scope else tuple(sorted(ours))
        table = rules.rules_for(policy.network_none, protected)
        program = seccomp.Filter(seccomp.assemble(table, machine))
    return Prepared(ruleset, found.landlock_abi, program, found.oom_score)
