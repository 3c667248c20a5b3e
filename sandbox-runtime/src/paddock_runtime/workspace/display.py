"""Rich results: what a value looks like by MIME type, as items in the pipe of a cell.

A value is asked by the methods that Jupyter asks (`_repr_html_` and the others). One that fails
costs its form only: the text says so.
"""

import base64
import contextlib
import functools
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import figures

ITEM_BYTES = (1 << 20) - (1 << 16)
"""Of the forms of all that one cell shows, as JSON: the runtime keeps 1 MiB of a cell's results,
and this leaves it room for the error. What does not fit is named with its size."""
TEXT_BYTES = 1 << 16
"""Of text/plain, which is cut instead of left out."""
FORMS = 32
"""Of one value; Jupyter's own objects have up to four."""
NOTE_CHARACTERS, NAME_CHARACTERS = 200, 200

METHODS = (
    ("_repr_html_", "text/html"),
    ("_repr_markdown_", "text/markdown"),
    ("_repr_svg_", "image/svg+xml"),
    ("_repr_png_", "image/png"),
    ("_repr_jpeg_", "image/jpeg"),
    ("_repr_latex_", "text/latex"),
    ("_repr_json_", "application/json"),
    ("_repr_javascript_", "application/javascript"),
    ("_repr_pdf_", "application/pdf"),
)
BINARY = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")
PLAIN = "text/plain"

Form = tuple[str, int]
"""Text as it travels (base64 for bytes), and how many bytes the form itself has."""


class Results:
    """The results pipe of one cell. Items are lines of JSON, written at once.

    After `close` nothing is written any more: a thread that a cell left behind may still show
    things, and the descriptor's number may be something else by then.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._lock = threading.RLock()
        self._torn = False
        self.room = ITEM_BYTES

    def write(self, item: Mapping[str, Any]) -> None:
        line = json.dumps(item, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            if self._descriptor is None:
                return
            # An interrupt may have come between two parts of the line before.
            rest = memoryview(b"\n" + line if self._torn else line)
            self._torn = True
            with contextlib.suppress(OSError):
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
                self._torn = False

    def close(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):  # user code closed it
                os.close(descriptor)


class Screen:
    """Where values are shown: the results of the cell that runs, nowhere when none does."""

    def __init__(self) -> None:
        self._results: Results | None = None
        self._shown: list[object] = []
        """Figures that this cell has shown by themselves."""

    def begin(self, results: Results) -> None:
        self._results = results
        self._shown.clear()

    def display(self, *objects: object) -> None:
        """Show values in the answer of this execution, each in every form that it offers."""
        for value in objects:
            self.show(value, "display")

    def show(self, value: object, kind: str) -> None:
        results = self._results
        if results is None:
            return
        if figures.is_figure(value):
            self._shown.append(value)
        data, omitted = bounded(forms(value), results.room)
        results.room -= sum(map(_cost, data.values()))
        results.write({"type": kind, "data": data, "omitted": omitted})

    def show_figures(self, besides: object = None) -> None:
        """Show and close what pyplot has open, but not what was or will be shown by itself."""
        for figure in figures.taken():
            if figure is not besides and not any(figure is shown for shown in self._shown):
                self.show(figure, "display")


def forms(value: object) -> dict[str, Form]:
    """Every form of a value by MIME type, text/plain always among them and first.

    Raises what is no Exception, such as KeyboardInterrupt.
    """
    notes: list[str] = []
    found: dict[str, Form] = {}
    for source, mime, content in itertools.islice(_offered(value, notes), FORMS):
        try:
            found.setdefault(mime, _form(mime, content))
        except Exception as error:
            notes.append(f"{mime} of its {source}: {sentence(error)}")
    text, size = found.pop(PLAIN) if PLAIN in found else _cut(_plain(value, notes))
    text = "\n".join([text, *(f"({clean(note)})" for note in notes)])
    return {PLAIN: (text, size), **found}


def bounded(
    forms: Mapping[str, Form], room: int = ITEM_BYTES
) -> tuple[dict[str, str], dict[str, int]]:
    """The forms that fit into so many bytes of JSON, in order, and the size of each other."""
    data: dict[str, str] = {}
    omitted: dict[str, int] = {}
    for mime, (text, size) in forms.items():
        cost = _cost(text) if size <= room else size
        if cost <= room:
            data[mime] = text
            room -= cost
        else:
            omitted[mime] = size
    return data, omitted


def clean(text: str) -> str:
    """Text that UTF-8 can tell: half a surrogate pair is written out, as on stderr."""
    return str.encode(text, "utf-8", "backslashreplace").decode()


def sentence(error: BaseException) -> str:
    """An exception in a few words, whatever its __str__ does."""
    try:
        return f"{type(error).__name__}: {error}"[:NOTE_CHARACTERS]
    except Exception:
        return type(error).__name__


def _offered(value: object, notes: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Name of the method, MIME type and content of each form that the value offers itself."""
    if figures.is_figure(value):
        for content in _made("picture", lambda: figures.png(value), notes):
            yield "picture", "image/png", content
        return
    is_class = issubclass(type(value), type)
    if is_class or _method(value, "_repr_of_what_has_any_attribute_") is not None:
        return
    bundler = _method(value, "_repr_mimebundle_")
    if bundler is not None:
        call = functools.partial(bundler, include=None, exclude=None)
        for bundle in _made("_repr_mimebundle_", call, notes):
            if isinstance(bundle, dict):
                for mime, content in bundle.items():
                    if isinstance(mime, str):
                        yield "_repr_mimebundle_", clean(mime)[:NAME_CHARACTERS], content
    for name, mime in METHODS:
        method = _method(value, name)
        if method is not None:
            for content in _made(name, method, notes):
                yield name, mime, content


def _made(name: str, call: Callable[[], Any], notes: list[str]) -> Iterator[Any]:
    """What the method made, nothing if it failed. Jupyter allows (content, metadata) as well."""
    try:
        content = call()
    except Exception as error:
        notes.append(f"its {name} raised {sentence(error)}")
        return
    if isinstance(content, tuple) and content:
        content = content[0]
    if content is not None:
        yield content


def _method(value: object, name: str) -> Callable[..., Any] | None:
    try:
        method = getattr(value, name, None)
    except Exception:  # a __getattr__ that fails otherwise than it should has none
        return None
    return method if callable(method) else None


def _form(mime: str, content: object) -> Form:
    """Raises TypeError for what no text can be made of."""
    if isinstance(content, bytes | bytearray | memoryview):
        data = bytes(content)
        if mime in BINARY:
            return base64.b64encode(data).decode(), len(data)
        content = data.decode("utf-8", "replace")
    elif not isinstance(content, str):
        if mime != "application/json" and not mime.endswith("+json"):
            raise TypeError(f"it is {type(content).__name__}, not text")
        content = json.dumps(content)
    text = clean(content)
    return _cut(text) if mime == PLAIN else (text, len(text.encode()))


def _plain(value: object, notes: list[str]) -> str:
    try:
        return clean(repr(value))
    except Exception as error:
        notes.append(f"its __repr__ raised {sentence(error)}")
        return clean(object.__repr__(value))


def _cut(text: str) -> Form:
    data = text.encode()
    if len(data) > TEXT_BYTES:
        head = data[:TEXT_BYTES].decode("utf-8", "ignore")
        text = f"{head}\n(cut: it has {len(data)} bytes)"
    return text, len(data)


def _cost(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())
