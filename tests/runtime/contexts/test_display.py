"""Rich results: which forms a value has, what fails, what is too large."""

import base64
import json
import os
import signal
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.contexts.harness import Context

from paddock_runtime.workspace import display

PNG = b"\x89PNG\r\n\x1a\n\0"


class Rich:
    """Answers what it is given by method name."""

    def __init__(self, **answers: object) -> None:
        for name, answer in answers.items():
            setattr(self, f"_repr_{name}_", self._method(answer))

    @staticmethod
    def _method(answer):
        def method(**_):
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return method

    def __repr__(self) -> str:
        return "Rich()"


FORMS = [
    ({"html": "<b>"}, {"text/html": "<b>"}),
    ({"html": "<b>", "markdown": "*b*"}, {"text/html": "<b>", "text/markdown": "*b*"}),
    ({"html": None}, {}),
    ({"html": ("<b>", {"meta": 1})}, {"text/html": "<b>"}),
    ({"png": PNG}, {"image/png": base64.b64encode(PNG).decode()}),
    ({"png": bytearray(PNG)}, {"image/png": base64.b64encode(PNG).decode()}),
    ({"png": "aGk="}, {"image/png": "aGk="}),
    ({"jpeg": b"j", "pdf": b"p"}, {"image/jpeg": "ag==", "application/pdf": "cA=="}),
    ({"svg": "<svg/>"}, {"image/svg+xml": "<svg/>"}),
    ({"svg": b"<svg>\xff"}, {"image/svg+xml": "<svg>\ufffd"}),
    ({"latex": "$x$", "javascript": "1"}, {"text/latex": "$x$", "application/javascript": "1"}),
    ({"json": {"a": [1, None]}}, {"application/json": '{"a": [1, null]}'}),
    (
        {"mimebundle": {"text/html": "h", "text/plain": "own"}},
        {"text/html": "h", "text/plain": "own"},
    ),
    ({"mimebundle": ({"text/html": "h"}, {"text/html": {}})}, {"text/html": "h"}),
    ({"mimebundle": {"text/html": "from bundle"}, "html": "h"}, {"text/html": "from bundle"}),
    (
        {"mimebundle": {"application/vnd.vegalite.v5+json": {"a": 1}}},
        {"application/vnd.vegalite.v5+json": '{"a": 1}'},
    ),
    (
        {"mimebundle": {1: "x", "text/x": None}},
        {
            "text/plain": (
                "Rich()\n(text/x of its _repr_mimebundle_: TypeError: it is NoneType, not text)"
            )
        },
    ),
    ({"mimebundle": "nonsense"}, {}),
    ({"html": "a\ud800b"}, {"text/html": "a\\ud800b"}),
    (
        {"html": 5},
        {"text/plain": "Rich()\n(text/html of its _repr_html_: TypeError: it is int, not text)"},
    ),
    (
        {"html": ValueError("boom")},
        {"text/plain": "Rich()\n(its _repr_html_ raised ValueError: boom)"},
    ),
    (
        {"html": RecursionError(), "png": b"x"},
        {"image/png": "eA==", "text/plain": "Rich()\n(its _repr_html_ raised RecursionError: )"},
    ),
    (
        {"mimebundle": KeyError("k"), "html": "h"},
        {"text/html": "h", "text/plain": "Rich()\n(its _repr_mimebundle_ raised KeyError: 'k')"},
    ),
    (
        {"json": {1, 2}},
        {
            "text/plain": (
                "Rich()\n(application/json of its _repr_json_: TypeError: Object of "
                "type set is not JSON serializable)"
            )
        },
    ),
]


@pytest.mark.parametrize(("answers", "expected"), FORMS, ids=lambda value: str(value)[:40])
def test_forms_are_what_the_value_offers(
    answers: dict[str, object], expected: dict[str, str]
) -> None:
    found = {mime: text for mime, (text, _) in display.forms(Rich(**answers)).items()}
    assert found == {"text/plain": "Rich()", **expected}


class AnyAttribute:
    def __getattr__(self, name: str):
        return lambda **_: f"nonsense {name}"

    def __repr__(self) -> str:
        return "any"


class FailingAttribute(AnyAttribute):
    def __getattr__(self, name: str):
        raise RuntimeError(name)


class FailingRepr:
    def __repr__(self) -> str:
        raise ValueError("no\nrepr")


class FailingError(Exception):
    def __str__(self) -> str:
        raise ValueError


class Worse:
    def __repr__(self) -> str:
        raise FailingError


class Loose(str):
    def encode(self, *_):
        return 1 / 0

    def __repr__(self) -> str:
        return self


@pytest.mark.parametrize("value", [AnyAttribute, FailingAttribute, lambda: Loose("any")])
def test_odd_objects_are_text(value: Callable[[], object]) -> None:
    assert display.forms(value()) == {"text/plain": ("any", 3)}


def test_a_class_is_text_though_its_objects_are_more() -> None:
    class Html:
        def _repr_html_(self) -> str:
            return "h"

    assert list(display.forms(Html)) == ["text/plain"]
    assert list(display.forms(Html())) == ["text/plain", "text/html"]


