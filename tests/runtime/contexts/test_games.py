"""Code that takes its interpreter apart, by accident or not: the context answers, or is gone."""

import os
import signal
import time

import pytest
from tests.runtime.contexts.harness import Context

SURVIVED = {
    "closes fd 1": "import os\nprint('lost?')\nos.close(1)",
    "closes fds 0 to 2": "import os\nos.closerange(0, 3)",
    "closes sys.stdout": "import sys\nsys.stdout.close()",
    "closes all streams": "import sys\nsys.stdin.close()\nsys.stdout.close()\nsys.stderr.close()",
    "detaches": "import sys\nb = sys.stdout.detach()",
    "closes and fails": "import sys\nsys.stderr.close()\n1 / 0",
    "closes stdin and reads": "import sys\nsys.stdin.close()\ninput()",
    "redirects fd 1": (
        "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nprint('x' * 10**5)"
    ),
    "no stderr": "import sys\nsys.stderr = None\n1 / 0",
    "stderr that raises": (
        "import sys\nclass E:\n    def write(self, x): 1 / 0\nsys.stderr = E()\n1 / 0"
    ),
    "stdout that raises": "import sys\nclass E:\n    @property\n    def closed(self): 1 / 0\n"
    "sys.stdout = E()\nprint('x')",
    "deletes streams": "import sys\ndel sys.stdout, sys.stderr",
    "deletes builtins": "del __builtins__",
    "builtins to None": "__builtins__ = None",
    "deletes main": "import sys\ndel sys.modules['__main__']",
    "replaces main": "import sys, types\nsys.modules['__main__'] = types.ModuleType('x')",
    "deletes everything": "for n in list(globals()):\n    del globals()[n]",
    "low recursion limit": "import sys\nsys.setrecursionlimit(12)",
    "low recursion limit and error": "import sys\nsys.setrecursionlimit(14)\ndef f(): f()\nf()",
    "no gc": "import gc\ngc.disable()",
    "clears linecache": "import linecache\nlinecache.clearcache()\n1 / 0",
    "no display": "import builtins\ndel builtins.display\n1",
    "own display": "def display(*a): raise ValueError\ndisplay",
    "display hook": "import sys\nsys.displayhook = None\n1",
    "excepthook None": "import sys\nsys.excepthook = None\n1 / 0",
    "metaclass": "class M(type):\n    def __getattribute__(cls, n): 1 / 0\n"
    "class A(metaclass=M): pass\nA",
    "evil error": "class E(Exception):\n    def __getattribute__(self, n): 1 / 0\n"
    "    def __str__(self): raise KeyboardInterrupt\nraise E",
    "exit text that raises": "class A:\n    def __str__(self): 1 / 0\nraise SystemExit(A())",
    "endless chain": (
        "e, f = ValueError(1), ValueError(2)\ne.__cause__, f.__cause__ = f, e\nraise e"
    ),
    "long chain": "e = ValueError(0)\nfor i in range(5000):\n    f = ValueError(i)\n"
    "    f.__cause__ = e\n    e = f\nraise e",
    "generator exit": "raise GeneratorExit",
    "stop iteration": "raise StopIteration(1)",
    "stop iteration awaiting": "import asyncio\nawait asyncio.sleep(0)\nraise StopIteration(1)",
    "cancelled": "import asyncio\nraise asyncio.CancelledError",
    "cancels itself": "import asyncio\nasyncio.current_task().cancel()\nawait asyncio.sleep(1)",
    "stops the loop": (
        "import asyncio\nasyncio.get_running_loop().stop()\nawait asyncio.sleep(0.01)"
    ),
    "breakpoint": "x = 1\nbreakpoint()",
    "breakpoint within": "def f():\n    breakpoint()\n    return 1\nf()",
    "trace function": "import sys\ndef t(*a): raise ValueError\nsys.settrace(t)\n(lambda: 1)()",
    "profile function": "import sys\nsys.setprofile(lambda *a: None)",
    "warnings are errors": "import warnings\nwarnings.simplefilter('error')\n'\\d'",
    "faulthandler": "import faulthandler\nfaulthandler.enable()",
    "sigterm": "import signal, os\nsignal.signal(signal.SIGTERM, lambda *a: exit(3))\n"
    "os.kill(os.getpid(), signal.SIGTERM)",
    "sigchld ignored": "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "umask and directory": "import os\nos.umask(0o777)\nos.chdir('/proc')",
    "nice": "import os\nos.nice(1)",
    "shadowed modules": "import sys\nsys.modules['json'] = sys.modules['traceback'] = None",
    "audit": "import sys\nsys.addaudithook(lambda *a: None)",
    "non-blocking pipe": "import os\nos.set_blocking(1, False)\nprint('x' * 10)",
    "many threads": "import threading\nts = [threading.Thread(target=print, args=(i,)) "
    "for i in range(50)]\n[t.start() for t in ts];",
    "frames": "import sys\nf = sys._getframe()\nwhile f:\n    f, g = f.f_back, f\n    "
    "g.f_trace = None",
}


