"""What the interpreter does with an exception that nobody caught.

Its own printers do the printing, in C up to Python 3.12. They open the file that a frame names
for every line they show, which a program that came by a request does not have: while they print,
`io.open` gives them what linecache holds.
"""

import contextlib
import io
import linecache
import os
import sys
import threading
import types
from collections.abc import Callable
from types import TracebackType
from typing import Any

INTERRUPTED = -2
"""What `report` gives for KeyboardInterrupt: no exit code, the process is to die of SIGINT."""
_open = io.open
_print_exception, _print_unraisable = sys.excepthook, sys.unraisablehook
_print_in_thread: Callable[[Any], object] = threading.excepthook
_unraisable_kind: list[type] = []


def install_hooks() -> None:
    """In the fork server, last thing."""
    sys.excepthook = sys.__excepthook__ = _excepthook
    sys.unraisablehook = sys.__unraisablehook__ = _unraisablehook
    threading.excepthook = threading.__excepthook__ = _thread_excepthook
    sys.unraisablehook = lambda told: _unraisable_kind.append(type(told))
    _Failing()
    sys.unraisablehook = _unraisablehook


class _Failing:
    def __del__(self) -> None:
        raise ValueError  # the type of what the hook is told has no name to get it by


def report(error: BaseException, trace: TracebackType | None) -> int:
    """Print it with `trace` as its traceback, by sys.excepthook; the exit code."""
    error.__traceback__ = trace
    if isinstance(error, SystemExit):
        return _exit(error)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    second = _call_hook(error, trace)
    if isinstance(second, SystemExit):
        return _exit(second)
    if second is not None:
        _write("Error in sys.excepthook:\n")
        _show(_print_exception, type(second), second, second.__traceback__)
        _write("\nOriginal exception was:\n")
        _show(_print_exception, type(error), error, trace)
    return INTERRUPTED if type(error) is KeyboardInterrupt else 1


def exit_code(code: object) -> int:
    """What sys.exit(code) makes of it; text goes to stderr."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    with contextlib.suppress(Exception):  # the interpreter does not tell either
        _write(str(code))
    _write("\n")
    return 1


def unraisable(error: BaseException, where: object) -> None:
    """Print an exception that comes from a place where nobody can catch it."""
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    told = _unraisable_kind[0]((type(error), error, trace, None, where))
    try:
        sys.unraisablehook(told)
    except Exception:
        return


def _exit(error: SystemExit) -> int:
    try:
        code: object = error.code
    except BaseException:
        code = error
    return exit_code(code)


def _call_hook(error: BaseException, trace: TracebackType | None) -> BaseException | None:
    """What the hook raised itself. Not called where an exception is handled: that would be its
    context."""
    missing = object()
    hook: Any = getattr(sys, "excepthook", missing)
    if hook is missing:
        _write("sys.excepthook is missing\n")
        hook = _excepthook
    try:
        hook(type(error), error, trace)
    except BaseException as raised:
        ours = raised.__traceback__
        raised.__traceback__ = ours.tb_next if ours is not None else None
        return raised
    return None


def _excepthook(kind: Any, error: Any, trace: Any) -> None:
    _show(_print_exception, kind, error, trace)


def _unraisablehook(told: Any) -> None:
    _show(_print_unraisable, told)


def _thread_excepthook(told: Any) -> None:
    _show(_print_in_thread, told)


def _show(printer: Callable[..., object], *told: object) -> None:
    before: Any = io.open
    io.open = _open_source
    try:
        printer(*told)
    finally:
        io.open = _open if before is _open_source else before


def _open_source(file: Any, *arguments: Any, **named: Any) -> Any:
    """Source that is in memory only, as a file; any other file as ever."""
    kept = linecache.cache.get(file) if type(file) is str else None
    if kept is None or len(kept) < 4 or kept[1] is not None:  # the time of a file on disk
        return _open(file, *arguments, **named)
    descriptor = os.memfd_create("source")
    os.write(descriptor, "".join(kept[2]).encode(errors="surrogatepass"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return _open(descriptor, *arguments, **named)


def _write(text: str) -> None:
    """On sys.stderr, else on what was stderr before."""
    try:
        sys.stderr.write(text)
    except Exception:
        try:
            os.write(2, text.encode(errors="backslashreplace"))
        except OSError:
            return


def remember_source(code: str, *names: str) -> list[str]:
    """Tracebacks and inspect find its lines by these names. Line ends become newlines."""
    lines = io.StringIO(code.removesuffix("\n") + "\n", newline=None).readlines()
    for name in names:
        linecache.cache[name] = (len(code), None, lines, name)
    return lines


def compiled(code: str, name: str, lines: list[str]) -> types.CodeType:
    """Raises what compiling a file raises, with the line that a SyntaxError is about."""
    try:
        program: types.CodeType = compile(code.encode(), name, "exec", dont_inherit=True)
    except SyntaxError as error:
        on_disk = error.text is None or os.path.exists(name)  # noqa: PTH110 - where it looks
        if on_disk and error.filename == name and error.lineno:
            error.text = "".join(lines[error.lineno - 1 : error.lineno])
        raise
    return program
