"""Children, orphans and daemons; standard input; what belongs to other programs."""

import time

from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import case
from tests.runtime.cases.looking import SEEN, good, left_of


@case(needs=("user",), rows={
    "python": ("python", "import subprocess; subprocess.Popen(['sleep', '86422'])\n"
                         f"{SEEN}\nprint(see(b'86422'))"),
    "bash": ("bash", "sleep 86422 & kill -0 $! && echo 1"),
})  # fmt: skip
def case_22_a_child_holds_stdout(box: Box, language: str, code: str) -> None:
    began = time.monotonic()
    ended = box.run(language=language, code=code)
    assert good(ended) == "1\n"
    assert time.monotonic() - began < 15, "nobody waited for the child"
    assert left_of(box, "86422") == 0


@case(needs=("user",))
def case_23_a_daemon(box: Box) -> None:
    program = f"""
{SEEN}
import os, sys, time
done, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in (0, 1, 2): os.dup2(os.open("/dev/null", os.O_RDWR), descriptor)
        os.spawnvp(os.P_NOWAIT, "sleep", ["sleep", "86423"])
        while not seen(b"86423"): time.sleep(0.01)
        os.write(told, b"x")
        while True: time.sleep(1)
    os._exit(0)
os.wait()
os.read(done, 1)
print(see(b"86423"))
"""
    assert good(box.python(program)) == "1\n"
    assert left_of(box, "86423") == 0


@case(needs=("user",))
def case_23_nohup_and_setsid(box: Box) -> None:
    program = "nohup setsid sleep 86424 >/dev/null 2>&1 </dev/null & disown; sleep 0.2; echo on"
    assert good(box.bash(program)) == "on\n"
    assert left_of(box, "86424") == 0


@case(needs=("user",))
def case_24_orphans(box: Box) -> None:
    orphans = "for i in {1..50}; do (sh -c 'exit 0' &) ; done; sleep 0.2; exit "
    started = [box.submit(language="bash", code=f"{orphans}{code}") for code in (9, 0, 77, 255)]
    codes = [box.get(execution["id"], "?wait=25s").get("exitCode") for execution in started]
    assert codes == [9, 0, 77, 255]
    made = "import os, time\nif os.fork() == 0: os._exit(0)\ntime.sleep(0.1)\n"
    look = """
import os
states = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try: states.append(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0])
    except OSError: pass
print(states.count("Z"))
"""
    assert good(box.python(made + look)) == "1\n", "a zombie would be seen"
    assert good(box.python(look)) == "0\n"


@case()
def case_25_stdin(box: Box) -> None:
    assert good(box.python("print(input())", stdin="65535")) == "65535\n"
    assert good(box.run(argv=["wc", "-c"], stdin="65535\n")) == "6\n"


@case()
def case_25_no_stdin_is_its_end(box: Box) -> None:
    ended = box.python("input()")
    assert (ended["reason"], ended["exitCode"]) == ("Exited", 1)
    assert text(ended, "stderr").endswith("EOFError: EOF when reading a line\n")
    assert good(box.run(argv=["cat"])) == ""


@case()
def case_39_no_service_account_token(box: Box) -> None:
    program = """
import os
for path in ("/var/run/secrets", "/run/secrets", "/workspace/none"):
    for place, _, files in os.walk(path):
        for name in files: print(os.path.join(place, name))
print("looked at", sum(1 for _ in os.walk("/usr/bin")), "directory")
"""
    assert good(box.python(program)) == "looked at 1 directory\n"


@case(needs=("user",))
def case_39_environments_of_others(box: Box) -> None:
    """Another execution's, the fork server's, the supervisor's."""
    secret = [{"name": "SECRET_OF_RUN", "value": "do-not-tell"}]
    other = box.submit(language="bash", code="exec sleep 86439", env=secret)
    program = f"""
{SEEN}
import os, time
while not seen(b"86439"): time.sleep(0.01)
refused = leaked = 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        environ = open(f"/proc/{{pid}}/environ", "rb").read()
    except PermissionError:
        refused += 1
        continue
    except OSError:
        continue
    leaked += int(pid) != os.getpid() and environ != b""
print(leaked, refused >= 3)
"""
    mine = "cat /proc/self/environ | tr '\\0' '\\n' | grep SECRET_OF"
    assert good(box.bash(mine, env=secret)) == "SECRET_OF_RUN=do-not-tell\n", "one's own"
    try:
        assert good(box.python(program)) == "0 True\n"
    finally:
        box.cancel(other["id"])


@case(rows={"python": "python", "bash": "bash"})
def case_39_the_environment_of_the_container_is_not_the_program_s(box: Box, language: str) -> None:
    look = "print(open('/proc/self/environ').read().split(chr(0)))"
    code = look if language == "python" else f'exec python3 -c "{look}"'
    told = good(box.run(language=language, code=code))
    assert "PADDOCK" not in told
    assert "KUBERNETES" not in told
