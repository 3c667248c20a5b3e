"""Runs cells: code that finds the variables that the code before it left.

What a cell prints and raises is what plain Python would, and like Jupyter it shows the value of
its last expression, unless a semicolon ends it, and may `await` outside of functions.
"""

import __future__

import ast
import asyncio
import builtins
import contextlib
import contextvars
import inspect
import io
import linecache
import os
import sys
import types
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from . import figures
from .cell_errors import CELL, NAME_CHARACTERS, error_item, install_hooks, tell
from .display import Results, Screen, clean
from .interrupts import Interrupts
from .python_ending import finish
from .python_errors import INTERRUPTED
from .python_streams import open_streams

SOURCES_KEPT = 1000
"""Cells whose lines a traceback can show: a context may live for days."""
RECURSION_LIMIT = 1000
"""Python's default. A lower one ends with its cell: what runs the cells needs it too."""
FUTURE_FLAGS = 0
for _feature in __future__.all_feature_names:
    FUTURE_FLAGS |= getattr(__future__, _feature).compiler_flag


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell ended. `interrupted` if KeyboardInterrupt was what ended it."""

    exit_code: int
    interrupted: bool = False


class Interpreter:
    """One namespace, one event loop. `environment` is what the context was made with."""

    def __init__(self, interrupts: Interrupts, environment: Mapping[str, str]) -> None:
        self._interrupts = interrupts
        self._unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
        self._screen = Screen()
        figures.prepare(environment, self._screen.show_figures)
        builtins.display = self._screen.display  # type: ignore[attr-defined]
        install_hooks()
        self._module = types.ModuleType("__main__")
        vars(self._module).update(__builtins__=builtins, __annotations__={})
        self._context = contextvars.copy_context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._pid = os.getpid()
        self._cells = 0

    def run(self, code: str, results: Results) -> Outcome:
        """Run one cell. Never raises what the code raises."""
        self._screen.begin(results)
        error = self._interrupts.run(lambda: self._cell(code))
        if sys.getrecursionlimit() < RECURSION_LIMIT:
            sys.setrecursionlimit(RECURSION_LIMIT)
        if os.getpid() != self._pid:
            self._end_fork(error)
        try:
            return Outcome(0) if error is None else self._failed(error, results)
        finally:
            del error  # its frames hold what the code worked on, and this frame

    def _cell(self, code: str) -> None:
        _mend_streams(self._unbuffered)
        sys.modules["__main__"] = self._module
        vars(self._module)["__builtins__"] = builtins
        body, last = self._compile(code)
        self._evaluate(body)
        value = None if last is None else self._evaluate(last)
        if os.getpid() == self._pid:
            self._context.run(self._end, value)

    def _end(self, value: object = None, interrupted: bool = False) -> None:
        if value is not None:
            builtins._ = value  # type: ignore[attr-defined]
        self._screen.show_figures(besides=value)
        if value is not None:
            self._screen.show(value, "result")
        if not interrupted:  # theirs may be what hung
            _flush(getattr(sys, "stdout", None))
            _flush(getattr(sys, "stderr", None))
        _flush(sys.__stdout__)
        _flush(sys.__stderr__)

    def _failed(self, error: BaseException, results: Results) -> Outcome:
        kind = type(error)  # isinstance() would ask the exception, which may be of any making
        interrupted = issubclass(kind, KeyboardInterrupt)
        status = 1
        item: dict[str, Any] | None = None

        def told() -> None:
            nonlocal status, item
            status = tell(error)
            item = error_item(error)

        failed = self._interrupts.run(told)
        self._interrupts.run(lambda: self._end(interrupted=interrupted))
        if not issubclass(kind, SystemExit):
            if item is None:
                name = clean(kind.__name__)[:NAME_CHARACTERS]
                item = {"type": "error", "name": name, "value": "", "traceback": []}
                with contextlib.suppress(OSError):
                    os.write(2, f"{name}: showing it raised {type(failed).__name__}\n".encode())
            results.write(item)  # the last of all items, where it is always kept
        return Outcome(status, interrupted)

    def _end_fork(self, error: BaseException | None) -> NoReturn:
        """A child that the code forked came back from it: it ends as a program's would."""
        status = 0 if error is None else tell(error)
        self._module = types.ModuleType("__main__")
        interrupted = issubclass(type(error), KeyboardInterrupt)
        finish(INTERRUPTED if interrupted else status)

    def _compile(self, code: str) -> tuple[types.CodeType, types.CodeType | None]:
        """All but the last expression, and that one if its value is to be shown."""
        self._cells += 1
        name = f"{CELL}{self._cells}>"
        lines = io.StringIO(code.removesuffix("\n") + "\n", newline=None).readlines()
        linecache.cache[name] = (len(code), None, lines, name)
        linecache.cache.pop(f"{CELL}{self._cells - SOURCES_KEPT}>", None)
        flags = self._flags | ast.PyCF_ONLY_AST
        tree: ast.Module = compile(code, name, "exec", flags, dont_inherit=True)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            statement = tree.body[-1]
            if not _ends_with_semicolon(statement, lines):
                last = ast.Expression(statement.value)
                tree.body.pop()
        try:
            body = self._code(tree, name, "exec")
            return body, None if last is None else self._code(last, name, "eval")
        except SyntaxError as error:  # a tree does not know its source
            if error.text is None and error.lineno is not None:
                error.text = "".join(lines[error.lineno - 1 : error.lineno])
            raise

    def _code(self, tree: ast.Module | ast.Expression, name: str, mode: str) -> types.CodeType:
        code: types.CodeType = compile(tree, name, mode, self._flags, dont_inherit=True)
        self._flags |= code.co_flags & FUTURE_FLAGS
        return code

    def _evaluate(self, code: types.CodeType) -> object:
        value = self._context.run(eval, code, vars(self._module))
        return self._await(value) if code.co_flags & inspect.CO_COROUTINE else value

    def _await(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """In a loop that is kept, so that tasks go on whenever another cell awaits something.

        The task is given our context and no copy, or what it sets there would be lost.
        """
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine, context=self._context)
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            if not task.done():  # the interrupt came while it waited
                task.cancel()
                self._loop.run_until_complete(asyncio.wait([task]))
            raise


def _ends_with_semicolon(statement: ast.stmt, lines: list[str]) -> bool:
    end, column = statement.end_lineno or 0, statement.end_col_offset
    rest = lines[end - 1].encode()[column:].decode() + "".join(lines[end:])
    return rest.lstrip(" \t\f\\\n").startswith(";")


def _mend_streams(unbuffered: bool) -> None:
    """A cell may have closed what the next one prints to."""
    if not all(map(_usable, (sys.__stdin__, sys.__stdout__, sys.__stderr__))):
        open_streams(unbuffered)
    for name in ("stdin", "stdout", "stderr"):
        if not hasattr(sys, name) or not _usable(getattr(sys, name)):
            setattr(sys, name, getattr(sys, f"__{name}__"))


def _flush(stream: Any) -> None:
    with contextlib.suppress(Exception):
        stream.flush()


def _usable(stream: Any) -> bool:
    try:
        return not stream.closed
    except ValueError:  # its buffer was detached
        return False
    except Exception:  # None, or an object of their own
        return True
