"""What the system call filter refuses, as a table that can be read aloud.

Rules are tried in order and the first whose conditions all hold decides; what no rule names is
allowed. This is a deny list on purpose: it stands behind the runtime's own allow list
(RuntimeDefault) and closes what that leaves open between processes of one uid.
"""

import errno
from dataclasses import dataclass
from typing import Final, Literal

Test = Literal["in", "not_in", "any_bits", "nonzero64"]


@dataclass(frozen=True)
class Arg:
    """A condition on one argument; all but nonzero64 look at its low 32 bits.

    That is what the kernel itself does: the arguments tested so are int, unsigned or pid_t.
    """

    index: int
    test: Test
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rule:
    syscalls: tuple[str, ...]
    error: int
    when: tuple[Arg, ...] = ()


AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
# 0 (any), ICMP, TCP, UDP, ICMPv6, MPTCP: not SCTP, DCCP and other code that is rarely run.
PROTOCOLS: Final = (0, 1, 6, 17, 58, 262)
NETLINK_ROUTE: Final = 0  # getaddrinfo and getifaddrs ask for the host's own addresses

RLIMIT_LOCKS: Final = 10
PRIO_USER, IOPRIO_WHO_USER = 2, 3
CLONE_PARENT: Final = 0x8000
CLONE_NEW_ANY: Final = 0x7E020000  # NS, CGROUP, UTS, IPC, USER, PID, NET
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
FIOSETOWN, SIOCSPGRP = 0x8901, 0x8902
F_SETOWN, F_SETOWN_EX = 8, 15
PER_LINUX, PERSONALITY_QUERY = 0, 0xFFFFFFFF
MINUS_ONE: Final = 0xFFFFFFFF


def _refuse(names: str, error: int = errno.EPERM, *when: Arg) -> Rule:
    return Rule(tuple(names.split()), error, when)


_ALWAYS: Final[tuple[Rule, ...]] = (
    # Other processes: this uid also runs the fork server and other executions.
    _refuse(
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease "
        "kcmp pidfd_getfd"
    ),
    # The unique RLIMIT_LOCKS value is how a sweep knows whose process this is.
    _refuse("setrlimit", errno.EPERM, Arg(0, "in", (RLIMIT_LOCKS,))),
    _refuse("prlimit64", errno.EPERM, Arg(1, "in", (RLIMIT_LOCKS,)), Arg(2, "nonzero64")),
    _refuse("prlimit64", errno.EPERM, Arg(0, "not_in", (0,)), Arg(2, "nonzero64")),
    _refuse(
        "sched_setparam sched_setscheduler sched_setaffinity sched_setattr "
        "migrate_pages move_pages",
        errno.EPERM,
        Arg(0, "not_in", (0,)),
    ),
    # "who" 0 means oneself, but with the user as unit it means every process of the uid.
    _refuse("setpriority", errno.EPERM, Arg(1, "not_in", (0,))),
    _refuse("setpriority", errno.EPERM, Arg(0, "in", (PRIO_USER,))),
    _refuse("ioprio_set", errno.EPERM, Arg(1, "not_in", (0,))),
    _refuse("ioprio_set", errno.EPERM, Arg(0, "in", (IOPRIO_WHO_USER,))),
    # Namespaces. clone3 hides its flags behind a pointer that a filter cannot follow; told
    # that it does not exist, the C library uses clone. CLONE_PARENT would make the new process
    # a child of the fork server.
    _refuse("clone3", errno.ENOSYS),
    _refuse("clone", errno.EPERM, Arg(0, "any_bits", (CLONE_NEW_ANY | CLONE_PARENT,))),
    _refuse(
        "unshare setns mount umount2 pivot_root chroot open_tree open_tree_attr move_mount "
        "fsopen fsconfig fsmount fspick mount_setattr open_by_handle_at"
    ),
    # These outlive the execution that made them, and the whole pod sees them.
    _refuse(
        "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl "
        "mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr memfd_secret"
    ),
    # Keystrokes put into a terminal that someone else reads.
    _refuse("ioctl", errno.EPERM, Arg(1, "in", (TIOCSTI, TIOCLINUX))),
    _refuse("io_uring_setup io_uring_enter io_uring_register", errno.ENOSYS),
    _refuse(
        "bpf perf_event_open userfaultfd fanotify_init add_key request_key keyctl "
        "lookup_dcookie modify_ldt"
    ),
    _refuse("personality", errno.EPERM, Arg(0, "not_in", (PER_LINUX, PERSONALITY_QUERY))),
    _refuse(
        "kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff "
        "acct quotactl quotactl_fd nfsservctl syslog vhangup sethostname setdomainname "
        "settimeofday clock_settime iopl ioperm uselib ustat sysfs _sysctl"
    ),
)

_ONLY_UNIX: Final[tuple[Rule, ...]] = (
    _refuse("socket socketpair", errno.EACCES, Arg(0, "not_in", (AF_UNIX,))),
)

_ORDINARY_NETWORK: Final[tuple[Rule, ...]] = (
    _refuse(
        "socket socketpair",
        errno.EAFNOSUPPORT,
        Arg(0, "not_in", (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK)),
    ),
    _refuse(
        "socket",
        errno.EPROTONOSUPPORT,
        Arg(0, "in", (AF_NETLINK,)),
        Arg(2, "not_in", (NETLINK_ROUTE,)),
    ),
    _refuse(
        "socket",
        errno.EPROTONOSUPPORT,
        Arg(0, "in", (AF_INET, AF_INET6)),
        Arg(2, "not_in", PROTOCOLS),
    ),
)


def _unscoped_signals(protected: tuple[int, ...]) -> tuple[Rule, ...]:
    """Before Landlock scopes signals (ABI 6), at least keep them from the fork server.

    Every way to name a target by number is closed for its pid, and ways to name it otherwise
    (a pidfd from /proc, a descriptor's owner) are closed altogether. Other executions can
    still be hit; `probe` says so.
    """
    groups = tuple(-pid & 0xFFFFFFFF for pid in protected)
    by_pid = Arg(0, "in", (*protected, *groups, MINUS_ONE))
    return (
        _refuse("kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo", errno.EPERM, by_pid),
        _refuse("pidfd_open", errno.EPERM, by_pid),
        _refuse("pidfd_send_signal"),
        _refuse("fcntl", errno.EPERM, Arg(1, "in", (F_SETOWN, F_SETOWN_EX))),
        _refuse("ioctl", errno.EPERM, Arg(1, "in", (FIOSETOWN, SIOCSPGRP))),
    )


def rules_for(network_none: bool, protected_pids: tuple[int, ...] = ()) -> tuple[Rule, ...]:
    """The table for one policy; `protected_pids` only where signals have no scope."""
    network = _ONLY_UNIX if network_none else _ORDINARY_NETWORK
    signals = _unscoped_signals(protected_pids) if protected_pids else ()
    return network + signals + _ALWAYS
