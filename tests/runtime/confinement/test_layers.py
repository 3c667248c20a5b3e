"""What is probed, prepared and entered, on nodes that have everything and on those that do not."""

import errno
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.confinement.harness import LIMITS, Sandbox

from paddock_runtime import confinement
from paddock_runtime.confinement import ConfinementError, ConfinementPolicy, prepared, probing
from paddock_runtime.confinement.landlock import attributes, file_rights
from paddock_runtime.confinement.probing import Findings, degraded

FULL = Findings(landlock_abi=7, seccomp=True, oom_score=True)
HERE = probing.findings()


def pretend(monkeypatch: pytest.MonkeyPatch, found: Findings) -> None:
    monkeypatch.setattr(prepared, "findings", lambda: found)


def status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_the_probe_is_typed_and_leaves_us_as_we_were() -> None:
    before = status()
    told = confinement.probe()
    after = status()
    assert sorted(told) == ["cgroupVersion", "degraded", "landlockAbi", "seccompFilter"]
    assert isinstance(told["landlockAbi"], int)
    assert isinstance(told["seccompFilter"], bool)
    assert told["cgroupVersion"] in (1, 2)
    assert told["degraded"] == degraded(HERE)
    for name in ("Seccomp", "NoNewPrivs", "Threads"):
        assert before[name] == after[name]


def test_a_probe_that_fails_or_dies_says_no() -> None:
    assert probing._holds(lambda: True)
    assert not probing._holds(lambda: False)
    assert not probing._holds(lambda: [][1])
    assert not probing._holds(lambda: os.kill(os.getpid(), signal.SIGKILL) or True)


def test_a_node_that_refuses_landlock_has_none(sandbox: Sandbox) -> None:
    """As in a container whose seccomp profile answers EPERM: offered is not enough."""

    def under_a_ruleset_limit() -> dict[str, object]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))  # no descriptor left for a ruleset
        probing.findings.cache_clear()
        return confinement.probe()

    told = sandbox.but(confined=False).run(under_a_ruleset_limit).value
    assert told["landlockAbi"] == 0
    assert any("No Landlock" in sentence for sentence in told["degraded"])


def test_degraded_sentences() -> None:
    assert degraded(FULL) == []
    assert degraded(replace(FULL, landlock_abi=6)) == []
    for found, words in {
        replace(FULL, landlock_abi=5): ["abstract sockets", "signals"],
        replace(FULL, landlock_abi=2): ["truncate", "abstract sockets", "signals"],
        replace(FULL, landlock_abi=1): ["renamed", "truncate", "abstract sockets", "signals"],
        replace(FULL, landlock_abi=0): ["No Landlock", "signals"],
        replace(FULL, seccomp=False): ["No system call filter"],
        replace(FULL, oom_score=False): ["oom_score_adj"],
    }.items():
        sentences = degraded(found)
        assert len(sentences) == len(words), sentences
        assert all(word in sentence for word, sentence in zip(words, sentences, strict=True))
        assert all(sentence.endswith(".") for sentence in sentences)


def test_masks_by_version() -> None:
    assert [file_rights(n).bit_length() for n in range(1, 8)] == [13, 14, 15, 15, 16, 16, 16]
    assert [len(attributes(n, True)) for n in range(1, 8)] == [8, 8, 8, 16, 16, 24, 24]
    assert attributes(6, True) != attributes(6, False)


def signal_the_servers_group() -> None:
    group = os.getpgid(os.getppid())
    os.setsid()  # as every execution does; else it would be signalling itself
    os.killpg(group, 0)


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6, 7])
def test_every_version_confines(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, abi: int
) -> None:
    if abi > HERE.landlock_abi:
        pytest.skip(f"this kernel has Landlock ABI {HERE.landlock_abi}")
    pretend(monkeypatch, replace(HERE, landlock_abi=abi))
    told = sandbox.run(lambda: (sandbox.home / "new").write_text("x"))
    assert told.word() == "ok"
    assert sandbox.run(lambda: (sandbox.outside / "new").write_text("x")).word() == "EACCES"
    # Whatever the version, the server is out of a signal's reach; by scope, else by filter.
    assert sandbox.run(lambda: os.kill(os.getppid(), 0)).word() == "EPERM"
    assert sandbox.run(signal_the_servers_group).word() == "EPERM"
    assert sandbox.but(confined=False).run(signal_the_servers_group).word() == "ok"
    assert sandbox.run(lambda: os.kill(os.getpid(), 0)).word() == "ok"
    by_pidfd = sandbox.run(lambda: signal.pidfd_send_signal(os.pidfd_open(os.getpid()), 0))
    assert by_pidfd.word() == ("ok" if abi >= 6 else "EPERM")


