"""The forked child: confines itself, waits for one execution, becomes it.

It is forked ahead of time and stands by with everything done that does not depend on the
execution, because forking costs more than handing over. It never returns.
"""

import _signal  # type: ignore[import-not-found]
import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from ..confinement.rlimits import limit_cpu
from .context_main import serve as serve_context
from .python_main import prepare_main, rehearse, run_main

ARGUMENT_BYTES = 100_000
"""Longer code goes to a shell by descriptor: the kernel refuses an argument of 128 KiB."""
SHELLS = ("bash", "sh")
NAME_CHARACTERS, MESSAGE_CHARACTERS = 200, 300
"""What a failure says is read in one piece of 4096 bytes, and JSON writes a character as up to
12: a longer one would be lost, and the execution told as if its program had exited."""


def stand_by(
    channel: socket.socket,
    enter: Callable[[], None],
    keep: int | None,
    base_environment: dict[str, str],
    cpu_seconds: int | None,
) -> NoReturn:
    """Body of the child. `enter` confines it; `keep` is a descriptor that `enter` needs."""
    try:
        signal.set_wakeup_fd(-1)
        _signal.signal(signal.SIGCHLD, _signal.SIG_DFL)  # signal.signal looks at 50 pages more
        os.setsid()
        os.umask(0o022)
        _close_all_but(channel.fileno(), keep)
        enter()
        rehearse()
        json.loads('{"python": true}')
        header, descriptors, _, _ = socket.recv_fds(channel, 4096, 4)
        if not header:
            os._exit(0)
        wanted = json.loads(header)
        if wanted.get("context"):
            _become_context(channel, descriptors[0], base_environment)
        if cpu_seconds is not None:
            limit_cpu(cpu_seconds)
        _become(channel, wanted, descriptors, base_environment)
    except BaseException as error:
        _fail(channel, 126, f"the workspace could not start it: {error}")
    os._exit(126)


def _become(
    channel: socket.socket,
    header: dict[str, Any],
    descriptors: list[int],
    base_environment: dict[str, str],
) -> None:
    request_file, stdout, stderr, *stdin = descriptors
    size = os.fstat(request_file).st_size
    request = json.loads(os.pread(request_file, size, 0))
    environment = {**base_environment, **request["env"]}
    os.dup2(stdin[0] if stdin else os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    _close_all_but(channel.fileno(), None)
    _change_directory(channel, request["cwd"])
    if header["python"]:
        prepare_main(environment)
        channel.close()
        run_main(request["code"])
    _exec(channel, _argv(request), environment)


def _become_context(
    channel: socket.socket, request_file: int, base_environment: dict[str, str]
) -> NoReturn:
    """Its CPU limit is each execution's, not the process's: the watchdog alone keeps it."""
    request = json.loads(os.pread(request_file, os.fstat(request_file).st_size, 0))
    environment = {**base_environment, **request["env"]}
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    _close_all_but(channel.fileno(), None)
    _change_directory(channel, request["cwd"])
    prepare_main(environment)
    serve_context(channel, environment)


def _change_directory(channel: socket.socket, directory: str | None) -> None:
    if directory is None:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        _fail(channel, 126, f"cwd: {directory[:NAME_CHARACTERS]!r}: {error.strerror}")


def _argv(request: dict[str, Any]) -> list[str]:
    language = request["language"]
    if language is None:
        argv: list[str] = request["argv"]
        return argv
    if language not in SHELLS:
        return [language]
    code = request["code"].encode()
    if len(code) <= ARGUMENT_BYTES:
        return [language, "-c", request["code"]]
    script = os.memfd_create("script", os.MFD_ALLOW_SEALING)
    with open(script, "wb", closefd=False) as file:
        file.write(code)
    fcntl.fcntl(script, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK)
    return [language, f"/dev/fd/{script}"]


def _exec(channel: socket.socket, argv: list[str], environment: dict[str, str]) -> None:
    """Only returns by _exit. The channel closes on a successful exec and says why otherwise."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606
    except (OSError, ValueError) as error:
        code, sentence = _start_error(error, argv[0], environment["PATH"])
        _fail(channel, code, f"{argv[0][:NAME_CHARACTERS]}: {sentence}")


def _start_error(error: Exception, program: str, path: str) -> tuple[int, str]:
    """As a shell tells it: 127 for what is not there, 126 for what cannot be run."""
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    if "/" in program:
        if missing and os.path.exists(program):  # noqa: PTH110
            return 126, "its interpreter, named in its first line, is not there"
        return (127, "no such file") if missing else (126, _sentence(error))
    if missing or not any(os.path.exists(f"{place}/{program}") for place in path.split(":")):  # noqa: PTH110
        return 127, "command not found"
    return 126, _sentence(error)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return "its arguments and environment together are too long for the kernel"
    return str(error.strerror if isinstance(error, OSError) else error)


def _fail(channel: socket.socket, code: int, message: str) -> NoReturn:
    with contextlib.suppress(OSError):
        failure = {"code": code, "message": message[:MESSAGE_CHARACTERS]}
        channel.send(json.dumps(failure).encode())
    os._exit(code)


def _close_all_but(first: int, second: int | None) -> None:
    kept = sorted({first} | ({second} if second is not None else set()))
    start = 3
    for descriptor in kept:
        os.closerange(start, descriptor)
        start = max(start, descriptor + 1)
    os.closerange(start, 1 << 20)
