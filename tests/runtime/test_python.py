"""Python code ends and prints as it would as `python3 main.py`."""

import signal

import pytest
from tests.runtime.pod import AS_ROOT, Pod, text


def outcome(pod: Pod, code: str, **request: object) -> tuple[object, str, str]:
    """Exit code or signal, stdout, stderr."""
    ended = pod.python(code, **request)
    return ended.get("exitCode", ended.get("signal")), text(ended), text(ended, "stderr")


def test_one_liner(pod: Pod) -> None:
    assert outcome(pod, "print(123)") == (0, "123\n", "")


def test_only_stderr(pod: Pod) -> None:
    assert outcome(pod, "import sys; print('oh', file=sys.stderr)") == (0, "", "oh\n")


@pytest.mark.parametrize(
    ("argument", "code", "stderr"),
    [
        ("", 0, ""),
        ("0", 0, ""),
        ("3", 3, ""),
        ("259", 3, ""),
        ("-1", 255, ""),
        ("1 << 70", 255, ""),
        ("True", 1, ""),
        ("'msg'", 1, "msg\n"),
        ("None", 0, ""),
    ],
)
def test_sys_exit(pod: Pod, argument: str, code: int, stderr: str) -> None:
    assert outcome(pod, f"import sys; sys.exit({argument})") == (code, "", stderr)


def test_os_exit_loses_what_was_not_flushed(pod: Pod) -> None:
    assert outcome(pod, "import os; print('x'); os._exit(7)") == (7, "", "")
    assert outcome(pod, "import os; print('x', flush=True); os._exit(7)") == (7, "x\n", "")


def test_traceback_shows_the_program_and_only_the_program(pod: Pod) -> None:
    code, _, stderr = outcome(pod, "def f():\n    return 1 / 0\n\nf()")
    assert code == 1
    assert stderr == (
        "Traceback (most recent call last):\n"
        '  File "main.py", line 4, in <module>\n'
        "    f()\n"
        '  File "main.py", line 2, in f\n'
        "    return 1 / 0\n"
        "           ~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )


def test_assertion_and_syntax_error(pod: Pod) -> None:
    code, _, stderr = outcome(pod, "assert 1 == 2")
    assert code == 1
    assert stderr.endswith("AssertionError\n")
    code, _, stderr = outcome(pod, "int a = 1")
    assert code == 1
    shown = "    int a = 1\n        ^\nSyntaxError: invalid syntax\n"
    assert stderr == f'  File "main.py", line 1\n{shown}'


def test_a_thread_s_exception_shows_its_source(pod: Pod) -> None:
    program = "import threading\ndef f():\n    1 / 0\nthreading.Thread(target=f, name='t').start()"
    code, _, stderr = outcome(pod, program)
    assert code == 0
    assert stderr.startswith("Exception in thread t:\nTraceback (most recent call last):\n")
    assert '  File "main.py", line 3, in f\n    1 / 0\n' in stderr


def test_own_excepthook(pod: Pod) -> None:
    program = "import sys\nsys.excepthook = lambda kind, error, trace: print('mine', error)\n1 / 0"
    assert outcome(pod, program) == (1, "mine division by zero\n", "")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os; os.abort()", "SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import os; os.kill(os.getpid(), 15)", "SIGTERM"),
        ("raise KeyboardInterrupt", "SIGINT"),
    ],
)
def test_signals_are_named(pod: Pod, code: str, name: str) -> None:
    ended = pod.python(code)
    assert (ended["reason"], ended["signal"]) == ("Signaled", name)
    assert "exitCode" not in ended
    assert pod.python("print(1)")["exitCode"] == 0


def test_what_happens_at_the_end_happens(pod: Pod) -> None:
    program = """
import atexit, threading, time
class Late:
    def __del__(self): print('finalized')
late = Late()
atexit.register(print, 'atexit')
threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()
file = open('unclosed.txt', 'w')
file.write('kept')
print('main')
"""
    assert outcome(pod, program) == (0, "main\nthread\natexit\nfinalized\n", "")
    assert outcome(pod, "print(open('unclosed.txt').read())")[1] == "kept\n"


