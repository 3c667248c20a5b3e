"""What a cell prints, raises and shows, and what the next one finds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.runtime.contexts.harness import Context, Forks

AS_PYTHON = {
    "print": "print('a', end=''); print('ü', 'b')",
    "stderr": "import sys; print('no', file=sys.stderr); sys.stdout.write('no newline') and None",
    "error": "def f(x):\n    return 1 / x\n\n\nf(0)",
    "error after output": "print(1)\nraise ValueError('two\\nlines')",
    "chained": "try:\n    {}['a']\nexcept KeyError as e:\n    raise TypeError('b') from e",
    "context": "try:\n    {}['a']\nexcept KeyError:\n    open('/none')",
    "suppressed": "try:\n    {}['a']\nexcept KeyError:\n    raise OSError from None",
    "group": "raise ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [KeyError('k')])])",
    "notes": "e = ValueError('x')\ne.add_note('a note')\nraise e",
    "recursion": "def f():\n    f()\n\n\nf()",
    "memory": "x = [0] * (1 << 60)",
    "str raises": "class E(Exception):\n    def __str__(self):\n        1 / 0\n\n\nraise E",
    "repr raises": "class A:\n    def __repr__(self):\n        1 / 0\n\n\nraise ValueError(A())",
    "base": "class Stop(BaseException):\n    pass\n\n\nraise Stop(1)",
    "syntax": "x = 1\ny ==\nz = 2",
    "indentation": "if 1:\nx = 2",
    "late syntax": "def f():\n    x = 1\nreturn x",
    "surrogate": "print('\\ud800')",
    "surrogate on stderr": "import sys\nprint('\\ud800', file=sys.stderr)",
    "exit": "raise SystemExit",
    "exit code": "import sys; sys.exit(3)",
    "exit large": "import sys; sys.exit(1000)",
    "exit text": "import sys; sys.exit('bye')",
    "exit other": "exit([1, 2])",
    "exit bool": "exit(True)",
    "hook": "import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__)\n1 / 0",
    "failing hook": "import sys\nsys.excepthook = lambda *a: 2 / 0\n1 / 0",
    "input": "print(input('? '))\nprint(input())",
    "all of stdin": "import sys\nprint(sys.stdin.read().upper())",
    "stdin ends": "input(), input(), input()",
    "thread error": "import threading\n"
    "t = threading.Thread(target=lambda: 1 / 0, name='T')\nt.start()\nt.join()",
    "subprocess": "import subprocess\nsubprocess.run(['echo', 'from outside'])\nx = 1",
    "subprocess stdin": "import subprocess\nx = subprocess.run(['cat'])",
    "warning": "import warnings\nwarnings.warn('careful')\nx = 1",
    "pickle": "import pickle\nclass A:\n    pass\nx = type(pickle.loads(pickle.dumps(A()))) is A\n"
    "print(x)",
    "dataclass": (
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: 'int' = 1\nprint(P())"
    ),
    "fork pool": "import multiprocessing\ndef f(x):\n    return x * x\n"
    "with multiprocessing.get_context('fork').Pool(2) as p:\n    print(p.map(f, range(5)))",
    "asyncio.run": "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    print(1)\n"
    "asyncio.run(f())",
    "annotations": "x: int = 1\nprint(__annotations__, __name__)",
    "crlf": "x = 1\r\nif x:\r\n    print('''a\r\nb'''.encode())\r\n1/0",
    "empty": "",
    "comment": "# nothing",
    "builtins": "del __builtins__\nprint(len([1]))",
    "fork": "import os\nif pid := os.fork():\n    os.waitpid(pid, 0)\n    print('parent')\n"
    "else:\n    print('child')",
    "fork error": "import os\nif pid := os.fork():\n    print(os.waitpid(pid, 0)[1])\n"
    "else:\n    raise ValueError('child')",
    "fork exit": "import os, sys\nif pid := os.fork():\n    print(os.waitpid(pid, 0)[1])\n"
    "else:\n    sys.exit(7)",
    "fork file": "import os\nif pid := os.fork():\n    os.waitpid(pid, 0)\n"
    "    print(open('f').read())\nelse:\n    f = open('f', 'w')\n    x = f.write('flushed')",
}
STDIN = b"first\nsecond"


@pytest.mark.parametrize("name", AS_PYTHON)
def test_as_plain_python(name: str, forks: Forks, tmp_path: Path) -> None:
    code = AS_PYTHON[name]
    program = tmp_path / "main.py"
    program.write_text(code, newline="")
    plain = subprocess.run(
        [sys.executable, str(program)], input=STDIN, capture_output=True, cwd=tmp_path, check=False
    )
    with forks.context(tmp_path) as context:
        cell = context.run(code, STDIN)
    stderr = plain.stderr.decode().replace(str(program), "<cell 1>")
    told, expected = (
        re.sub("repeated 9.. more", "repeated", text) for text in (cell.stderr, stderr)
    )
    assert (cell.code, cell.stdout, told) == (plain.returncode, plain.stdout.decode(), expected)


@pytest.mark.parametrize("name", AS_PYTHON)
def test_an_error_is_told_as_it_is_printed_and_the_context_goes_on(
    name: str, context: Context
) -> None:
    cell = context.run(AS_PYTHON[name], STDIN)
    if cell.code == 0 or "exit" in name:
        assert cell.error is None
    elif "hook" not in name:
        assert cell.error is not None
        printed = cell.stderr.removesuffix("\n").split("\n")
        assert cell.error["traceback"] == printed[-len(cell.error["traceback"]) :]
    assert context.run("6 * 7").text == "42"


SHOWN = {
    "1 + 1": "2",
    "x = 1\nx": "1",
    "'ü'": "'ü'",
    "None": None,
    "x = 1": None,
    "1;": None,
    "1 ; # quiet": None,
    "1 # ;": "1",
    "';'": "';'",
    "(1\n + 1\n)": "2",
    "(1\n + 1\n);": None,
    "'é'; 'ü';": None,
    "'é'; 'ü'": "'ü'",
    "1 \\\n;": None,
    "x = [i for i in range(3)]; x": "[0, 1, 2]",
    "if 1:\n    5": None,
    "import asyncio\nawait asyncio.sleep(0, 'slept')": "'slept'",
    "[x async for x in (i async for i in aiter_())] if 0 else 3": "3",
    "lambda: 1;": None,
    "1\n\n\n": "1",
    "\t\n1": "1",
}


@pytest.mark.parametrize("code", SHOWN)
def test_the_last_expression_is_shown(code: str, context: Context) -> None:
    cell = context.run(code)
    assert (cell.code, cell.text, cell.stdout) == (0, SHOWN[code], "")


def test_underscore_is_the_last_value_unless_it_is_the_users(context: Context) -> None:
    context.run("20")
    assert context.run("_ + 1").text == "21"
    assert context.run("_ + 1").text == "22"
    assert context.run("None").text is None
    assert context.run("_").text == "22"
    context.run("for _ in range(3): pass")
    context.run("99")
    assert context.run("_").text == "2"
    assert context.run("del _")
    assert context.run("_").text == "2"


def test_definitions_stay_after_an_error_and_an_exit(context: Context) -> None:
    context.run("a = 1\nraise ValueError")
    context.run("b = 2\nraise SystemExit(4)")
    assert context.run("a, b").text == "(1, 2)"


def test_lines_of_earlier_cells_are_in_tracebacks(context: Context) -> None:
    context.run("def f():\n    return 1 / 0  # here")
    stderr = context.run("f()").stderr
    assert 'File "<cell 2>", line 1, in <module>\n    f()\n' in stderr
    assert 'File "<cell 1>", line 2, in f\n    return 1 / 0  # here\n' in stderr
    assert "paddock" not in stderr
    context.run("import inspect")
    assert context.run("inspect.getsource(f)").text == repr("def f():\n    return 1 / 0  # here\n")


def test_future_statements_hold_for_later_cells(context: Context) -> None:
    context.run("from __future__ import annotations")
    context.run("def f(x: nowhere): pass")
    assert context.run("f.__annotations__").text == "{'x': 'nowhere'}"
    assert context.run("from __future__ import annotations\nx: nowhere = 1\nx").text == "1"


def test_one_event_loop_is_kept(context: Context) -> None:
    context.run("import asyncio")
    context.run("await asyncio.sleep(0)\nt = asyncio.create_task(asyncio.sleep(0, 5))")
    assert context.run("t.done()").text == "False"
    assert context.run("await t").text == "5"
    in_thread = "await asyncio.get_running_loop().run_in_executor(None, len, 'ab')"
    assert context.run(in_thread).text == "2"
    context.run("asyncio.get_event_loop().close()")
    assert context.run("await asyncio.sleep(0, 6)").text == "6"
    error = context.run("await asyncio.wait_for(asyncio.sleep(9), 0.01)")
    assert (error.code, error.error and error.error["name"]) == (1, "TimeoutError")
    assert '  File "<cell 8>", line 1, in <module>\n' in error.stderr
    assert "paddock" not in error.stderr
    assert "run_until_complete" not in error.stderr


def test_an_exit_while_awaiting_leaves_the_loop_usable(context: Context) -> None:
    context.run("import asyncio, sys")
    assert context.run("await asyncio.sleep(0)\nsys.exit(5)").code == 5
    assert context.run("await asyncio.sleep(0, 1)").text == "1"


def test_context_variables_set_while_awaiting_stay(context: Context) -> None:
    context.run("import asyncio, contextvars\nv = contextvars.ContextVar('v', default=0)")
    context.run("await asyncio.sleep(0)\nv.set(1)")
    assert context.run("v.get()").text == "1"
    context.run("v.set(2);")
    assert context.run("await asyncio.sleep(0, v.get())").text == "2"


def test_each_cell_has_its_own_stdin(context: Context) -> None:
    assert context.run("input()", b"one\ntwo\n").text == "'one'"
    assert context.run("input()", b"three\n").text == "'three'"
    assert context.run("input()").error["name"] == "EOFError"  # type: ignore[index]
    context.run("import sys\nstdin = sys.stdin\nstdin.readline()", b"four\n\xff\xff" + b"x" * 9000)
    assert context.run("input()", b"five").text == "'five'"
    assert (
        context.run("import subprocess\nsubprocess.run(['cat']).returncode", b"six").stdout == "six"
    )


def test_output_of_a_program_comes_in_order_with_a_flush(context: Context) -> None:
    code = "import os\nprint(1, flush=True)\nos.system('echo 2')\nprint(3)"
    assert context.run(code).stdout == "1\n2\n3\n"


def test_the_environment_and_directory_are_the_contexts(forks: Forks, tmp_path: Path) -> None:
    with forks.context(tmp_path, NAME="value") as context:
        context.run("import os")
        assert context.run("os.environ['NAME'], os.getcwd()").text == repr(("value", str(tmp_path)))
        (tmp_path / "mine.py").write_text("x = 3")
        assert context.run("import mine\nmine.x").text == "3"
        context.run("os.chdir('/')")
        assert context.run("os.getcwd()").text == "'/'"


def test_unbuffered_stays_unbuffered(forks: Forks) -> None:
    with forks.context(PYTHONUNBUFFERED="1") as context:
        running = context.start(
            "import time\nprint('at once')\ntime.sleep(0.2)\nimport os\nos._exit(0)"
        )
        assert running.end().stdout == "at once\n"


def test_a_megabyte_of_code(context: Context) -> None:
    code = "".join(f"x{number} = {number}\n" for number in range(70_000)) + "x69999"
    assert len(code) > 1_000_000
    assert context.run(code).text == "69999"
    assert context.run("x = '" + "a" * 1_000_000 + "'\nlen(x)").text == "1000000"


def test_nul_and_half_a_surrogate_in_code(context: Context) -> None:
    nul = context.run("a = 1\0")
    assert nul.code == 1
    assert nul.error["value"].endswith("cannot contain null bytes")  # type: ignore[index]
    half = context.run("a = '\ud800'")
    assert half.error["name"] == "UnicodeEncodeError"  # type: ignore[index]
    assert "Traceback" not in nul.stderr + half.stderr


def test_deep_code_is_refused_and_not_fatal(context: Context) -> None:
    assert context.run("(" * 5000 + ")" * 5000).code == 1
    assert context.run("-" * 100_000 + "1").code == 1
    assert context.run("1").text == "1"


def test_the_end_of_the_channel_ends_the_process(forks: Forks) -> None:
    with forks.context() as context:
        context.run("import atexit\natexit.register(print, 'x')")
        assert context.close() == 0


def test_an_error_item_stays_small(context: Context) -> None:
    cell = context.run(
        "class E(Exception): pass\nE.__name__ = 'N' * 10**6\nraise E('\\x01' * 10**6)"
    )
    assert cell.error is not None
    assert len(str(cell.error).encode()) < 64 << 10
    assert cell.error["value"] == "\x01" * 4096
    assert len(cell.stderr) > 10**6
    lines = context.run("raise ValueError('\\n'.join('\\x01' * 3000 for _ in range(1000)))").error
    assert lines is not None
    assert 1 < len(lines["traceback"]) < 20


def test_what_a_failed_cell_worked_on_is_freed(context: Context) -> None:
    context.run("import gc, weakref\ngc.disable()\nclass Big: pass")
    context.run("def f():\n    big = Big()\n    global ref\n    ref = weakref.ref(big)\n    1 / 0")
    context.run("f()")
    assert context.run("ref()").text is None