def test_without_landlock_the_other_layers_are_on(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, replace(HERE, landlock_abi=0))
    # Not dumpable: nothing else would keep another execution from its memory.
    told = sandbox.run(lambda: Path("/proc/self/environ").read_bytes())
    assert told.word() == "EACCES"
    assert sandbox.run(lambda: os.kill(os.getppid(), 0)).word() == "EPERM"
    assert sandbox.run(lambda: Path("/proc/self/oom_score_adj").read_text()).value == "1000\n"


def test_what_a_confined_process_looks_like(sandbox: Sandbox) -> None:
    told = sandbox.but(harden=True).run(status).value
    assert told["NoNewPrivs"] == "1"
    assert told["Seccomp"] == "2"
    assert int(told["SigBlk"], 16) == 0
    assert sandbox.run(lambda: Path("/proc/self/oom_score_adj").read_text()).value == "1000\n"
    assert sandbox.run(lambda: Path("/proc/self/environ").read_bytes() != b"").value is True


def test_a_directory_that_does_not_exist_is_no_error(sandbox: Sandbox) -> None:
    policy = ConfinementPolicy(True, (str(sandbox.home / "nothing"), str(sandbox.home)))
    made = confinement.prepare(policy)
    assert made.ruleset is not None
    os.close(made.ruleset)


def test_a_relative_directory_is_an_error() -> None:
    with pytest.raises(ConfinementError, match="policy: not an absolute path: 'workspace'"):
        confinement.prepare(ConfinementPolicy(True, ("workspace",)))


def entering(
    change: Callable[[prepared.Prepared], prepared.Prepared],
) -> Callable[[], Any]:
    def body() -> None:
        made = confinement.prepare(ConfinementPolicy(True, ()))
        change(made).enter(LIMITS)

    return body


def test_a_promised_layer_that_fails_is_an_error(sandbox: Sandbox) -> None:
    """Never silently weaker: the child is told which layer, and must not go on."""
    sandbox = sandbox.but(confined=False)
    assert sandbox.run(entering(lambda made: made)).word() == "ok"
    broken = sandbox.run(entering(lambda made: replace(made, ruleset=999)))
    assert broken.word() == "ConfinementError: landlock: [Errno 9] Bad file descriptor"

    class Refused:
        def install(self) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    broken = sandbox.run(entering(lambda made: replace(made, program=Refused())))  # type: ignore[arg-type]
    assert broken.word() == "ConfinementError: seccomp: [Errno 22] Invalid argument"


def test_errors_name_their_layer() -> None:
    error = ConfinementError("landlock", "no")
    assert (error.layer, error.detail, str(error)) == ("landlock", "no", "landlock: no")


# --- the server itself


def hardened(sandbox: Sandbox, body: Callable[[], Any]) -> Any:
    def server() -> Any:
        confinement.harden_server()
        return body()

    return sandbox.but(confined=False).run(server)


def test_a_hardened_server_cannot_be_read(sandbox: Sandbox) -> None:
    def read() -> None:
        Path(f"/proc/{os.getppid()}/environ").read_bytes()

    control = sandbox.but(confined=False)
    assert control.run(read).word() == "ok"
    assert control.but(harden=True).run(read).word() == "EACCES"


@pytest.mark.parametrize(
    "name",
    ["SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGVTALRM", "SIGSEGV", "SIGTSTP", "SIGRTMIN"],
)
def test_a_hardened_server_is_deaf(sandbox: Sandbox, name: str) -> None:
    number = getattr(signal, name)
    told = hardened(sandbox, lambda: (os.kill(os.getpid(), number), "alive")[1])
    assert told.value == "alive"


def test_a_servers_own_handlers_stay(sandbox: Sandbox) -> None:
    def body() -> list[int]:
        heard: list[int] = []
        for number in (signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda n, _: heard.append(n))
        confinement.harden_server()
        signal.signal(signal.SIGTERM, lambda n, _: heard.append(n))
        for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR2):
            os.kill(os.getpid(), number)
            time.sleep(0)
        return sorted(heard)

    told = sandbox.but(confined=False).run(body)
    assert told.value == sorted([signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM])


def test_user_code_starts_with_the_signals_of_a_fresh_program(sandbox: Sandbox) -> None:
    """Ignored signals pass through exec: a server's must not."""

    def ignore() -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: None)

    source = """
import signal
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN):
    assert signal.getsignal(number) == signal.SIG_DFL, number
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
"""
    sandbox = sandbox.but(in_server=ignore, harden=True)
    assert sandbox.script(source) == (0, "")
    told = sandbox.run(lambda: signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    assert told.value is True
