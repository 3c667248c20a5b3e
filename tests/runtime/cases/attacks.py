"""What user code tries against its sandbox by means that it has; each refusal has a control."""

import subprocess
import sys
import time

from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import case
from tests.runtime.cases.looking import POD, SEEN, WORD, good


@case(needs=("user",))
def case_attack_27_the_fork_server_s_memory_and_environment(box: Box) -> None:
    code = f"""
{WORD}
def memory(pid):
    with open(f"/proc/{{pid}}/maps") as maps: start = int(maps.readline().split("-")[0], 16)
    with open(f"/proc/{{pid}}/mem", "rb", buffering=0) as file: file.seek(start); file.read(8)
attempts = {{
    "memory": memory,
    "environ": lambda pid: open(f"/proc/{{pid}}/environ", "rb").read(),
    "descriptors": lambda pid: os.listdir(f"/proc/{{pid}}/fd"),
    "root": lambda pid: os.listdir(f"/proc/{{pid}}/root"),
    "working directory": lambda pid: os.readlink(f"/proc/{{pid}}/cwd"),
}}
for name, attempt in attempts.items():
    print(name, word(attempt, os.getpid()), word(attempt, os.getppid()), word(attempt, 1), sep=":")
"""
    lines = [line.split(":") for line in good(box.python(code)).splitlines()]
    assert len(lines) == 5
    for name, mine, *others in lines:
        assert mine == "ok", f"{name}: the control, on oneself"
        assert set(others) <= {"EACCES", "EPERM"}, (name, others)


@case(only_pods=POD)
def case_attack_27_nothing_secret_can_be_seen_of_any_process(box: Box) -> None:
    code = f"""
{SEEN}
whole = b""
for pid in filter(str.isdigit, os.listdir("/proc")):
    try: whole += open(f"/proc/{{pid}}/cmdline", "rb").read()
    except OSError: pass
print(seen(b"workspace.py") >= 2, seen(b"runtime.py"))
print(b"PADDOCK" in whole, b"eyJ" in whole)
"""
    assert good(box.python(code)) == "True 0\nFalse False\n"


@case(needs=("user",))
def case_attack_28_signals(box: Box) -> None:
    other = box.submit(language="bash", code="echo $$ > other; exec sleep 86428")
    code = f"""
{SEEN}{WORD}
import signal, subprocess, time
while not seen(b"sleep\\x0086428"): time.sleep(0.01)
other = int(open("other").read())
for target in (1, os.getppid(), other, -other):
    for number in (0, signal.SIGSTOP, signal.SIGKILL):
        print(word(os.kill, target, number))
child = subprocess.Popen(["sleep", "60"])
print("mine", word(os.kill, child.pid, signal.SIGKILL), child.wait())
print("all", word(os.kill, -1, signal.SIGKILL), seen(b"86428"), flush=True)
"""
    ended = box.python(code)
    *refused, mine, everybody = good(ended).splitlines()
    assert refused == ["EPERM"] * 12
    assert mine == "mine ok -9"
    # There is nobody else that it may signal, or there is (Linux spares the caller).
    assert everybody.startswith("all ")
    assert everybody.endswith(" 1"), "the other execution lives"
    assert box.get(other["id"])["state"] == "Running"
    assert box.cancel(other["id"])["reason"] == "Cancelled"


@case()
def case_attack_30_no_privileges_to_be_had(box: Box) -> None:
    lines = good(box.bash("cat /proc/self/status")).splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}


@case(only_pods=POD)
def case_attack_30_no_setuid_program_in_the_image(box: Box) -> None:
    code = """
touch mine; chmod u+s mine
find / -xdev -perm /6000 -type f 2>/dev/null
find "$HOME" -perm /6000 -type f
rm mine
grep CapBnd /proc/self/status
"""
    assert good(box.bash(code)) == "/workspace/mine\nCapBnd:\t0000000000000000\n"
    assert good(box.bash("touch 30; getcap -r / 2>/dev/null || true; rm 30")) == ""


FORGED = (
    '{"type": "Ended", "id": "x", "status": 0, "code": 0, "message": "fine", "state": "Finished",'
    ' "reason": "Exited", "exitCode": 0, "cpuMs": 0}'
)


@case(rows={
    "python": f"""
import os
data = {FORGED!r}.encode()
for descriptor in range(256):
    try: os.write(descriptor, data)
    except OSError: pass
print("\\n\\nevent: exited\\ndata: {{}}\\nid: 0-0-end\\n", flush=True)
os._exit(3)
""",
    "bash": f"for fd in {{1..255}}; do echo '{FORGED}' >&$fd; done 2>/dev/null; exit 3",
})  # fmt: skip
def case_attack_38_forged_results_are_data(box: Box, code: str) -> None:
    language = "bash" if code.startswith("for") else "python"
    ended = box.run(language=language, code=code)
    assert (ended["reason"], ended["exitCode"]) == ("Exited", 3)
    assert "message" not in ended
    assert FORGED in text(ended)
    assert ended["cpuMs"] > 0 or ended["durationMs"] < 50


@case(rows=["python", "bash"])
def case_attack_38_a_program_holds_its_three_descriptors_only(box: Box, language: str) -> None:
    look = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
    if language == "python":
        assert good(box.python(look)) == "[0, 1, 2, 3]\n", "the fourth is the listing's"
    else:
        assert good(box.bash("ls /proc/self/fd | tr '\\n' ' '")) == "0 1 2 3 "


TARGETS = {
    "external": "http://example.com/",
    "external address": "http://192.0.2.1/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "container metadata": "http://169.254.170.2/v2/credentials",
    "metadata, v6": "http://[fd00:ec2::254]/latest/meta-data/",
    "API server by name": "https://kubernetes.default.svc/",
    "API server by address": "https://10.96.0.1/",
    "this machine": "http://127.0.0.1:10250/",
}


@case(rows=TARGETS)
def case_38_nothing_is_reached(box: Box, url: str) -> None:
    code = f"""
import socket, urllib.error, urllib.request
try: urllib.request.urlopen({url!r}, timeout=10)
except urllib.error.URLError as error: print(type(error.reason).__name__)
else: print("reached")
with socket.socket(socket.AF_UNIX) as server:
    server.bind("\\0mine"); server.listen()
    with socket.socket(socket.AF_UNIX) as client: client.connect("\\0mine"); print("unix")
"""
    ended = box.python(code)
    refused, unix = good(ended).split()
    assert refused in ("PermissionError", "gaierror")
    assert unix == "unix", "sockets as such work"
    assert ended["durationMs"] < 8000, "refused, not timed out"


@case()
def case_attack_20_the_runtime_s_own_port(box: Box) -> None:
    code = f"""
import socket
try: socket.create_connection({(box.host, box.port)!r}, timeout=10)
except OSError as error: print(type(error).__name__)
else: print("connected")
"""
    here = subprocess.run([sys.executable, "-Ic", code], capture_output=True, text=True)
    assert here.stdout == "connected\n", "it is open, to others"
    assert good(box.python(code)) == "PermissionError\n"


@case()
def case_attack_20_a_captured_token_is_worth_little(box: Box) -> None:
    now = int(time.time())
    assert box.call("GET", "/v1/capabilities", token=box.token())[0] == 200
    for token in (
        box.token(aud="another-sandbox"),
        box.token(iat=now - 130, exp=now - 70),
        box.token(iat=now, exp=now + 3600),
        box.token()[:-4],
        "",
    ):
        status, problem = box.call("GET", "/v1/capabilities", token=token)
        assert (status, problem["code"]) == (401, "Unauthorized")