def test_a_repr_that_fails_is_replaced() -> None:
    text, _ = display.forms(FailingRepr())["text/plain"]
    assert text.startswith("<")
    assert text.split("\n", 1)[1] == ("(its __repr__ raised ValueError: no\nrepr)")
    assert "(its __repr__ raised FailingError)" in display.forms(Worse())["text/plain"][0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_passes(error: type[BaseException]) -> None:
    with pytest.raises(error):
        display.forms(Rich(html=error()))


def test_long_text_is_cut_with_its_size() -> None:
    text, size = display.forms(Rich(mimebundle={"text/plain": "ü" * 10**6}))["text/plain"]
    assert size == 2 * 10**6
    assert text == "ü" * (1 << 15) + "\n(cut: it has 2000000 bytes)"


def test_a_form_that_is_too_large_is_named_with_its_size() -> None:
    forms = display.forms(Rich(png=b"x" * (1 << 20), html="h"))
    data, omitted = display.bounded(forms)
    assert data == {"text/plain": "Rich()", "text/html": "h"}
    assert omitted == {"image/png": 1 << 20}


@given(
    st.dictionaries(st.sampled_from([mime for _, mime in display.METHODS]), st.text(max_size=200)),
    st.integers(0, 2000),
)
def test_what_is_kept_fits_and_nothing_is_lost_silently(texts: dict[str, str], room: int) -> None:
    forms = {mime: (text, len(text.encode())) for mime, text in texts.items()}
    data, omitted = display.bounded(forms, room)
    assert data.keys() | omitted.keys() == forms.keys()
    assert not data.keys() & omitted.keys()
    assert all(texts[mime] == text for mime, text in data.items())
    assert len(json.dumps(list(data.values()), ensure_ascii=False).encode()) <= room + 2 + 2 * len(
        data
    )


def test_an_item_that_was_interrupted_does_not_spoil_the_next() -> None:
    class Interrupted(Exception):
        pass

    def handler(*_: object) -> None:
        raise Interrupted

    reader, writer = os.pipe()
    results = display.Results(writer)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(Interrupted):  # more than a pipe takes, and nobody reads
            results.write({"long": "x" * (1 << 20)})
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert os.read(reader, 1 << 20).startswith(b'{"long": "xx')
    results.write({"type": "error"})
    results.close()
    assert os.read(reader, 1 << 20) == b'\n{"type": "error"}\n'
    os.close(reader)


def test_display_shows_in_order_before_the_value(context: Context) -> None:
    cell = context.run("display(1, 'two')\nprint('text')\ndisplay([3])\n4")
    assert [(item["type"], item["data"]) for item in cell.items] == [
        ("display", {"text/plain": "1"}),
        ("display", {"text/plain": "'two'"}),
        ("display", {"text/plain": "[3]"}),
        ("result", {"text/plain": "4"}),
    ]
    assert cell.stdout == "text\n"


def test_display_is_a_builtin_that_a_name_may_hide(context: Context) -> None:
    context.run("display = 5")
    assert context.run("display").text == "5"
    context.run("del display")
    assert context.run("display(1)").displays == [{"text/plain": "1"}]
    assert context.run("'display' in globals(), '_' in globals()").text == "(False, False)"


def test_items_come_at_once(context: Context) -> None:
    running = context.start("display('early')\ninput()\nimport time\ntime.sleep(60)", b"go\n")
    running.until(lambda: b"early" in running.results.data)
    told = running.results.data
    context.interrupt()
    assert running.end().items[0] == json.loads(told)


def test_everything_that_one_cell_shows_is_bounded_and_the_error_comes_last(
    context: Context,
) -> None:
    code = (
        "class A:\n    def _repr_html_(self):\n        return 'x' * 300_000\n"
        "    def __repr__(self):\n        return 'A'\n"
    )
    cell = context.run(code + "for i in range(10): display(A())\n1 / 0")
    assert [len(item.get("text/html", "")) for item in cell.displays] == [300_000] * 3 + [0] * 7
    assert all(item["text/plain"] == "A" for item in cell.displays)
    assert [item["omitted"] for item in cell.items[3:10]] == [{"text/html": 300_000}] * 7
    assert cell.error is not None
    assert len(context.run("A()").results[0]["text/html"]) == 300_000


def test_a_failing_form_does_not_fail_the_cell(context: Context) -> None:
    code = "class A:\n    def _repr_html_(self): 1 / 0\n    def __repr__(self): 2 / 0\nA()"
    cell = context.run(code)
    assert (cell.code, cell.stderr) == (0, "")
    lines = (cell.text or "").splitlines()
    assert lines[0].startswith("<__main__.A object at")
    assert lines[1:] == [
        "(its _repr_html_ raised ZeroDivisionError: division by zero)",
        "(its __repr__ raised ZeroDivisionError: division by zero)",
    ]
    assert context.run("_").code == 0


def test_a_form_may_end_the_cell(context: Context) -> None:
    assert context.run("class A:\n    def __repr__(self): raise SystemExit(9)\nA()").code == 9


def test_results_go_nowhere_when_their_pipe_is_closed(context: Context) -> None:
    cell = context.run("import os\nos.closerange(5, 100)\ndisplay(1)\n2")
    assert cell.code == 0
    assert context.run("3").text == "3"