def test_main_module_is_real(pod: Pod) -> None:
    program = """
import pickle, sys, inspect, dataclasses, multiprocessing
@dataclasses.dataclass
class Point: x: int
def double(n): return n * 2
assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
assert sys.modules['__main__'].double is double
assert inspect.getsource(double) == 'def double(n): return n * 2\\n'
with multiprocessing.Pool(2) as pool: print(pool.map(double, [1, 2, 3]))
print(__name__, sys.argv, __doc__)
"""
    assert outcome(pod, program) == (0, "[2, 4, 6]\n__main__ ['main.py'] None\n", "")


def test_modules_beside_it_can_be_imported_and_ours_cannot(pod: Pod) -> None:
    pod.bash("echo 'x = 5' > helper_module.py")
    assert outcome(pod, "import helper_module; print(helper_module.x)")[1] == "5\n"
    if not AS_ROOT:
        return  # the workspace runs on the developer's Python, which has ours installed
    code, _, stderr = outcome(pod, "import paddock_runtime")
    assert (code, stderr.splitlines()[-1]) == (
        1,
        "ModuleNotFoundError: No module named 'paddock_runtime'",
    )
    assert (
        outcome(pod, "import sys; print([p for p in sys.path if 'lib/paddock' in p])")[1] == "[]\n"
    )


def test_each_execution_is_fresh(pod: Pod) -> None:
    pod.python("import builtins, os; x = 1; builtins.leak = 1; os.environ['LEAK'] = '1'")
    program = (
        "import os; print('x' in globals(), 'leak' in dir(__builtins__), 'LEAK' in os.environ)"
    )
    assert outcome(pod, program)[1] == "False False False\n"
    drawn = {outcome(pod, "import random; print(random.random())")[1] for _ in range(5)}
    assert len(drawn) == 5


def test_unicode(pod: Pod) -> None:
    program = """
import sys, time
data = 'né 🎉'.encode()
for byte in data:
    sys.stdout.buffer.write(bytes([byte])); sys.stdout.flush(); time.sleep(0.003)
"""
    assert outcome(pod, program)[1] == "né 🎉"
    ended = pod.python("import sys; sys.stdout.buffer.write(b'a' * 8191 + b'\\xe2')")
    assert text(ended) == "a" * 8191 + "�"
    assert ended["stdout"]["bytes"] == 8192
    code, _, stderr = outcome(pod, "print(chr(56550))")
    assert (code, "UnicodeEncodeError" in stderr) == (1, True)


def test_stdin(pod: Pod) -> None:
    assert outcome(pod, "print(input())", stdin="65535")[1] == "65535\n"
    code, _, stderr = outcome(pod, "input()")
    assert (code, stderr.splitlines()[-1]) == (1, "EOFError: EOF when reading a line")
    big = "zeile ü\n" * 100_000
    assert outcome(pod, "import sys; print(len(sys.stdin.read()))", stdin=big)[1] == "800000\n"


def test_odd_sources(pod: Pod) -> None:
    assert outcome(pod, "") == (0, "", "")
    big = "x = '" + "a" * 1_000_000 + "'\nprint(len(x))"
    assert outcome(pod, big) == (0, "1000000\n", "")
    assert outcome(pod, "print('\u2028'.isspace(), 'ü')\n1/0")[2].count("1/0") == 1


def test_signal_dispositions_are_those_of_a_new_python(pod: Pod) -> None:
    program = """
import signal
odd = {s.name: signal.getsignal(s) for s in signal.Signals
       if signal.getsignal(s) not in (signal.SIG_DFL, None)}
print(sorted(odd), signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""
    expected = ["SIGINT", "SIGPIPE", "SIGRTMAX", "SIGXCPU", "SIGXFSZ"]
    assert outcome(pod, program)[1] == f"{expected} set()\n"
    assert signal.SIGRTMAX == 64


def test_stdout_can_be_opened_again(pod: Pod) -> None:
    program = "open('/dev/stdout', 'w').write('out'); open('/dev/stderr', 'w').write('err')"
    assert outcome(pod, program) == (0, "out", "err")


def test_a_closed_stdout_is_no_error(pod: Pod) -> None:
    assert outcome(pod, "import sys; print('x'); sys.stdout.close()") == (0, "x\n", "")
    assert outcome(pod, "import os; os.close(1)") == (0, "", "")
