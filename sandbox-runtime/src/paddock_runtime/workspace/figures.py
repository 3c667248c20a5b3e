"""Figures of matplotlib: shown without a window, as Jupyter does it.

`pyplot.show()` shows what is open and closes it, and so does the end of a cell. Nothing here
imports matplotlib, which may not be there.
"""

import contextlib
import functools
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PYPLOT = "matplotlib.pyplot"
BACKEND = "Agg"


def prepare(environment: Mapping[str, str], show: Callable[[], None]) -> None:
    """Before any code of a user: choose the backend, and what `pyplot.show()` does.

    The backend is named in the environment, so that a program that is started finds it too.
    """
    backend = environment.get("MPLBACKEND") or BACKEND
    os.environ["MPLBACKEND"] = backend
    if "matplotlib" in sys.modules:  # preloaded: it has read the environment already
        with contextlib.suppress(Exception):
            sys.modules["matplotlib"].use(backend)
    if PYPLOT in sys.modules:
        _adopt(sys.modules[PYPLOT], show)
    else:
        sys.meta_path.insert(0, _PyplotFinder(show))


def is_figure(value: object) -> bool:
    """Whether it is a figure of matplotlib, which has no `_repr_png_` of its own."""
    figure = getattr(sys.modules.get("matplotlib.figure"), "Figure", None)
    return isinstance(figure, type) and issubclass(type(value), figure)


def png(figure: Any) -> bytes:
    """Its picture, as large as Jupyter makes it. Raises what drawing raises."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi="figure", bbox_inches="tight")
    return picture.getvalue()


def taken() -> Iterator[Any]:
    """Each figure that pyplot has open and that has anything on it; then all are closed."""
    pyplot = sys.modules.get(PYPLOT)
    if pyplot is None:
        return
    try:
        with contextlib.suppress(Exception):  # it may be half imported, or replaced
            for number in pyplot.get_fignums():
                figure = pyplot.figure(number)
                if len(figure.get_children()) > 1:  # one is its background
                    yield figure
    finally:
        with contextlib.suppress(Exception):
            pyplot.close("all")


def _adopt(pyplot: ModuleType, show: Callable[[], None]) -> None:
    original = pyplot.show

    @functools.wraps(original)
    def shown(*args: Any, **options: Any) -> None:
        show()

    pyplot.show = shown  # type: ignore[attr-defined]


class _PyplotFinder:
    """Finds pyplot as it would be found, to be there when its import has ended."""

    def __init__(self, show: Callable[[], None]) -> None:
        self._show = show

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != PYPLOT:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _adopt(module, self._show)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
