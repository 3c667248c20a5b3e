"""What becomes of an exception that a cell did not catch: printed, and told in the results.

Python's own printer, in C up to 3.12, shows no line of a source that is no file, so the printing
is that of the module `traceback`, which asks linecache.
"""

import json
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

from .display import clean
from .interrupts import hide_handler
from .python_errors import exit_code

CELL = "<cell "
"""Begins the name of each cell's source."""
NAME_CHARACTERS, VALUE_CHARACTERS, LINE_CHARACTERS = 200, 4096, 2000
TRACEBACK_BYTES = 36 << 10
"""Of an error item, which is below 64 KiB as JSON at worst: the room that the runtime has for
it. stderr has all of it."""


def install_hooks() -> None:
    """Before any code of a user."""
    sys.excepthook = sys.__excepthook__ = _print_exception
    threading.excepthook = threading.__excepthook__ = _print_in_thread


def tell(error: BaseException) -> int:
    """Print it as Python does, without our own frames. Returns the exit code."""
    if isinstance(error, SystemExit):
        return exit_code(error.code)
    hide_handler(error)
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(CELL):
        trace = trace.tb_next
    error.__traceback__ = trace
    second = _call_hook(error, trace)
    if second is not None and sys.stderr is not None:
        sys.stderr.write("Error in sys.excepthook:\n")
        _print_exception(type(second), second, second.__traceback__)
        sys.stderr.write("\nOriginal exception was:\n")
        _print_exception(type(error), error, trace)
    return 1


def error_item(error: BaseException) -> dict[str, Any]:
    """What is told of an uncaught exception: its class, its text, the lines of its traceback.

    Long ones are cut; of the traceback the last lines are kept. Calls the exception's __str__.
    """
    try:
        value = clean(str(error))
    except Exception:
        value = "<exception str() failed>"
    room = TRACEBACK_BYTES
    kept: list[str] = []
    text = "".join(_lines(type(error), error, error.__traceback__))
    for line in reversed(clean(text).removesuffix("\n").split("\n")):
        cut = line[:LINE_CHARACTERS]
        room -= len(json.dumps(cut)) + 2
        if room < 0:
            break
        kept.append(cut)
    name = clean(type(error).__name__)[:NAME_CHARACTERS]
    told = {"type": "error", "name": name, "value": value[:VALUE_CHARACTERS]}
    return {**told, "traceback": kept[::-1]}


def _call_hook(error: BaseException, trace: TracebackType | None) -> BaseException | None:
    """What sys.excepthook raised. Nothing is called where an exception is handled: that would
    be the context of one that is raised there."""
    try:
        sys.excepthook(type(error), error, trace)
    except Exception as raised:
        ours = raised.__traceback__
        raised.__traceback__ = ours.tb_next if ours is not None else None
        return raised
    return None


def _lines(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> list[str]:
    shown = traceback.TracebackException(kind, error, trace)
    if trace is None:  # a SyntaxError of the cell itself has no header
        shown.stack = None  # type: ignore[assignment]
    return list(shown.format())


def _print_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if sys.stderr is not None:
        sys.stderr.write("".join(_lines(kind, error, trace)))


def _print_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_type is SystemExit or told.exc_value is None or sys.stderr is None:
        return
    name = told.thread.name if told.thread is not None else threading.get_ident()
    lines = _lines(told.exc_type, told.exc_value, told.exc_traceback)
    sys.stderr.write(f"Exception in thread {name}:\n" + "".join(lines))
