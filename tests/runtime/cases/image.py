"""What user code may write where, and who would load it."""

import json
import time

from tests.runtime.box import Box
from tests.runtime.cases.calls import outside
from tests.runtime.cases.catalogue import case
from tests.runtime.cases.looking import POD, WORD, good

WRITES = [
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
    "/proc/1/oom_score_adj",
    "/sys/kernel/uevent_helper",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/cgroup.procs",
]
READS = ["/proc/kcore", "/dev/mem", "/dev/kmem", "/proc/kmsg"]


@case(only_pods=POD)
def case_attack_33_the_kernel_s_files(box: Box) -> None:
    code = f"""
{WORD}
import json, stat
def read(path):
    return os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 16)
told = {{}}
for path in {WRITES!r}: told[path] = word(os.open, path, os.O_WRONLY)
for path in {READS!r}:
    try: told[path] = "ok" if read(path) else "empty"
    except OSError as error: told[path] = errno.errorcode[error.errno]
try: told["addresses"] = max(line.split()[0].strip("0") for line in open("/proc/kallsyms"))
except OSError as error: told["addresses"] = errno.errorcode[error.errno]
told["control"] = [word(read, "/proc/self/status"), word(read, {WRITES[0]!r})]
print(json.dumps(told))
"""
    inside, here = (json.loads(told) for told in (good(box.python(code)), outside(code)))
    assert inside.pop("control") == here.pop("control") == ["ok", "ok"], "they are there to read"
    assert inside.pop("addresses") in ("", "EACCES", "EPERM", "ENOENT")
    assert [path for path, seen in here.items() if seen == "ok"], "some are open to root here"
    for path, seen in inside.items():
        # Not there is as good as refused for a device and the other version's cgroup file, and
        # where this machine has none either; anything else must be there and say no.
        none = path.startswith(("/dev/", "/sys/")) or here[path] == "ENOENT"
        absent = seen == "ENOENT" and none
        assert absent or seen in ("EACCES", "EPERM", "EROFS", "empty"), (path, seen)


@case(only_pods=POD)
def case_attack_34_the_image_cannot_be_written(box: Box) -> None:
    code = f"""
{WORD}
import sysconfig
places = ["/", "/etc", "/opt/paddock/lib", "/opt/paddock/bin", "/run/paddock", "/var", "/home",
          sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"),
          *os.environ["PATH"].split(":")]
def make(place):
    os.close(os.open(f"{{place}}/shim", os.O_CREAT | os.O_WRONLY))
    os.unlink(f"{{place}}/shim")
def change(path): os.close(os.open(path, os.O_WRONLY))
for place in places:
    if os.path.isdir(place): print(place, word(make, place))
for path in ("/etc/passwd", os.__file__, "/bin/sh", "/opt/paddock/bin/workspace.py"):
    print(path, word(change, path))
for place in (os.getcwd(), os.environ["TMPDIR"]): print("mine", word(make, place))
"""
    lines = [line.split() for line in good(box.python(code)).splitlines()]
    assert [line for line in lines if line[0] == "mine"] == [["mine", "ok"]] * 2
    others = {where: seen for where, seen in lines if where != "mine"}
    assert {"/", "/opt/paddock/lib", "/usr/bin", "/etc/passwd", "/bin/sh"} <= set(others)
    assert set(others.values()) <= {"EROFS", "EACCES"}, others


@case(own=True, needs=("user",))
def case_attack_34_modules_left_behind_reach_executions_only(box: Box) -> None:
    """A fork server that imported one of them would run user code with its own rights."""
    code = """
import os, site, sys
shim = '''
import os, _socket
try: _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM).close(); how = "free"
except OSError: how = "confined"
with open({stolen!r}, "a") as file: file.write(how + " " + __name__ + chr(10))
'''.format(stolen=os.path.join(os.getcwd(), "stolen"))
names = ["sitecustomize", "usercustomize", "json", "socket", "select", "paddock_runtime", "os",
         "signal", "contextlib", "encodings", "paddock_api"]
version = f"python{sys.version_info.major}.{sys.version_info.minor}"
user_site = os.path.join(os.environ["HOME"], ".local", "lib", version, "site-packages")
os.makedirs(user_site, exist_ok=True)
for place in (os.getcwd(), user_site, os.environ["TMPDIR"]):
    for name in names:
        with open(os.path.join(place, name + ".py"), "w") as file: file.write(shim)
    with open(os.path.join(place, "evil.pth"), "w") as file: file.write("import usercustomize")
import usercustomize
"""
    box.python("import os; os.makedirs('shims', exist_ok=True)")
    box.python(code)
    before = good(box.bash("cat stolen"))
    assert "confined usercustomize" in before, "they work where they may"
    box.kill_fork_server()
    time.sleep(0.3)
    box.wait_ready()
    box.python("import usercustomize")
    after = good(box.bash("cat stolen"))
    assert len(after.splitlines()) > len(before.splitlines())
    assert "free" not in after, after


@case()
def case_attack_the_meeting_place_of_the_containers(box: Box) -> None:
    """The control socket is unlinked, and nothing can be put where it was."""
    code = f"""
{WORD}
import socket
control = os.environ.get("CONTROL", "/run/paddock")
def bind(path):
    with socket.socket(socket.AF_UNIX) as made: made.bind(path)
print(word(bind, f"{{control}}/control.sock"), word(bind, "own.sock"))
os.unlink("own.sock")
try: print(os.listdir(control))
except OSError as error: print(errno.errorcode[error.errno])
"""
    control = getattr(box, "base", None)
    env = [{"name": "CONTROL", "value": f"{control}/control"}] if control else []
    refused, own, listing = good(box.python(code, env=env)).split(maxsplit=2)
    assert refused in ("EACCES", "EROFS")
    assert own == "ok"
    assert listing.strip() in ("[]", "EACCES")
