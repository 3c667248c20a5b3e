"""Each limit ends what it must and says so; what was printed is kept and the sandbox goes on."""

import time
from pathlib import Path

from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import QUIET, SMALL, TIGHT, case
from tests.runtime.cases.looking import SEEN, good, left_of

DEAF = """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
"""
LONG_AGO = 15_000
"""Milliseconds by which anything here has been ended, whatever else this machine does."""


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@case()
def case_08_wall_timeout(box: Box) -> None:
    ended = box.python("print('before')\nwhile True: pass", timeoutMs=1000)
    assert (ended["reason"], text(ended)) == ("WallTimeout", "before\n")
    assert 1000 <= ended["durationMs"] < LONG_AGO
    assert not {"exitCode", "signal"} & set(ended), "it did not get to have one"


@case(TIGHT, rows={"python": ("python", "print('before')\nwhile True: pass"),
                   "bash": ("bash", "echo before; while :; do :; done")})  # fmt: skip
def case_09_cpu_limit(box: Box, language: str, program: str) -> None:
    ended = box.run(language=language, code=program)
    assert (ended["reason"], text(ended)) == ("CpuLimit", "before\n")
    assert 500 <= ended["cpuMs"] < LONG_AGO


BURN = """
import os, sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
"""


@case(rows={"its group": "", "a session of its own": "os.setsid()"})
def case_the_cpu_time_of_what_is_left_at_the_end_counts(box: Box, leave: str) -> None:
    program = f"""
{BURN}
seen, said = os.pipe()
if os.fork() == 0:
    {leave}
    burn(0.6); os.write(said, b"."); time.sleep(60)
os.read(seen, 1)
"""
    ended = box.python(program)
    good(ended)
    assert 600 <= ended["cpuMs"] < LONG_AGO


@case(TIGHT)
def case_the_cpu_limit_counts_the_first_process_after_its_end(box: Box) -> None:
    """A second is the limit of all together."""
    program = f"""
{BURN}
first = os.getpid()
if os.fork() == 0:
    while os.getppid() == first: time.sleep(0.01)
    burn(0.7); time.sleep(60)
burn(0.7)
"""
    started = box.submit(language="python", code=program, background=True)
    ended = box.get(started["id"], "?wait=30s")
    assert ended["reason"] == "CpuLimit"
    assert 1000 <= ended["cpuMs"] < LONG_AGO


@case(rows={"flushed": "print('line', flush=True)", "buffered": "print('line')"})
def case_10_output_before_a_timeout_is_kept(box: Box, first: str) -> None:
    ended = box.python(f"{first}\nimport time; time.sleep(60)", timeoutMs=400)
    assert (ended["reason"], text(ended)) == ("WallTimeout", "line\n")


@case(needs=("user",))
def case_11_deaf_to_signals(box: Box) -> None:
    program = f"""
{SEEN}{DEAF}
import os, subprocess
for _ in range(2): subprocess.Popen(["sleep", "86411"])
print(see(b"86411", 2), flush=True)
os.setsid() if os.fork() == 0 else None
while True: pass
"""
    ended = box.python(program, timeoutMs=800)
    assert (ended["reason"], text(ended)) == ("WallTimeout", "2\n")
    assert left_of(box, "86411") == 0


@case(QUIET)
def case_silence_is_a_limit_of_its_own(box: Box) -> None:
    program = "for i in 1 2 3; do echo $i; sleep 0.3; done; sleep 60"
    ended = box.bash(program)
    assert (ended["reason"], text(ended)) == ("OutputIdleTimeout", "1\n2\n3\n")
    assert 2600 <= ended["durationMs"] < LONG_AGO


@case()
def case_a_wait_that_passes_leaves_the_execution_alone(box: Box) -> None:
    started = box.submit("?wait=100ms", language="bash", code="sleep 0.5; echo done")
    assert started["state"] == "Running"
    assert box.get(started["id"], "?wait=100ms")["state"] == "Running"
    assert good(box.get(started["id"], "?wait=20s")) == "done\n"


@case(rows={"waited for": "?wait=20s", "left alone": ""})
def case_a_timeout_holds_however_it_is_asked(box: Box, query: str) -> None:
    started = box.submit(query, language="bash", code="sleep 60", timeoutMs=300)
    ended = box.get(started["id"], "?wait=20s")
    assert ended["reason"] == "WallTimeout"
    assert ended["message"] == "it ran longer than its timeout of 300 ms"


