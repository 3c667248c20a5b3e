"""Interpreters that keep their variables: what they remember, show, and how they die."""

import base64
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import SMALL, TIGHT, case
from tests.runtime.cases.looking import good, until_said


@contextlib.contextmanager
def context(box: Box, **request: Any) -> Iterator[str]:
    """A new context, gone at the end."""
    identity = f"c-{box.new_id()}"
    status, made = box.call("POST", "/v1/contexts", {"id": identity, **request})
    assert status == 201, made
    try:
        yield identity
    finally:
        status, answer = box.call("DELETE", f"/v1/contexts/{identity}")
        assert status in (200, 204), answer


def value(ended: dict[str, Any]) -> str:
    """The text of the last expression of what went well."""
    good(ended)
    (shown,) = [result for result in ended["results"] if result["kind"] == "result"]
    return str(shown["data"]["text/plain"])


def data(ended: dict[str, Any]) -> dict[str, str]:
    """All forms of the one thing that was shown."""
    good(ended)
    (shown,) = ended["results"]
    return dict(shown["data"])


@case()
def case_03_variables_stay_in_their_context(box: Box) -> None:
    with context(box) as one, context(box) as other:
        assert box.python("x = 1", context=one)["results"] == []
        assert value(box.python("x += 1; x", context=one)) == "2"
        ended = box.python("x", context=other)
        assert (ended["reason"], ended["exitCode"]) == ("Exited", 1)
        assert ended["error"]["name"] == "NameError"
        assert "NameError" in text(ended, "stderr")
        assert value(box.python("x", context=one)) == "2"
    assert box.python("x")["exitCode"] == 1, "outside of any"


@case()
def case_04_sys_exit_leaves_the_context_alive(box: Box) -> None:
    with context(box) as one:
        box.python("x = 5", context=one)
        for argument, code in (("0", 0), ("3", 3), ("'msg'", 1)):
            ended = box.python(f"import sys; sys.exit({argument})", context=one)
            assert (ended["reason"], ended["exitCode"]) == ("Exited", code)
        assert value(box.python("x", context=one)) == "5"


@case()
def case_06_an_exception_is_told_apart_from_text(box: Box) -> None:
    with context(box) as one:
        ended = box.python("def f():\n    return 1 / 0\nf()", context=one)
        assert (ended["reason"], ended["exitCode"]) == ("Exited", 1)
        error = ended["error"]
        assert (error["name"], error["value"]) == ("ZeroDivisionError", "division by zero")
        traceback = "".join(line if line.endswith("\n") else f"{line}\n"
                            for line in error["traceback"])  # fmt: skip
        assert "return 1 / 0" in traceback
        assert text(ended, "stderr") == traceback
        assert box.python("int a", context=one)["error"]["name"] == "SyntaxError"


@case()
def case_29_a_context_keeps_its_directory_and_environment(box: Box) -> None:
    box.bash("mkdir -p 29c/deep")
    env = [{"name": "LEVEL", "value": "context"}]
    with context(box, cwd="29c", env=env) as one:
        look = "import os; os.getcwd().split('/')[-1], os.environ['LEVEL']"
        assert value(box.python(look, context=one)) == "('29c', 'context')"
        box.python("os.chdir('deep'); os.environ['LEVEL'] = 'mine'", context=one)
        assert value(box.python(look, context=one)) == "('deep', 'mine')"
    assert good(box.bash("echo $LEVEL")) == "template\n"


@case()
def case_30_a_timeout_leaves_the_next_run_a_free_context(box: Box) -> None:
    with context(box) as one:
        box.python("x = 7", context=one)
        program = "import time\nprint('begun', flush=True)\ntime.sleep(300)"
        ended = box.python(program, context=one, timeoutMs=1500)
        assert (ended["reason"], text(ended)) == ("WallTimeout", "begun\n")
        assert value(box.python("x + 1", context=one)) == "8", "interrupted, not ended"


@case()
def case_30_who_will_not_be_interrupted_takes_the_context_along(box: Box) -> None:
    deaf = """
import time
while True:
    try: time.sleep(60)
    except KeyboardInterrupt: pass
"""
    with context(box) as one:
        ended = box.python(deaf, context=one, timeoutMs=500)
        assert ended["reason"] == "WallTimeout"
        status, dead = box.call("GET", f"/v1/contexts/{one}")
        assert (status, dead["state"]) == (200, "Dead")
        assert "WallTimeout" in dead["message"]


@case()
def case_code_for_a_context_that_is_not_there(box: Box) -> None:
    request = {"id": box.new_id(), "language": "python", "code": "1", "context": "nope"}
    status, problem = box.call("POST", "/v1/executions", request)
    assert (status, problem["code"]) == (404, "NotFound")
    assert problem["detail"].startswith("context: there is no context 'nope'")


@case()
def case_30_a_cancel_leaves_the_context_alive(box: Box) -> None:
    with context(box) as one:
        started = box.submit(language="python", code="x = 1\nwhile True: pass", context=one)
        while box.get(started["id"], "?wait=20ms")["state"] != "Running":
            pass
        time.sleep(0.2)
        assert box.cancel(started["id"])["reason"] == "Cancelled"
        assert value(box.python("x", context=one)) == "1"


@case()
def case_an_interrupt_is_a_keyboard_interrupt(box: Box) -> None:
    program = """
import time
try: print("begun", flush=True); time.sleep(60)
except KeyboardInterrupt: print("caught")
"""
    with context(box) as one:
        started = box.submit(language="python", code=program, context=one)
        until_said(box, started["id"], "begun\n")
        status, answer = box.call("POST", f"/v1/contexts/{one}/interrupt")
        assert status in (200, 202, 204), answer
        assert good(box.get(started["id"], "?wait=20s")) == "begun\ncaught\n"


