"""SIGINT: into a cell that runs, and nowhere else."""

import os
import signal
import time

import pytest
from tests.runtime.contexts.harness import Context, Running

LOOPS = {
    "busy": "while True: pass",
    "sleep": "time.sleep(60)",
    "lock": "lock = threading.Lock()\nlock.acquire() and lock.acquire()",
    "subprocess": "subprocess.run(['sleep', '60'])",
    "await": "await asyncio.sleep(60)",
    "asyncio.run": "asyncio.run(asyncio.sleep(60))",
    "repr": "class A:\n    def __repr__(self):\n        time.sleep(60)\nA()",
    "html": "class A:\n    def _repr_html_(self):\n        time.sleep(60)\nA()",
    "stdout": "class A:\n    closed = False\n    def write(self, x): pass\n"
    "    def flush(self): time.sleep(60)\n"
    "sys.stdout = A()",
}


def begun(context: Context, code: str) -> Running:
    context.run("import asyncio, os, signal, subprocess, sys, threading, time")
    running = context.start("print('begun', flush=True)\n" + code)
    running.printed("begun")
    time.sleep(0.05)
    return running


@pytest.mark.parametrize("name", LOOPS)
def test_it_raises_keyboard_interrupt(name: str, context: Context) -> None:
    running = begun(context, LOOPS[name])
    context.interrupt()
    cell = running.end()
    assert cell.end == {"done": 1, "interrupted": True}
    assert cell.error is not None
    assert cell.error["name"] == "KeyboardInterrupt"
    assert "paddock" not in cell.stderr
    assert cell.stderr.endswith("KeyboardInterrupt\n")
    assert context.run("sys.stdout = sys.__stdout__\n1").text == "1"


def test_a_cell_may_catch_it_as_often_as_it_comes(context: Context) -> None:
    code = """
for number in range(3):
    try:
        print(number, flush=True)
        while True: pass
    except KeyboardInterrupt:
        continue
'done'
"""
    running = context.start(code)
    for number in range(3):
        running.printed(f"{number}\n")
        time.sleep(0.02)
        context.interrupt()
    cell = running.end()
    assert (cell.end, cell.text) == ({"done": 0, "interrupted": False}, "'done'")


def test_an_idle_context_ignores_it(context: Context) -> None:
    for _ in range(20):
        context.interrupt()
    time.sleep(0.05)
    assert context.run("1").text == "1"
    context.run("import signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)")
    context.interrupt()
    time.sleep(0.05)
    assert context.run("signal.getsignal(signal.SIGINT)").text == "<Handlers.SIG_DFL: 0>"


def test_one_that_comes_with_the_cell_is_not_lost(context: Context) -> None:
    """Stopped, it gets both at once; and the signal is handled before the message is read."""
    for _ in range(10):
        os.kill(context.pid, signal.SIGSTOP)
        running = context.start("import time\ntime.sleep(60)")
        context.interrupt()
        os.kill(context.pid, signal.SIGCONT)
        assert running.end().end == {"done": 1, "interrupted": True}
    assert context.run("1").text == "1"


def test_a_shower_of_them_never_ends_the_context(context: Context) -> None:
    """At any moment of short cells; each ends once, as itself or interrupted."""
    context.run("counted = 0")
    ended = 0
    for number in range(300):
        running = context.start("counted += 1\nx = [i * i for i in range(2000)]\nlen(x)")
        for _ in range(number % 4):
            context.interrupt()
            time.sleep(0.0001 * (number % 7))
        cell = running.end()
        assert cell.end in ({"done": 0, "interrupted": False}, {"done": 1, "interrupted": True})
        assert (cell.error is None) == (cell.code == 0)
        ended += cell.code == 0
    assert ended > 70
    assert int(context.run("counted").text or 0) >= ended


def test_handlers_of_the_user_stay_and_cannot_hurt_while_idle(context: Context) -> None:
    context.run(
        "import signal, time\nseen = []\n"
        "def handler(number, frame):\n    seen.append(number)\n    raise ValueError('handled')\n"
        "signal.signal(signal.SIGUSR1, handler)\nsignal.signal(signal.SIGINT, handler)"
    )
    os.kill(context.pid, signal.SIGUSR1)
    time.sleep(0.05)
    context.interrupt()  # not theirs while nothing runs
    time.sleep(0.05)
    assert context.run("seen").text == str([int(signal.SIGUSR1)])
    same = "signal.getsignal(signal.SIGUSR1) is signal.getsignal(signal.SIGINT) is handler"
    assert context.run(same).text == "True"
    running = begun(context, "time.sleep(60)")
    context.interrupt()
    cell = running.end()
    assert cell.end == {"done": 1, "interrupted": False}
    assert cell.error is not None
    assert cell.error["value"] == "handled"


def test_the_default_handler_can_be_compared_and_put_back(context: Context) -> None:
    context.run("import signal")
    same = "signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    assert context.run(same).text == "True"
    context.run("signal.signal(signal.SIGINT, signal.SIG_IGN)")
    context.run("signal.signal(signal.SIGINT, signal.default_int_handler)")
    running = begun(context, "time.sleep(60)")
    context.interrupt()
    assert running.end().end == {"done": 1, "interrupted": True}


def test_an_alarm_that_was_left_does_not_hurt(context: Context) -> None:
    context.run(
        "import signal\ndef late(*a): raise TimeoutError\n"
        "signal.signal(signal.SIGALRM, late)\nsignal.setitimer(signal.ITIMER_REAL, 0.02, 0.001)"
    )
    time.sleep(0.2)
    for _ in range(50):
        assert context.run("x = 1").end is not None
    while context.run("signal.setitimer(signal.ITIMER_REAL, 0)").code:
        continue
    assert context.run("1").text == "1"


def test_awaiting_code_may_clean_up(context: Context) -> None:
    code = (
        "try:\n    await asyncio.sleep(60)\nfinally:\n"
        "    await asyncio.sleep(0)\n    print('clean')"
    )
    running = begun(context, code)
    context.interrupt()
    cell = running.end()
    assert (cell.code, cell.stdout) == (1, "begun\nclean\n")
    assert context.run("await asyncio.sleep(0, 1)").text == "1"


def test_an_interrupt_while_something_is_shown_costs_no_error_item(context: Context) -> None:
    code = (
        "class A:\n    def _repr_html_(self):\n        return 'x' * 400_000\n"
        "while True: display(A())"
    )
    for _ in range(5):
        running = context.start(code)
        running.until(lambda: len(running.results.data) > 500_000)  # noqa: B023
        context.interrupt()
        end = context.receive()
        assert end == {"done": 1, "interrupted": True}
        lines = running.results.all().splitlines()
        assert b'"KeyboardInterrupt"' in lines[-1]
        assert len(lines[-1]) < 64 << 10


def test_threads_can_interrupt_the_cell(context: Context) -> None:
    context.run("import _thread, threading")
    cell = context.run("threading.Timer(0.05, _thread.interrupt_main).start()\nwhile True: pass")
    assert cell.end == {"done": 1, "interrupted": True}


def test_programs_that_a_cell_starts_can_be_interrupted(context: Context) -> None:
    code = (
        "import subprocess\nsubprocess.run(['sh', '-c', 'kill -INT $$; echo survived']).returncode"
    )
    cell = context.run(code)
    assert (cell.text, cell.stdout) == ("-2", "")