@case(SMALL)
def case_12_too_much_memory_at_once(box: Box) -> None:
    ended = box.python("print('before', flush=True)\nx = bytearray(600 << 20)")
    assert (ended["reason"], text(ended)) == ("MemoryLimit", "before\n")
    assert str(96 << 20) in ended["message"], "how much there was"
    assert good(box.python("x = bytearray(30 << 20); print(len(x))")) == f"{30 << 20}\n"


@case(SMALL)
def case_13_recursion_without_a_limit(box: Box) -> None:
    ended = box.python("import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()")
    assert ended["reason"] == "MemoryLimit"
    assert ended["peakMemoryBytes"] <= 110 << 20


@case(SMALL, needs=("user",), rows={
    "bash": ("bash", "bomb() { bomb | bomb & }; bomb; sleep 20"),
    "python": ("python", "import os, time\nwhile True:\n    try: os.fork() or os.setsid()\n"
                         "    except OSError: time.sleep(0.01)"),
})  # fmt: skip
def case_14_fork_bomb(box: Box, language: str, code: str) -> None:
    started = box.submit(language=language, code=code)
    for _ in range(10):
        assert box.call("GET", "/livez")[0] == 200
        assert box.is_ready()
        time.sleep(0.03)
    ended = box.get(started["id"], "?wait=20s")
    assert ended["reason"] == "ProcessLimit"
    assert "limit of 40" in ended["message"]


@case(SMALL, needs=("user",))
def case_14_a_pool_of_hungry_workers(box: Box) -> None:
    """Most often the kernel is faster than we are, and kills one worker after another. A pool that
    has lost a task so waits for ever: that is its timeout, and the kills are told beside it."""
    program = """
import multiprocessing, time
def work(n):
    x = bytearray(40 << 20); time.sleep(5); return len(x)
with multiprocessing.Pool(30) as pool: print(pool.map(work, range(64)))
"""
    started = box.submit(language="python", code=program, timeoutMs=8000)
    while box.get(started["id"], "?wait=50ms")["state"] != "Finished":
        assert box.call("GET", "/livez")[0] == 200
    ended = box.get(started["id"])
    if ended["reason"] == "WallTimeout":
        assert ended["oomKills"] > 0
    else:
        assert ended["reason"] in ("MemoryLimit", "ProcessLimit")
    assert good(box.python("print(1 + 1)")) == "2\n"


@case(SMALL)
def case_an_innocent_neighbour_of_a_memory_hog_lives(box: Box) -> None:
    code = "import time; time.sleep(1); print('fine')"
    innocent = box.submit(language="python", code=code)
    hog = box.python(
        "x = []\nimport time\nwhile True: x.append(b'x' * (1 << 18)); time.sleep(2e-3)"
    )
    assert hog["reason"] == "MemoryLimit"
    assert good(box.get(innocent["id"], "?wait=20s")) == "fine\n"


@case(TIGHT)
def case_15_output_without_end(box: Box) -> None:
    pid = box.runtime_pid()
    program = "print('x' * 3_000_000)"
    box.python(program)
    before = resident_bytes(pid)
    ended = box.python("while True: print('x' * 80)")
    assert ended["reason"] == "OutputLimit"
    assert ended["truncated"]
    assert ended["stdout"]["bytes"] > 20 << 20
    assert len(text(ended)) == 64 << 10
    assert resident_bytes(pid) - before < 12 << 20


@case(TIGHT)
def case_37_a_full_disk(box: Box) -> None:
    fill = "for i in 1 2 3 4 5 6; do head -c 10M /dev/zero > part$i; sleep 0.2; done; sleep 9"
    ended = box.bash(fill)
    assert ended["reason"] == "DiskLimit"
    assert str(30 << 20) in ended["message"]
    assert good(box.bash("rm part*; sleep 0.6; echo clean")) == "clean\n", "one may clean up"
    assert good(box.bash("head -c 10M /dev/zero > part; wc -c < part; rm part")) == "10485760\n"


@case(TIGHT)
def case_37_a_file_too_large(box: Box) -> None:
    program = """
import os
with open("big", "wb") as file:
    file.truncate(20 << 20)
    try: file.truncate((20 << 20) + 1)
    except OSError as error: print(error.errno)
os.unlink("big")
"""
    assert good(box.python(program)) == "27\n"
    killed = box.run(argv=["dd", "if=/dev/zero", "of=big", "bs=1M", "count=25", "status=none"])
    assert (killed["reason"], killed["signal"]) == ("Signaled", "SIGXFSZ")
    assert good(box.bash("wc -c < big; rm big")) == f"{20 << 20}\n"
