"""How a program's process ends: in the order of Py_FinalizeEx, without taking the interpreter
itself apart."""

import atexit
import gc
import logging
import multiprocessing.process
import multiprocessing.util
import os
import signal
import sys
import threading
from typing import Any, NoReturn

from .python_errors import INTERRUPTED, unraisable
from .python_streams import flush

MAIN_NAMES = ("__main__", "__mp_main__")
"""multiprocessing, which is preloaded, makes the second when it is imported."""
_LAST = ("last_type", "last_value", "last_traceback")
_logging: Any = logging
_processes: Any = multiprocessing.process
_util: Any = multiprocessing.util


def forget_exit_functions() -> None:
    """In the fork server: of modules that no program has imported itself."""
    atexit.unregister(_logging.shutdown)
    atexit.unregister(_util._exit_function)


def finish(status: int) -> NoReturn:
    """`status` is an exit code or INTERRUPTED."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
    except BaseException as error:
        unraisable(error, threading)
    atexit._run_exitfuncs()
    _run_forgotten_exit_functions()
    if not _flush_both() and status != INTERRUPTED:
        status = 120
    forget_modules()
    flush(sys.stdout)
    flush(sys.stderr)
    if status == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        status = 128 + signal.SIGINT
    os._exit(status)


def _run_forgotten_exit_functions() -> None:
    """Of preloaded modules, and only where they have something to do: most never do, and to the
    program they are as if they had never been imported."""
    try:
        if _processes._children or _util._finalizer_registry:
            _util._exit_function()
        if len(_logging._handlerList) > 1:  # one is there always
            _logging.shutdown()
    except BaseException as error:
        unraisable(error, atexit)


def _flush_both() -> bool:
    """False if something could not be written."""
    stdout = sys.__dict__.get("stdout")
    failed = flush(stdout)
    if failed is not None:
        unraisable(failed, stdout)
    return flush(sys.__dict__.get("stderr")) is None and failed is None


def forget_modules() -> None:
    """Finalize what the program's modules hold, `__main__` included.

    The collection before it is the interpreter's too, and not idle: objects that survive one
    are then finalized in the order that a text file needs to be flushed before it is closed.
    """
    gc.collect()
    for name in _LAST:
        if name in sys.__dict__:
            setattr(sys, name, None)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, name, sys.__dict__.get(f"__{name}__"))
    for name in _modules_of_program():
        sys.modules.pop(name, None)
    gc.collect()


def _modules_of_program() -> list[str]:
    """The youngest down to `__main__`. The others are not even looked at."""
    names = []
    for name in reversed(sys.modules):
        names.append(name)
        if name == MAIN_NAMES[0]:
            return names
    return list(MAIN_NAMES)  # it took `__main__` away