@pytest.mark.parametrize("name", SURVIVED)
def test_the_next_cell_runs(name: str, context: Context) -> None:
    cell = context.run(SURVIVED[name])
    assert cell.end is not None
    if name == "stdout that raises":
        context.run("sys.stdout = sys.__stdout__")
    again = context.run(
        "import os, sys\nprint(len([0]))\nprint('err', file=sys.__stderr__)\n"
        "os.system('echo out')\n6 * 7"
    )
    assert (again.code, again.text) == (0, "42"), again.stderr
    assert again.stderr.endswith("err\n")
    assert sorted(again.stdout.split()) == ["1", "out"]
    failing = context.run("def f():\n    f()\nf()")
    assert failing.error is not None
    assert failing.error["name"] == "RecursionError"


DIED = {
    "os._exit": ("import os\nprint('flushed', flush=True)\nos._exit(3)", 3 << 8),
    "kill": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", signal.SIGKILL),
    "crash": ("import ctypes\nctypes.string_at(0)", signal.SIGSEGV),
    "default sigterm": ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", signal.SIGTERM),
}


@pytest.mark.parametrize("name", DIED)
def test_a_process_that_ends_itself_is_gone(name: str, context: Context) -> None:
    code, status = DIED[name]
    assert context.run(code).end is None
    assert context.status() & ~0x80 == status


def test_all_descriptors_closed_ends_the_context_and_never_hangs(context: Context) -> None:
    assert context.run("import os\nos.closerange(3, 4096)").end is None
    assert os.waitstatus_to_exitcode(context.status()) != 0


def test_replaced_stdout_stays_and_can_be_put_back(context: Context) -> None:
    context.run("import io, sys\nsys.stdout = kept = io.StringIO()")
    assert context.run("print('into it')").stdout == ""
    context.run("sys.stdout = sys.__stdout__")
    assert context.run("print(kept.getvalue(), end='')").stdout == "into it\n"


def test_streams_are_the_same_objects_in_every_cell(context: Context) -> None:
    context.run("import sys\na = sys.stdin, sys.stdout, sys.stderr", b"some input")
    assert context.run("a == (sys.stdin, sys.stdout, sys.stderr)", b"more").text == "True"


def test_threads_that_a_cell_leaves_write_to_nowhere_or_to_the_next_cell(context: Context) -> None:
    code = """
import threading, time
go, printed, stop = threading.Event(), threading.Event(), threading.Event()
def talk():
    go.wait(); print('while idle'); display('while idle'); printed.set()
    stop.wait(); print('in a cell', flush=True)
thread = threading.Thread(target=talk)
thread.start()
threading.Timer(0.05, go.set).start()
print('cell')
"""
    first = context.run(code)
    assert (first.code, first.stdout) == (0, "cell\n")
    time.sleep(0.2)
    assert context.run("printed.is_set()").stdout == ""
    last = context.run("stop.set()\nthread.join()")
    assert (last.stdout, last.items) == ("in a cell\n", [])


def test_a_program_left_running_does_not_hold_the_results(context: Context) -> None:
    running = context.start(
        "import subprocess\np = subprocess.Popen(['sleep', '60'], close_fds=False)"
    )
    assert context.receive() == {"done": 0, "interrupted": False}
    assert running.results.all() == b""
    assert not running.stdout.ended.is_set()
    context.run("p.kill();")
    running.stdout.all()


def test_a_program_inherits_nothing_of_ours(context: Context) -> None:
    code = "import subprocess\nsubprocess.run(['ls', '/proc/self/fd'], close_fds=False)"
    assert context.run(code).stdout.split() == ["0", "1", "2", "3"]  # the last is of ls


def test_descriptors_do_not_leak(context: Context) -> None:
    context.run("import os")
    count = "len(os.listdir('/proc/self/fd'))"
    before = context.run(count).text
    for _ in range(20):
        context.run("1 / 0", b"stdin")
        context.run("display(1)")
    assert context.run(count).text == before


def test_an_error_that_cannot_be_shown_is_told_by_its_name(context: Context) -> None:
    cell = context.run(SURVIVED["evil error"])
    assert cell.error == {"type": "error", "name": "E", "value": "", "traceback": []}
    assert cell.stderr == "E: showing it raised ZeroDivisionError\n"


def test_a_forked_child_that_comes_back_shows_nothing_and_takes_no_cell(context: Context) -> None:
    code = (
        "import os\npid = os.fork()\nprint('parent' if pid else 'child')\n"
        "_ = pid and os.waitpid(pid, 0)\n5"
    )
    cell = context.run(code)
    assert sorted(cell.stdout.split()) == ["child", "parent"]
    assert cell.results == [{"text/plain": "5"}]
    assert [context.run(f"{number}").text for number in range(20)] == [str(n) for n in range(20)]


def test_a_child_that_lives_on_after_its_cell(context: Context) -> None:
    context.run("import os, time\nreader, writer = os.pipe()")
    running = context.start(
        "if not os.fork():\n    os.close(1)\n    os.close(2)\n"
        "    time.sleep(0.3)\n    x = os.write(writer, b'late')"
    )
    assert context.receive() == {"done": 0, "interrupted": False}
    running.stdout.all()
    assert context.run("os.read(reader, 10)").text == "b'late'"


def test_a_child_raises_in_its_own_name(context: Context) -> None:
    code = "import os\nif not os.fork(): raise ValueError('child')\nstatus = os.wait()[1]"
    cell = context.run(code)
    assert (cell.code, cell.items) == (0, [])
    assert cell.stderr.endswith("ValueError: child\n")
    assert context.run("status").text == "256"
