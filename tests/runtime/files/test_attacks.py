"""Nothing outside the workspace, however it is asked for; each refusal beside what is allowed."""

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.files.tools import DIRECTORIES, FILES, delete, get, listed, names, put, refused
from tests.runtime.pod import AS_ROOT, Pod, text

METHODS = ("GET", "HEAD", "PUT", "DELETE")


@pytest.fixture
def outside(pod: Pod) -> Iterator[Path]:
    """A file of the workspace's user beside the workspace, on the same volume."""
    path = pod.base / "tmp" / "outside"
    path.write_bytes(b"outside")
    os.chown(path, pod.uid, -1)
    yield path
    path.unlink()


def raw_request(pod: Pod, method: str, target: bytes) -> bytes:
    """As it stands, which no client library would send; the whole answer."""
    with socket.create_connection((pod.host, pod.port), timeout=20) as connection:
        head = f"Host: x\r\nAuthorization: Bearer {pod.token()}\r\nConnection: close\r\n"
        body = "Content-Length: 4\r\n\r\nevil" if method == "PUT" else "\r\n"
        connection.sendall(method.encode() + b" " + target + f" HTTP/1.1\r\n{head}{body}".encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


TARGETS = [
    b"../tmp/outside",
    b"a/../../tmp/outside",
    b"%2e%2e/tmp/outside",
    b"%2e%2e%2ftmp%2foutside",
    b"..%2Ftmp/outside",
    b"./plain",
    b"/etc/passwd",
    b"//etc/passwd",
    b"%2Fetc%2Fpasswd",
    b"%00",
    b"plain%00.txt",
    b"a//plain",
    b"plain/",
    b"plain#fragment",
    b"%zz",
    b"",
    b"x" * 256,
    b"d/" * 2048 + b"x",
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: repr(target[:30]))
def test_targets_that_are_no_plain_path(pod: Pod, outside: Path, target: bytes) -> None:
    put(pod, "plain", b"inside")
    for method in METHODS:
        answer = raw_request(pod, method, FILES.encode() + target)
        assert answer.startswith(b"HTTP/1.1 422 "), answer
        assert b"path: " in answer or method == "HEAD"
    if target:
        assert raw_request(pod, "GET", DIRECTORIES.encode() + target).startswith(b"HTTP/1.1 422 ")
    assert raw_request(pod, "GET", FILES.encode() + b"plain").endswith(b"inside")
    assert outside.read_bytes() == b"outside"


def test_targets_around_the_prefix(pod: Pod) -> None:
    put(pod, "plain", b"inside")
    for target in (b"/v1/%66iles/plain", b"http://x/v1/files/plain"):
        assert raw_request(pod, "GET", target).startswith(b"HTTP/1.1 422 ")
    for target in (b"//v1/files/plain", b"/V1/files/plain", b"/v1/./files/plain"):
        assert raw_request(pod, "GET", target).startswith(b"HTTP/1.1 404 ")
    assert raw_request(pod, "GET", b"/v1/files/\xff").startswith(b"HTTP/1.")
    delete(pod, "plain")


LINKS = {
    "a file outside": "../tmp/outside",
    "a file of the system": "/etc/passwd",
    "the runtime's environment": "/proc/self/environ",
    "memory": "/proc/self/mem",
    "the root by magic": "/proc/self/root/etc/passwd",
    "an open file": "/proc/self/fd/0",
    "a device": "/dev/zero",
    "itself": "link",
    "a directory outside": "../tmp",
    "the workspace from outside": "../work/plain",
}


@pytest.mark.parametrize("target", LINKS.values(), ids=LINKS.keys())
def test_links_that_lead_out(pod: Pod, outside: Path, target: str) -> None:
    put(pod, "plain", b"inside")
    assert pod.bash(f"ln -sfn {target} link; ln -sfn $(dirname {target}) dir")["exitCode"] == 0
    name = target.rpartition("/")[2]
    for path in ("link", f"dir/{name}", "link/below"):
        assert refused(get(pod, path)) == (403, "PathDenied"), path
        assert pod.exchange("HEAD", FILES + path).status == 403
    if target != "link":  # there the directory is the workspace itself
        for path in (f"dir/{name}", "dir/new", "dir/new/deeper"):
            assert refused(pod.exchange("PUT", FILES + path, raw=b"evil")) == (403, "PathDenied")
        assert refused(pod.exchange("DELETE", FILES + f"dir/{name}")) == (403, "PathDenied")
        move = {"source": "plain", "target": "dir/moved", "overwrite": True}
        assert refused(pod.exchange("POST", "/v1/move", move)) == (403, "PathDenied")
        move = {"source": f"dir/{name}", "target": "stolen"}
        assert refused(pod.exchange("POST", "/v1/move", move)) == (403, "PathDenied")
        for method in ("GET", "PUT"):
            answer = pod.exchange(method, DIRECTORIES + "dir/below")
            assert refused(answer) == (403, "PathDenied")
    put(pod, "link", b"took its place")
    assert get(pod, "link").body == b"took its place"
    assert outside.read_bytes() == b"outside"
    assert names(pod.base / "tmp") == ["outside"]
    pod.bash("rm -f link dir plain")


def test_links_that_stay_inside_are_followed(pod: Pod) -> None:
    put(pod, "real/file", b"inside")
    pod.bash("ln -s real dir; ln -s ../real/file real/up; ln -s dir/file chain")
    for path in ("dir/file", "real/up", "chain"):
        assert get(pod, path).body == b"inside"
    put(pod, "dir/new", b"x")
    assert text(pod.bash("cat real/new")) == "x"
    assert [entry["name"] for entry in listed(pod, "dir")] == ["file", "new", "up"]
    assert delete(pod, "chain") == 204  # the link, not what it leads to
    assert delete(pod, "dir") == 204
    assert get(pod, "real/file").body == b"inside"
    delete(pod, "real", "?recursive=true")


def test_hard_links_are_files_like_others(pod: Pod, outside: Path) -> None:
    """A volume of its own, as in a pod, has none that lead out; here one does, and its content is
    then in the workspace because the program that could read it put it there."""
    put(pod, "one", b"inside")
    pod.bash("ln one two")
    assert get(pod, "two").body == b"inside"
    put(pod, "two", b"other")
    assert get(pod, "one").body == b"inside"
    linked = pod.bash("ln /proc/self/environ environ; ln /etc/passwd passwd; ls; rm -f one two")
    assert text(linked) == "one\ntwo\n"
    assert outside.read_bytes() == b"outside"


def test_what_is_no_file_is_listed_and_never_opened(pod: Pod) -> None:
    pod.python("""
import os, socket
os.makedirs("odd/dir", exist_ok=True)
os.mkfifo("odd/fifo")
listening = socket.socket(socket.AF_UNIX)
listening.bind("odd/socket")
open("odd/file", "w").close()
os.symlink("nowhere", "odd/link")
""")
    for name in ("fifo", "socket"):
        for method in ("GET", "PUT"):
            answer = pod.exchange(method, FILES + f"odd/{name}", raw=b"x")
            assert refused(answer) == (409, "NotAFile"), (method, name)
    for method in ("GET", "PUT", "DELETE"):
        answer = pod.exchange(method, FILES + "odd/dir", raw=b"x")
        assert refused(answer) == (409, "IsADirectory")
    for method in ("GET", "PUT", "DELETE"):
        answer = pod.exchange(method, FILES + "odd/file/below", raw=b"x")
        assert refused(answer) == (409, "NotADirectory")
    assert refused(pod.exchange("GET", DIRECTORIES + "odd/file")) == (409, "NotADirectory")
    assert refused(get(pod, "odd/link")) == (404, "NotFound")
    kinds = {entry["name"]: entry["type"] for entry in listed(pod, "odd")}
    assert kinds == {
        "dir": "Directory",
        "fifo": "Other",
        "file": "File",
        "link": "Symlink",
        "socket": "Other",
    }
    assert get(pod, "odd/file").status == 200
    assert delete(pod, "odd", "?recursive=true") == 204


def test_a_program_that_waits_at_a_fifo_is_not_disturbed(pod: Pod) -> None:
    waiting = pod.submit(language="bash", code="mkfifo pipe; touch there; echo to-nobody > pipe")
    while get(pod, "there").status != 200:
        pass
    for _ in range(20):
        assert refused(get(pod, "pipe")) == (409, "NotAFile")
    assert pod.get(waiting["id"])["state"] == "Running"
    assert text(pod.bash("cat pipe; rm pipe there")) == "to-nobody\n"


SWAPPER = """
import os, shutil, time
def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError:  # a PUT has made a directory of that name
        shutil.rmtree("spot", ignore_errors=True)
def have():
    os.makedirs("real", exist_ok=True)
    if not os.path.exists("real/hostname"):
        open("whole", "w").write("mine"); os.rename("whole", "real/hostname")
have()
os.symlink("real", "spot")
print("ready", flush=True)
end = time.monotonic() + 20
while time.monotonic() < end and not os.path.exists("stop"):
    for target in ("/etc", "../tmp", "/proc/self", "real"):
        attempt(os.symlink, target, "new"); attempt(os.rename, "new", "spot")
    attempt(os.unlink, "spot"); attempt(os.rename, "real", "spot")
    attempt(os.rename, "spot", "real"); attempt(have); attempt(os.symlink, "real", "spot")
"""


def test_a_link_swapped_by_a_program_while_requests_run(pod: Pod, outside: Path) -> None:
    (pod.base / "tmp" / "hostname").write_bytes(b"outside")
    swapping = pod.submit(language="python", code=SWAPPER)
    while text(pod.get(swapping["id"])) != "ready\n":
        time.sleep(0.01)
    statuses: dict[str, set[int]] = {method: set() for method in ("GET", "PUT", "DELETE", "LIST")}
    connection = pod.connect()
    for _ in range(400):
        answer = pod.exchange("GET", FILES + "spot/hostname", connection=connection)
        assert answer.status != 200 or answer.body == b"mine"
        statuses["GET"].add(answer.status)
        for method, path in (("PUT", FILES + "spot/put"), ("DELETE", FILES + "spot/environ")):
            answer = pod.exchange(method, path, raw=b"evil", connection=connection)
            statuses[method].add(answer.status)
        answer = pod.exchange("GET", DIRECTORIES + "spot", connection=connection)
        statuses["LIST"].add(answer.status)
        if answer.status == 200:
            seen = {entry["name"] for entry in answer.json()["entries"]}
            assert seen <= {"hostname", "put"}, seen
    connection.close()
    put(pod, "stop", b"")
    assert pod.get(swapping["id"], "?wait=25s")["exitCode"] == 0
    assert {200, 403} <= statuses["GET"] <= {200, 403, 404}, statuses
    assert {403} <= statuses["PUT"] <= {200, 201, 403, 404, 409}, statuses
    assert statuses["PUT"] & {200, 201}, statuses
    assert names(pod.base / "tmp") == ["hostname", "outside"]
    assert not Path("/etc/put").exists()
    (pod.base / "tmp" / "hostname").unlink()
    pod.bash("rm -rf real spot new stop")


def test_a_directory_moved_out_while_a_file_comes_in(pod: Pod, outside: Path) -> None:
    """Only here, where both are one volume, it can be moved at all."""
    assert pod.exchange("PUT", DIRECTORIES + "moves").status == 201
    with socket.create_connection((pod.host, pod.port), timeout=20) as connection:
        head = f"Host: x\r\nAuthorization: Bearer {pod.token()}\r\nContent-Length: 4\r\n\r\n"
        connection.sendall(f"PUT {FILES}moves/late HTTP/1.1\r\n{head}ev".encode())
        while b"file_transfers 1" not in pod.exchange("GET", "/metrics").body:
            pass
        moved = pod.python(f"import os; os.rename('moves', '{outside.parent}/moved')")
        assert moved["exitCode"] == 0, moved
        connection.sendall(b"il")
        assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")
    assert names(outside.parent / "moved") == []
    pod.python(f"import os; os.rmdir('{outside.parent}/moved')")


ON_THE_FILE_SERVER = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
def parent(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
siblings = [int(n) for n in os.listdir("/proc") if n.isdigit() and parent(n) == os.getppid()]
for pid in (min(siblings), os.getppid()):  # the file server was forked first
    print(open(f"/proc/{pid}/cmdline").read().count("workspace.py"))
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGSEGV, signal.SIGPIPE):
        try:
            os.kill(pid, number)
            print("signalled", number)
        except OSError:
            pass
    if libc.ptrace(16, pid, 0, 0) == 0:
        print("traced")
    for name in ("mem", "environ", "fd/0", "fd", "cwd", "maps"):
        try:
            (os.listdir if name in ("fd", "cwd") else open)(f"/proc/{pid}/{name}")
            print("opened", name)
        except OSError:
            pass
try:
    os.kill(-1, signal.SIGKILL)
except OSError:
    pass
"""


@pytest.mark.skipif(not AS_ROOT, reason="needs a user and PID namespace of its own")
def test_programs_cannot_touch_the_file_server(pod: Pod) -> None:
    put(pod, "before", b"x")
    assert text(pod.python(ON_THE_FILE_SERVER)) == "1\n1\n"
    assert get(pod, "before").body == b"x"
    assert b"file_server_connections 1\n" in pod.exchange("GET", "/metrics").body
    delete(pod, "before")


IN_FLIGHT = """
import os, socket, time
pairs, sent, descriptor = [], 0, os.open("/dev/null", os.O_RDONLY)
try:
    while True:
        pairs.append(socket.socketpair())
        for _ in range(200):
            socket.send_fds(pairs[-1][0], [b"x"], [descriptor] * 250, socket.MSG_DONTWAIT)
            sent += 250
except OSError as error:
    print(sent >= 4000, error.errno, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not AS_ROOT, reason="needs a user and PID namespace of its own")
def test_descriptors_that_a_program_keeps_in_flight_stop_neither_files_nor_executions() -> None:
    """The kernel counts them by user, and would refuse to send another one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as a container often begins
    with contextlib.ExitStack() as stack:
        try:
            pod = stack.enter_context(Pod())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        put(pod, "file", b"x")
        holding = pod.submit(language="python", code=IN_FLIGHT)
        while not text(pod.get(holding["id"])):
            time.sleep(0.02)
        assert text(pod.get(holding["id"])) == "True 109\n"  # ETOOMANYREFS
        assert get(pod, "file").body == b"x"
        put(pod, "file", b"y")
        assert text(pod.bash("cat file", timeoutMs=5000)) == "y"
