"""User code that takes all there is of something: it is stopped, told so, and alone in that.

Deadlines, deaf programs, daemons and held pipes are cases 8, 11, 22 and 23.
"""

from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import CRAMPED, SMALL, STANDARD, TIGHT, case
from tests.runtime.cases.looking import good
from tests.runtime.cases.output import counted

SHARED = "the whole machine has one /dev/shm"


@case(SMALL, needs=("user",), beside=STANDARD)
def case_attack_01_fork_bomb_beside_a_neighbour(box: Box, neighbour: Box) -> None:
    code = """
import errno, os, time
refused = 0
while refused < 50:
    try:
        if os.fork() == 0: time.sleep(9); os._exit(0)
    except BlockingIOError as error:
        refused += 1
        assert error.errno == errno.EAGAIN
        time.sleep(0.005)
print("refused", flush=True)
time.sleep(9)
"""
    started = box.submit(language="python", code=code)
    while box.get(started["id"], "?wait=50ms")["state"] != "Finished":
        assert box.is_ready()
        assert good(neighbour.python("print(1 + 1)")) == "2\n"
    ended = box.get(started["id"])
    assert (ended["reason"], text(ended)) == ("ProcessLimit", "refused\n")


@case(SMALL)
def case_attack_03_memory_that_grows_from_run_to_run(box: Box) -> None:
    peaks = []
    for size in (10, 25, 40):
        ended = box.python(f"x = bytearray({size} << 20); print(len(x))")
        assert good(ended) == f"{size << 20}\n"
        peaks.append(ended["peakMemoryBytes"])
    assert [round((peak - peaks[0]) / (1 << 20)) // 10 for peak in peaks] == [0, 1, 3], peaks
    assert box.python("x = bytearray(200 << 20)")["reason"] == "MemoryLimit"
    assert good(box.python("x = bytearray(40 << 20); print('fine')")) == "fine\n"


@case(TIGHT, rows={"workspace": ".", "tmp": "$TMPDIR"})
def case_attack_04_06_files(box: Box, place: str) -> None:
    control = f"cd {place} && head -c 5M /dev/zero > fill && wc -c < fill && rm fill"
    assert good(box.bash(control)) == f"{5 << 20}\n"
    fill = "for i in 1 2 3 4; do head -c 12M /dev/zero > fill$i; done; sleep 9"
    ended = box.bash(f"cd {place} && {fill}")
    assert ended["reason"] == "DiskLimit"
    assert good(box.bash(f"cd {place} && rm fill*; sleep 0.6; echo clean")) == "clean\n"


@case(TIGHT)
def case_attack_06_an_innocent_neighbour_of_a_disk_hog_lives(box: Box) -> None:
    """Who prints much writes to no file."""
    code = "for i in 1 2 3; do head -c 5M /dev/zero; sleep 1; done; echo fine"
    innocent = box.submit(language="bash", code=code)
    box.bash("rm -f fill*")
    fill = "for i in 1 2 3 4; do head -c 12M /dev/zero > fill$i; done; sleep 9"
    assert box.bash(fill)["reason"] == "DiskLimit"
    ended = box.get(innocent["id"], "?wait=20s")
    assert (ended["reason"], ended["stdout"]["bytes"]) == ("Exited", (15 << 20) + 5)
    assert good(box.bash("rm fill*; sleep 0.6; echo clean")) == "clean\n"


@case(SMALL, only_pods=SHARED)
def case_attack_06_shared_memory(box: Box) -> None:
    """It is memory: either the mount or the memory limit ends it, and it is gone then."""
    name = f"fill-{box.new_id()}"
    control = f"head -c 5M /dev/zero > /dev/shm/{name} && wc -c < /dev/shm/{name}"
    assert good(box.bash(control)) == f"{5 << 20}\n"
    ended = box.bash(f"for i in {{1..9}}; do head -c 20M /dev/zero > /dev/shm/{name}$i; done")
    told = text(ended, "stderr")
    assert ended["reason"] == "MemoryLimit" or "No space left on device" in told, ended
    assert good(box.bash(f"ls /dev/shm/{name}* 2>/dev/null; echo .")) == ".\n"


@case(CRAMPED, own=True, only_pods=SHARED)
def case_attack_06_shared_memory_is_bounded_and_goes(box: Box) -> None:
    """Nobody's death frees it: whoever comes next must still find a sandbox that works."""
    fill = "for i in {1..9}; do head -c 10M /dev/zero > /dev/shm/fill$i; done"
    for rest in ("exit 3", "exec python3 -c 'bytearray(60 << 20)'"):
        for _ in range(2):
            ended = box.bash(f"{fill}; {rest}")
            assert "No space left on device" in text(ended, "stderr")
            assert ended["reason"] == ("Exited" if rest == "exit 3" else "MemoryLimit")
            box.wait_ready()
            assert good(box.bash("ls /dev/shm")) == "", "it is gone with its execution"


@case(rows={"files": "open('/dev/null')", "sockets": "socket.socketpair()"})
def case_attack_07_descriptors(box: Box, make: str) -> None:
    code = f"""
import errno, socket
kept = []
try:
    while True: kept.append({make})
except OSError as error:
    kept.pop(); print(len(kept) > 500, errno.errorcode[error.errno])
"""
    assert good(box.python(code)) == "True EMFILE\n"
    assert good(box.python("open('/dev/null'); print('fine')")) == "fine\n"


@case()
def case_attack_08_a_flood_of_output(box: Box) -> None:
    size = 256 << 20
    ended = box.bash(f"head -c {size} /dev/zero | tr '\\0' y")
    assert (ended["exitCode"], counted(ended), ended["truncated"]) == (0, size, True)
    assert text(ended) == "y" * (1 << 20)


@case(rows={
    "long line": ("'x' * 50_000_000", 50_000_000),
    "NUL": ("'\\0' * 1000", 1000),
    "escapes": ("'\\x1b]0;title\\x07\\x1b[2J\\x9b' * 100", 1600),
    "line separators": ("'\\u2028\\u2029\\x85\\r' * 100", 900),
    "broken": (None, 6000),
})  # fmt: skip
def case_attack_09_unpleasant_output(box: Box, expression: str | None, size: int) -> None:
    code = f"import sys; sys.stdout.write({expression})"
    if expression is None:
        code = "import os; os.write(1, b'\\xff\\xfe\\xed\\xa0\\x80\\xc0' * 1000)"
    ended = box.python(code)
    assert (ended["exitCode"], ended["stdout"]["bytes"]) == (0, size)
    if expression is not None and size < 10_000:
        assert text(ended) == eval(expression)
    _, page = box.call("GET", "/v1/journal?maxOutput=100")
    assert [execution["id"] for execution in page["executions"]], "and the journal can be read"


@case(TIGHT)
def case_attack_05_empty_files(box: Box) -> None:
    """They take no bytes, but each takes an inode and a name."""
    make = """
import os, time
os.makedirs("empty", exist_ok=True)
for n in range({count}): os.close(os.open(f"empty/{{n}}", os.O_CREAT))
time.sleep({then})
print(len(os.listdir("empty")))
"""
    assert good(box.python(make.format(count=3000, then=0.6))) == "3000\n"
    ended = box.python(make.format(count=9000, then=9))
    assert ended["reason"] == "DiskLimit"
    assert box.call("GET", "/livez")[0] == 200
    assert good(box.bash("rm -r empty; sleep 0.6; echo clean")) == "clean\n"
