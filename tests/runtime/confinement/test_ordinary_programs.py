"""What honest programs do and must go on doing under full confinement, each as a real program."""

import shutil

import pytest
from tests.runtime.confinement.harness import Sandbox

PYTHON = {
    "subprocess": """
import subprocess
print(subprocess.run(["sh", "-c", "echo out; exit 3"], capture_output=True))
assert subprocess.check_output(["cat"], input=b"in") == b"in"
assert subprocess.run("false | true", shell=True).returncode == 0
""",
    "threads": """
from concurrent.futures import ThreadPoolExecutor
assert list(ThreadPoolExecutor(8).map(lambda n: n * n, range(50)))[-1] == 49 * 49
""",
    "multiprocessing fork": """
import multiprocessing
def square(n): return n * n
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
""",
    "multiprocessing spawn": """
import multiprocessing
def square(n): return n * n
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
""",
    "multiprocessing forkserver": """
import multiprocessing
def square(n): return n * n
if __name__ == "__main__":
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
""",
    "multiprocessing Manager": """
import multiprocessing
with multiprocessing.Manager() as manager:
    shared = manager.dict(a=1)
    shared["b"] = 2
    assert dict(shared) == {"a": 1, "b": 2}
""",
    "shared memory and semaphores": """
from multiprocessing import Lock, Queue, shared_memory
memory = shared_memory.SharedMemory(create=True, size=4096)
memory.buf[0] = 7
memory.close(); memory.unlink()
with Lock(): pass
queue = Queue(); queue.put(1); assert queue.get() == 1
""",
    "process pool executor": """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2) as pool:
    assert list(pool.map(abs, [-1, -2])) == [1, 2]
""",
    "ending one's own children": """
import os, signal, subprocess, time
child = subprocess.Popen(["sleep", "60"]); child.terminate(); assert child.wait() == -15
child = subprocess.Popen(["sleep", "60"]); os.kill(child.pid, 9); assert child.wait() == -9
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
os.killpg(child.pid, signal.SIGKILL); assert child.wait() == -9
signal.raise_signal(signal.SIGCHLD)
""",
    "asyncio with a subprocess": """
import asyncio
async def main():
    child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    out, _ = await child.communicate(b"hello")
    assert out == b"hello"
    def talk(reader, writer): writer.write(b"hi"); writer.close()
    async with await asyncio.start_unix_server(talk, "socket"):
        reader, writer = await asyncio.open_unix_connection("socket")
        assert await reader.read() == b"hi"
        writer.close()
asyncio.run(main())
""",
    "sqlite": """
import sqlite3
with sqlite3.connect("base.db") as base:
    base.execute("pragma journal_mode=wal")
    base.execute("create table t (n)")
    base.executemany("insert into t values (?)", [(n,) for n in range(1000)])
    assert base.execute("select sum(n) from t").fetchone() == (499500,)
""",
    "ssl": """
import ssl, hashlib, secrets
ssl.create_default_context(); hashlib.sha256(secrets.token_bytes()).hexdigest()
""",
    "pty": """
import os, pty, fcntl, struct, termios
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
assert os.get_terminal_size(theirs) == (80, 24)
assert os.waitstatus_to_exitcode(pty.spawn(["sh", "-c", "test -t 1"])) == 0
""",
    "temporary files": """
import os, tempfile
with tempfile.TemporaryFile() as file: file.write(b"x")
with tempfile.TemporaryDirectory() as place:
    os.mkfifo(os.path.join(place, "fifo")); os.symlink("/", os.path.join(place, "link"))
""",
    "rename and link between directories": """
import os, shutil
os.makedirs("a/b"); os.makedirs("c")
open("a/b/file", "w").write("x")
os.link("a/b/file", "c/hard"); os.rename("a/b/file", "c/moved"); os.rename("a/b", "c/b")
os.chmod("c/moved", 0o600); os.utime("c/moved"); os.truncate("c/moved", 0)
shutil.copytree("c", "d"); shutil.rmtree("c")
assert sorted(os.listdir("d")) == ["b", "hard", "moved"]
""",
    "memory": """
import mmap, os
fd = os.memfd_create("x"); os.ftruncate(fd, 4096); mmap.mmap(fd, 4096)[:1] = b"x"
mmap.mmap(-1, 1 << 20).madvise(mmap.MADV_DONTNEED)
""",
    "one's own limits and priorities": """
import os, resource
os.nice(1); os.sched_setaffinity(0, os.sched_getaffinity(0))
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
resource.setrlimit(resource.RLIMIT_STACK, resource.getrlimit(resource.RLIMIT_STACK))
assert resource.prlimit(os.getppid(), resource.RLIMIT_CORE)
""",
    "looking at oneself": """
import os
open("/proc/self/environ").read(); open("/proc/self/maps").read(); open("/proc/self/mem", "rb")
os.listdir("/proc/self/fd"); os.listdir("/"); open("/etc/passwd").read()
for name in ("null", "zero", "full", "urandom"): open(f"/dev/{name}", "rb").read(1)
open("/dev/null", "w").write("x")
""",
    "writing to standard streams by name": """
open("/dev/stdout", "w").write("by name\\n"); open("/dev/stderr", "w").write("by name\\n")
""",
    "pidfd and signals within": """
import os, signal, threading
pid = os.fork()
if pid == 0: signal.pause()
signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL); assert os.waitpid(pid, 0)[1] == 9
signal.pthread_kill(threading.get_ident(), 0)
""",
}
WITHOUT_NETWORK = {
    "internet": """
import socket, urllib.request, urllib.error
try: socket.socket()
except PermissionError as error: assert error.errno == 13
else: raise SystemExit("a socket was made")
try: socket.getaddrinfo("example.com", 80)
except socket.gaierror as error: print(error)
else: raise SystemExit("a name was found")
try: urllib.request.urlopen("http://192.0.2.1/", timeout=5)
except urllib.error.URLError as error: print(error)
else: raise SystemExit("a page was fetched")
""",
    "unix sockets": """
import socket
a, b = socket.socketpair(); a.sendall(b"x"); assert b.recv(1) == b"x"
with socket.socket(socket.AF_UNIX) as server:
    server.bind("\\0ours"); server.listen()
    with socket.socket(socket.AF_UNIX) as client: client.connect("\\0ours")
""",
}
WITH_NETWORK = {
    "internet": """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    with socket.create_connection(server.getsockname()) as client:
        peer, _ = server.accept(); peer.sendall(b"x"); assert client.recv(1) == b"x"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"x", ("127.0.0.1", 9))
assert socket.if_nameindex(); assert socket.getaddrinfo("localhost", 80)
""",
}
BASH = {
    "process substitution": "test \"$(cat <(echo a) <(echo b))\" = $'a\\nb'",
    "here documents": 'test "$(cat <<< hello)" = hello; test "$(cat <<E\nhey\nE\n)" = hey',
    "pipes and jobs": "sleep 60 & kill %1; wait %1 || true; seq 999 | sort -n | tail -1 | grep 999",
    "timeout": "timeout 0.1 sleep 60 || test $? = 124",
    "limits": "ulimit -n 50; ulimit -t 5; ulimit -c 0; nice -n 1 true",
    "streams by name": "echo a > /dev/stdout; echo b > /dev/stderr; echo c | tee /dev/stderr",
    "terminal": "command -v script >/dev/null || exit 0; script -qec 'test -t 1' /dev/null",
    "archives": "mkdir d; echo x > d/f; tar czf d.tgz d; rm -r d; tar xzf d.tgz; cat d/f",
}


def check(told: tuple[int, str]) -> None:
    code, output = told
    assert code == 0, output


@pytest.mark.parametrize("name", PYTHON)
def test_python_programs(sandbox: Sandbox, name: str) -> None:
    check(sandbox.but(harden=True).script(PYTHON[name]))


@pytest.mark.parametrize("name", WITHOUT_NETWORK)
def test_without_a_network(sandbox: Sandbox, name: str) -> None:
    check(sandbox.script(WITHOUT_NETWORK[name]))


@pytest.mark.parametrize("name", WITH_NETWORK)
def test_with_a_network(sandbox: Sandbox, name: str) -> None:
    check(sandbox.but(network_none=False).script(WITH_NETWORK[name]))


@pytest.mark.parametrize("name", BASH)
def test_bash_programs(sandbox: Sandbox, name: str) -> None:
    bash = shutil.which("bash")
    assert bash
    check(sandbox.but(harden=True).script(f"set -e\n{BASH[name]}\n", bash))
