"""Runs a program by plain `python3 main.py` or `bash main.sh`, and by Paddock.

Both sides start in the same directory, as the same user, with the same environment.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from tests.runtime.differential.programs import Program
from tests.runtime.pod import AS_ROOT, Pod, workspace_python

from paddock_runtime.workspace.environment import base_environment
from paddock_runtime.workspace.settings import read_settings

SECONDS = 30
AT_ONCE = 4
KEPT = 8 << 20
"""Bytes of each stream: a sandbox of these tests keeps all of it."""
MAIN = {"python": "main.py", "bash": "main.sh"}
_SHELL_NAME = re.compile(rb"(?m)^(?:bash|main\.sh|/dev/fd/\d+): (?:-c: )?")
_ADDRESS = re.compile(rb"\b0x[0-9a-f]{6,}")


@dataclass(frozen=True)
class Outcome:
    """`end` is the exit code or the name of the signal, `then` the output of what looked after."""

    end: int | str
    stdout: bytes
    stderr: bytes
    then: bytes = b""


Side = Callable[[Pod, Path, Program], Outcome]


def both(programs: list[Program]) -> list[tuple[Outcome, Outcome]]:
    """What plain does and what Paddock does, of each program.

    Not at the same time: Paddock removes what its user leaves in /dev/shm when nothing runs.
    """
    limits = {"outputBytes": KEPT, "concurrency": AT_ONCE, "cpuMillis": 1000}
    with Pod(limits=limits) as pod, ThreadPoolExecutor(AT_ONCE) as pool:
        directories = [pod.work / f"place-{number}" for number in range(AT_ONCE)]

        def run(side: Side, number: int) -> list[Outcome]:
            directory, outcomes = directories[number], []
            for program in programs[number::AT_ONCE]:
                _empty(pod, directory)
                outcomes.append(_named_alike(side(pod, directory, program), directory))
            return outcomes

        def on(side: Side) -> list[Outcome]:
            lists = list(pool.map(run, [side] * AT_ONCE, range(AT_ONCE)))
            return [lists[at % AT_ONCE][at // AT_ONCE] for at in range(len(programs))]

        return list(zip(on(plain), on(paddock), strict=True))


def plain(pod: Pod, directory: Path, program: Program) -> Outcome:
    """As a user has it who wrote the program into a file and started it by hand."""
    main = directory / MAIN[program.language]
    main.write_bytes(program.code.encode())
    interpreter = workspace_python() if program.language == "python" else "bash"
    ended = _spawn(pod, directory, [interpreter, main.name], program.stdin, program.env)
    if program.then is None:
        return ended
    then = _spawn(pod, directory, ["bash", "-c", program.then], "", program.env)
    return replace(ended, then=then.stdout)


def paddock(pod: Pod, directory: Path, program: Program) -> Outcome:
    """By the API, as an execution with the code in its request."""
    ended = _execute(pod, directory, program.language, program.code, program)
    if program.then is None:
        return ended
    return replace(ended, then=_execute(pod, directory, "bash", program.then, program).stdout)


def _named_alike(outcome: Outcome, directory: Path) -> Outcome:
    """The file's name is the one thing that may differ, since Paddock has no file.

    A Python program is `main.py` in its tracebacks, without a directory, and a shell begins its
    messages as `bash -c` does. Addresses differ between any two runs of one program.
    """

    def alike(text: bytes) -> bytes:
        text = text.replace(f"{directory}/{MAIN['python']}".encode(), b"main.py")
        return _ADDRESS.sub(b"0x", _SHELL_NAME.sub(b"bash: ", text))

    return replace(outcome, stdout=alike(outcome.stdout), stderr=alike(outcome.stderr))


def _empty(pod: Pod, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    if AS_ROOT:
        os.chown(directory, pod.uid, pod.uid)


def _spawn(
    pod: Pod, directory: Path, command: list[str], stdin: str, env: Mapping[str, str]
) -> Outcome:
    user: dict[str, Any] = {}
    if AS_ROOT:
        user = {"user": pod.uid, "group": pod.uid, "extra_groups": []}
    ends = [os.pipe() for _ in range(3)]
    for read_end, write_end in ends:
        os.fchown(read_end, pod.uid, -1)  # a user's pipes are its own, to be opened by name
        os.fchown(write_end, pod.uid, -1)
    process = subprocess.Popen(
        command,
        cwd=directory,
        env={**_environment(pod), **env},
        stdin=ends[0][0] if stdin else subprocess.DEVNULL,
        stdout=ends[1][1],
        stderr=ends[2][1],
        start_new_session=True,
        preexec_fn=_fresh_signals,
        umask=0o022,
        **user,
    )
    for descriptor in (ends[0][0], ends[1][1], ends[2][1]):
        os.close(descriptor)
    with (
        ThreadPoolExecutor(3) as threads,
        os.fdopen(ends[0][1], "wb") as write_stdin,
        os.fdopen(ends[1][0], "rb") as out,
        os.fdopen(ends[2][0], "rb") as err,
    ):
        threads.submit(_feed, write_stdin, stdin.encode())
        texts = [threads.submit(stream.read) for stream in (out, err)]
        try:
            code = process.wait(SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return Outcome(code if code >= 0 else _signal_name(-code), *(t.result() for t in texts))


def _feed(stdin: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), stdin:
        stdin.write(data)


def _fresh_signals() -> None:
    """As a program finds them in a sandbox, whatever these tests were started with (nohup)."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _environment(pod: Pod) -> dict[str, str]:
    told = {
        "PADDOCK_SETTINGS": json.dumps(pod.settings),
        "PADDOCK_WORKSPACE_DIR": str(pod.work),
        "PADDOCK_TMP_DIR": str(pod.base / "tmp"),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    return base_environment(read_settings(told))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _execute(pod: Pod, directory: Path, language: str, code: str, program: Program) -> Outcome:
    request = {
        "id": pod.new_id(),
        "language": language,
        "code": code,
        "stdin": program.stdin,
        "cwd": directory.name,
        "env": [{"name": name, "value": value} for name, value in program.env.items()],
    }
    query = f"?wait={SECONDS}s&maxOutput={KEPT}&encoding=base64"
    status, ended = pod.call("POST", f"/v1/executions{query}", request)
    assert status == 201, ended
    out, err = (_bytes(ended[stream]) for stream in ("stdout", "stderr"))
    end = ended.get("exitCode", ended.get("signal"))
    if ended.get("reason") not in ("Exited", "Signaled") or ended["truncated"]:
        end = f"{ended['state']} {ended.get('reason')} {ended.get('message')}"
        pod.cancel(request["id"])
    return Outcome(end, out, err)


def _bytes(output: dict[str, str]) -> bytes:
    return base64.b64decode(output["head"]) + base64.b64decode(output["tail"])
