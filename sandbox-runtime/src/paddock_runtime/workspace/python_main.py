"""Runs code in this process as `python3 main.py` would, for a child forked from the fork server.

Same exit codes, same text on stderr, same order at the end: threads joined, atexit, objects of
`__main__` finalized (an unclosed file is flushed then), streams flushed. It never returns.
What differs is listed, with reasons, in tests/runtime/differential/differences.py.
"""

import _signal  # type: ignore[import-not-found]
import builtins
import ctypes
import gc
import os
import signal
import site
import sys
import threading
import time
import types
import warnings
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from types import FrameType
from typing import NoReturn

from .python_ending import MAIN_NAMES, finish, forget_exit_functions, forget_modules
from .python_errors import compiled, install_hooks, remember_source, report
from .python_spawn import provide_source
from .python_streams import flush, open_streams, open_streams_early

FILE_NAME = "main.py"
"""In tracebacks and sys.argv. There is no such file; __file__ is where it would be.

Relative, so that it is no other program's whose file is there. Not <main>: the interpreter looks
for no lines of what is in angle brackets.
"""
FLUSH_SIGNAL = signal.SIGRTMAX
"""Sent before SIGKILL: print what is buffered, then end. Unknown to anyone else's program."""
_settled: dict[str, str] = {}
_USER_SITE = ""
"""Key in it: the folder of `pip install --user`. The others are the environment."""
_ISOLATED = ("isolated", "ignore_environment", "no_user_site", "safe_path")


def settle(environment: Mapping[str, str], directory: str) -> None:
    """In the fork server, last thing: be what every program starts from.

    A child pays 3 µs for each page that it is the first to write to, and looking at an object
    writes to it: what is done here is done once, and in a child as little as can be is touched.
    """
    os.environ.clear()
    os.environ.update(environment)
    _settled.update(environment)
    os.chdir(directory)
    sys.argv, sys.orig_argv = [FILE_NAME], [sys.executable, FILE_NAME]
    sys.path.insert(0, directory)
    _forget_isolation()
    open_streams_early()
    install_hooks()
    provide_source(FILE_NAME)
    forget_exit_functions()
    for name in [name for name in sys.modules if name.split(".")[0] == "paddock_runtime"]:
        del sys.modules[name]


def _forget_isolation() -> None:
    """We run as `python3 -I`, a program does not, nor does what it starts with its own flags."""
    set_item = ctypes.pythonapi.PyStructSequence_SetItem
    set_item.argtypes = [ctypes.py_object, ctypes.c_ssize_t, ctypes.py_object]
    set_item.restype = None
    names = type(sys.flags).__match_args__
    for name in set(_ISOLATED) & set(names):
        value = type(getattr(sys.flags, name))(0)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))  # the other one takes it over
        set_item(sys.flags, names.index(name), value)
    site.ENABLE_USER_SITE, site.USER_SITE, site.USER_BASE = True, None, None
    _settled[_USER_SITE] = site.getusersitepackages()


def rehearse() -> None:
    """In a child that stands by: make its own copies of what a program will write to."""
    _signal.signal(FLUSH_SIGNAL, _flush_and_die)
    _signal.signal(signal.SIGXCPU, _flush_and_die)
    threading.main_thread()._set_native_id()  # type: ignore[attr-defined]
    _execute("0")
    forget_modules()


def prepare_main(environment: Mapping[str, str]) -> None:
    """Once the execution's own environment, its directory and descriptors 0, 1, 2 are its own."""
    sys.path[0] = os.getcwd()  # noqa: PTH109
    place = _settled[_USER_SITE]
    changed = {name: value for name, value in environment.items() if _settled.get(name) != value}
    if changed:
        os.environ.update(changed)
        _obey(changed)
        if changed.keys() & {"HOME", "PYTHONUSERBASE"}:
            site.USER_SITE, site.USER_BASE = None, None
            place = site.getusersitepackages()
    if os.path.isdir(place):  # noqa: PTH112 - `pip install --user` may have made it since
        site.addsitedir(place)
    random = sys.modules.get("numpy.random")
    if random is not None:  # the module's global generator was copied with the fork
        random.seed()


def _obey(changed: Mapping[str, str]) -> None:
    """Variables that the interpreter reads when it starts, which it has."""
    if "TZ" in changed:
        time.tzset()
    if changed.get("PYTHONPATH"):
        paths = map(os.path.abspath, changed["PYTHONPATH"].split(":"))
        sys.path[1:1] = dict.fromkeys(paths)
    if changed.get("PYTHONDONTWRITEBYTECODE"):
        sys.dont_write_bytecode = True
    if changed.get("PYTHONWARNINGS"):
        sys.warnoptions[:] = changed["PYTHONWARNINGS"].split(",")
        warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]
    unbuffered, encoding = bool(changed.get("PYTHONUNBUFFERED")), changed.get("PYTHONIOENCODING")
    if unbuffered or encoding:
        open_streams(unbuffered, encoding or "")


def run_main(code: str) -> NoReturn:
    """Run `code` as `__main__` and end the process as the interpreter would."""
    finish(_execute(code))


def _execute(code: str) -> int:
    """The exit code that the program asks for; uncaught exceptions are printed here."""
    module = types.ModuleType("__main__")
    file = f"{sys.path[0]}/{FILE_NAME}"
    module.__dict__.update(
        __builtins__=builtins,
        __annotations__={},
        __file__=file,
        __cached__=None,
        __loader__=SourceFileLoader("__main__", file),
    )
    for name in MAIN_NAMES:
        sys.modules.pop(name, None)
        sys.modules[name] = module  # behind it come those that the program imports
    names = (FILE_NAME,) if os.path.exists(file) else (FILE_NAME, file)  # noqa: PTH110
    lines = remember_source(code, *names)
    gc.enable()
    error = _run(code, lines, module)
    flush(sys.__dict__.get("stderr"))
    flush(sys.__dict__.get("stdout"))
    if error is None:
        return 0
    ours = error.__traceback__
    return report(error, ours.tb_next if ours is not None else None)


def _run(code: str, lines: list[str], module: types.ModuleType) -> BaseException | None:
    try:
        program = compiled(code, FILE_NAME, lines)
    except BaseException as error:
        error.__traceback__ = None
        return error
    try:
        exec(program, module.__dict__)  # noqa: S102
    except BaseException as error:
        return error
    return None


def _flush_and_die(number: int, frame: FrameType | None) -> None:
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        flush(stream)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGKILL if number == FLUSH_SIGNAL else number)