@case(rows={
    "killed": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "exit": ("import os; os._exit(3)", None),
})  # fmt: skip
def case_32_an_interpreter_that_dies(box: Box, program: str, name: str | None) -> None:
    with context(box) as one:
        box.python("x = 1", context=one)
        ended = box.python(program, context=one)
        assert ended["reason"] == "ContextDied"
        assert ended.get("signal") == name
        status, dead = box.call("GET", f"/v1/contexts/{one}")
        assert (status, dead["state"]) == (200, "Dead")
        assert dead["message"]
        request = {"id": box.new_id(), "language": "python", "code": "1", "context": one}
        status, problem = box.call("POST", "/v1/executions", request)
        assert (status, problem["code"]) == (409, "ContextDied")
        status, answer = box.call("POST", f"/v1/contexts/{one}/restart")
        assert status in (200, 201, 202), answer
        assert value(box.python("1 + 1", context=one)) == "2"


@case()
def case_33_restart_forgets(box: Box) -> None:
    with context(box) as one:
        box.python("x = 1", context=one)
        status, answer = box.call("POST", f"/v1/contexts/{one}/restart")
        assert status in (200, 201, 202), answer
        ended = box.python("x", context=one)
        assert (ended["exitCode"], ended["error"]["name"]) == (1, "NameError")


@case()
def case_34_rich_results(box: Box) -> None:
    program = """
class Frame:
    def __repr__(self): return "Frame"
    def _repr_html_(self): return "<table>ü</table>"
    def _repr_latex_(self): return "$x$"
    def _repr_png_(self): return b"\\x89PNG"
    def _repr_json_(self): return {"a": [1]}
Frame()
"""
    with context(box) as one:
        shown = data(box.python(program, context=one))
        assert shown["text/plain"] == "Frame"
        assert shown["text/html"] == "<table>ü</table>"
        assert shown["text/latex"] == "$x$"
        assert base64.b64decode(shown["image/png"]) == b"\x89PNG"
        bundle = "class B:\n    def _repr_mimebundle_(self, **_): return {'text/latex': '$y$'}\nB()"
        assert data(box.python(bundle, context=one))["text/latex"] == "$y$"
        broken = (
            "class C:\n    def _repr_html_(self): 1 / 0\n    def __repr__(self): return 'C'\nC()"
        )
        told = data(box.python(broken, context=one))
        assert set(told) == {"text/plain"}
        assert told["text/plain"].startswith("C")
        assert box.python("None", context=one)["results"] == []


LIBRARIES = {
    "pandas": (
        "import pandas\npandas.DataFrame({'a': [1, 2]})",
        {"text/plain": "a\n0  1\n1  2", "text/html": "<table"},
    ),
    "matplotlib": (
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()",
        {"image/png": "iVBORw0KGgo"},
    ),
}


@case(rows=LIBRARIES)
def case_34_libraries(box: Box, program: str, expected: dict[str, str]) -> None:
    library = program.split("\n")[0]
    if box.python(library)["exitCode"] != 0:
        pytest.skip(f"`{library}` fails here: the image does not have it")
    with context(box) as one:
        shown = data(box.python(program, context=one))
    for kind, part in expected.items():
        assert part in shown[kind]


@case()
def case_many_contexts_each_their_own(box: Box) -> None:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(context(box)) for _ in range(8)]
        for number, one in enumerate(made):
            box.python(f"x = {number}", context=one)
        assert [value(box.python("x", context=one)) for one in made] == list("01234567")
        status, listed = box.call("GET", "/v1/contexts")
        assert status == 200
        assert [entry["id"] for entry in listed["contexts"]] == made
    assert box.call("GET", "/v1/contexts")[1]["contexts"] == []


@case()
def case_what_one_context_is_asked_runs_in_order(box: Box) -> None:
    with context(box) as one:
        box.python("seen = []", context=one)
        code = "import time; time.sleep(0.02); seen.append({})"
        asked = [box.submit(language="python", code=code.format(n), context=one) for n in range(8)]
        for execution in asked:
            good(box.get(execution["id"], "?wait=20s"))
        assert value(box.python("seen", context=one)) == "[0, 1, 2, 3, 4, 5, 6, 7]"


LEFT = """
import os, threading, time
def later():
    time.sleep(1)
    {do}
    time.sleep(60)
threading.Thread(target=later).start()
"""
FILL_FILES = 'for n in range(4): open(f"fill{n}", "wb").write(bytes(12 << 20))'
FILL_MEMORY = "global held; held = bytearray(90 << 20)"


def left(box: Box, one: str, do: str, alone: bool) -> dict[str, Any]:
    """How a context looks after what was left running in it did that; unless alone, with an
    execution beside it that has no part in it."""
    good(box.python(LEFT.format(do=do), context=one))
    if not alone:
        assert good(box.bash("sleep 3; echo fine")) == "fine\n"
    deadline = time.monotonic() + 20
    while (found := box.call("GET", f"/v1/contexts/{one}")[1])["state"] != "Dead":
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert good(box.bash("echo fine; rm -f fill*")) == "fine\n"
    return dict(found)


@case(TIGHT, own=True, rows={"beside another": False, "alone": True})
def case_what_a_context_left_fills_the_disk(box: Box, alone: bool) -> None:
    with context(box) as one:
        assert "more than its disk limit" in left(box, one, FILL_FILES, alone)["message"]


@case(SMALL, own=True, rows={"beside another": False, "alone": True})
def case_what_a_context_left_takes_all_memory(box: Box, alone: bool) -> None:
    with context(box) as one:
        assert "memory limit" in left(box, one, FILL_MEMORY, alone)["message"]
