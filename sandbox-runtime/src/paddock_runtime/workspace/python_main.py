"""Runs code in this process as `python3 main.py` would, for a child forked from the fork server.

Same exit codes, same text on stderr, same order at the end: threads joined, atexit, objects of
`__main__` finalized (an unclosed file is flushed then), streams flushed. It never returns.
"""

import atexit
import builtins
import gc
import io
import linecache
import os
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any, NoReturn, TextIO

FILE_NAME = "<main>"
ARGV0 = "main.py"
BUFFER_BYTES = 4096 if sys.version_info < (3, 14) else io.DEFAULT_BUFFER_SIZE
"""What the interpreter gives a pipe."""
FLUSH_SIGNAL = signal.SIGRTMAX
"""Sent before SIGKILL: print what is buffered, then end. Unknown to anyone else's program."""


def settle(environment: Mapping[str, str], directory: str) -> None:
    """In the fork server, last thing: be what every program starts from.

    Each page that a child writes to is copied for it, so what is done here is done once.
    """
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = [ARGV0]
    sys.path.insert(0, directory)
    _open_streams()
    for name in [name for name in sys.modules if name.split(".")[0] == "paddock_runtime"]:
        del sys.modules[name]


def rehearse() -> None:
    """In a child that stands by: make its own copies of what a program will write to."""
    signal.signal(FLUSH_SIGNAL, _flush_and_die)
    signal.signal(signal.SIGXCPU, _flush_and_die)
    _user_site()
    _execute("0")
    _flush(sys.stdout)
    _forget_modules(set(sys.modules))


def prepare_main(environment: Mapping[str, str]) -> None:
    """Once the execution's own environment is known and descriptors 0, 1 and 2 are its own."""
    changed = {name: value for name, value in environment.items() if os.environ.get(name) != value}
    os.environ.update(changed)
    if "TZ" in changed:
        time.tzset()
    sys.path[1:1] = [path for path in changed.get("PYTHONPATH", "").split(":") if path]
    if changed.get("PYTHONUNBUFFERED"):
        _open_streams(unbuffered=True)
    user_site = _user_site()
    if user_site:
        import site

        site.addsitedir(user_site)
    random = sys.modules.get("numpy.random")
    if random is not None:  # the module's global generator was copied with the fork
        random.seed()


def run_main(code: str) -> NoReturn:
    """Run `code` as `__main__` and end the process as the interpreter would."""
    before = set(sys.modules)
    _finish(_execute(code), before)


def _user_site() -> str | None:
    """It may have been made after the fork server started (`pip install --user`)."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = os.environ.get("PYTHONUSERBASE") or os.path.join(os.environ["HOME"], ".local")  # noqa: PTH118
    place = f"{base}/lib/{version}/site-packages"
    return place if os.path.isdir(place) else None  # noqa: PTH112


def _open_streams(unbuffered: bool = False) -> None:
    """As the interpreter makes them for pipes; the fork server's own are never used."""

    def text(descriptor: int, name: str, errors: str) -> Any:
        mode = "r" if descriptor == 0 else "w"
        raw = io.FileIO(descriptor, mode, closefd=False)
        raw.name = name
        kind = io.BufferedReader if descriptor == 0 else io.BufferedWriter
        buffer: Any = raw if unbuffered and descriptor else kind(raw, BUFFER_BYTES)
        stream = io.TextIOWrapper(
            buffer,
            encoding="utf-8",
            errors=errors,
            newline="\n",
            line_buffering=descriptor == 2,
            write_through=unbuffered,
        )
        setattr(stream, "mode", mode)  # noqa: B010 - the interpreter sets it too
        return stream

    sys.stdin = sys.__stdin__ = text(0, "<stdin>", "strict")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = text(1, "<stdout>", "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = text(2, "<stderr>", "backslashreplace")  # type: ignore[misc]


def _execute(code: str) -> int:
    """The exit code that the program asks for; uncaught exceptions are printed here."""
    module = types.ModuleType("__main__")
    module.__dict__.update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = module
    lines = io.StringIO(code).readlines()
    linecache.cache[FILE_NAME] = (len(code), None, lines, FILE_NAME)
    sys.excepthook = sys.__excepthook__ = _print_exception
    threading.excepthook = _print_thread_exception
    gc.enable()
    try:
        exec(compile(code.encode(), FILE_NAME, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except SystemExit as ended:
        return _exit_code(ended.code)
    except BaseException as error:
        _report(error, error.__traceback__)
        return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    print(code, file=sys.stderr)  # noqa: T201
    return 1


def _report(error: BaseException, trace: TracebackType | None) -> None:
    """What the interpreter does with an uncaught exception; our own frame is the first."""
    trace = trace.tb_next if trace is not None else None
    error.__traceback__ = trace
    try:
        sys.excepthook(type(error), error, trace)
    except BaseException as second:
        if sys.stderr is not None:
            sys.stderr.write("Error in sys.excepthook:\n")
            _print_exception(type(second), second, second.__traceback__)
            sys.stderr.write("\nOriginal exception was:\n")
            _print_exception(type(error), error, trace)


def _print_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Like the default hook, but with source lines, which that one looks up on disk."""
    if sys.stderr is None:
        return
    report = traceback.TracebackException(kind, error, trace)
    if trace is None:  # a SyntaxError of the program itself has no header
        report.stack = None  # type: ignore[assignment]
    for line in report.format():
        sys.stderr.write(line)
    _flush(sys.stderr)


def _print_thread_exception(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or sys.stderr is None:
        return
    name = args.thread.name if args.thread is not None else threading.get_ident()
    sys.stderr.write(f"Exception in thread {name}:\n")
    if args.exc_value is not None:
        _print_exception(args.exc_type, args.exc_value, args.exc_traceback)


def _finish(status: int, before: set[str]) -> NoReturn:
    """The order of Py_FinalizeEx, without taking the interpreter itself apart."""
    for step in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException as error:
            _print_exception(type(error), error, error.__traceback__)
    _flush(sys.stdout)
    _forget_modules(before)
    if not _flush(sys.stdout) and status == 0:
        status = 120
    _flush(sys.stderr)
    if status == 128 + signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status)


def _forget_modules(before: set[str]) -> None:
    """Finalize what the program's modules hold, `__main__` included.

    The collection before it is the interpreter's too, and not idle: objects that survive one
    are then finalized in the order that a text file needs to be flushed before it is closed.
    """
    gc.collect()
    for name in set(sys.modules) - before | {"__main__"}:
        sys.modules.pop(name, None)
    gc.collect()


def _flush(stream: TextIO | None) -> bool:
    """False if something could not be written."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except Exception:
        return False
    return True


def _flush_and_die(number: int, frame: FrameType | None) -> None:
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        _flush(stream)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGKILL if number == FLUSH_SIGNAL else number)
