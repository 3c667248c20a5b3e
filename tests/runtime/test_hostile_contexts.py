"""Code that shares its process with a context's interpreter, and uses that."""

import socket
import time

from tests.runtime.pod import Pod

FIND = """
import os, stat
def found(kind):
    fds = []
    for fd in range(3, 64):
        try:
            if kind(os.fstat(fd).st_mode): fds.append(fd)
        except OSError: pass
    return fds
"""


def test_one_that_ends_its_cells_and_never_reads_stops_nobody(pod: Pod) -> None:
    """It says "done" for each message that lies in its channel, which fills up."""
    flood = """
import fcntl, struct, termios, time
fd = found(stat.S_ISSOCK)[0]
done = b'{"done": 0, "interrupted": false}'
os.write(fd, done)
last = 0
while True:
    queued = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, struct.pack("i", 0)))[0]
    if queued > last:
        last = queued
        os.write(fd, done)
    time.sleep(0.0005)
"""
    assert pod.call("POST", "/v1/contexts", {"id": "flood"})[0] == 201
    made = {"language": "python", "context": "flood"}
    assert pod.submit("?wait=5s", code=FIND + flood, **made)["reason"] == "Exited"
    connection = pod.connect()
    for number in range(2000):
        request = {"id": f"flooded{number}", "code": "1", **made}
        status, answer = pod.call("POST", "/v1/executions?wait=10s", request, connection=connection)
        if status != 201 or answer["reason"] != "Exited":
            break
    connection.close()
    assert (status, answer.get("reason")) == (201, "ContextDied"), answer
    assert pod.bash("echo fine")["exitCode"] == 0
    assert pod.call("DELETE", "/v1/contexts/flood")[0] == 204


def test_half_characters_and_endless_lines_in_results(pod: Pod) -> None:
    write = """
pipe = found(stat.S_ISFIFO)[0]
for item in (
    b'{"type": "result", "data": {"text/plain": "\\\\ud800 x"}}',
    b'{"type": "error", "name": "\\\\udfff", "value": "", "traceback": ["' + b'y' * 500000 + b'"]}',
):
    line = item + b"\\n"
    while line: line = line[os.write(pipe, line):]
"""
    assert pod.call("POST", "/v1/contexts", {"id": "half"})[0] == 201
    ended = pod.submit("?wait=5s", language="python", context="half", code=FIND + write)
    assert ended["results"][0]["data"] == {"text/plain": "? x"}
    assert (ended["error"]["name"], ended["error"]["traceback"]) == ("?", [])
    for path in ("/v1/executions?limit=1000", "/v1/journal", f"/v1/executions/{ended['id']}"):
        assert pod.call("GET", path)[0] == 200
    assert pod.call("DELETE", "/v1/contexts/half")[0] == 204


def test_what_a_site_package_writes_into_the_channel_stops_nobody() -> None:
    """A .pth file of the user's runs in a child that still holds its channel."""
    for payload in ("b'[' * 4000", 'b\'{"code": Infinity, "message": "x"}\'', "b'{\"code\": 3}'"):
        with Pod() as pod:
            place = "import site; print(site.getusersitepackages())"
            folder = pod.python(place)["stdout"]["head"].strip()
            line = (
                "import os, stat; exec("
                + repr(FIND + f"[os.write(fd, {payload}) for fd in found(stat.S_ISSOCK)]")
                + ")\n"
            )
            code = (
                f"import os; os.makedirs({folder!r}); "
                f"open({folder + '/x.pth'!r}, 'w').write({line!r})"
            )
            assert pod.python(code)["exitCode"] == 0
            innocent = pod.submit(language="bash", code="sleep 1; echo ok")
            pod.python("print(1)")
            assert pod.get(innocent["id"], "?wait=10s")["reason"] == "Exited"


def test_a_context_made_again_at_once_is_another_one(pod: Pod) -> None:
    """The first client hangs up while its interpreter starts."""
    body = b'{"id": "again"}'
    head = (
        f"POST /v1/contexts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {pod.token()}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    for number in range(12):
        with socket.create_connection(("127.0.0.1", pod.port)) as raw:
            raw.sendall(head.encode() + body)
            time.sleep(0.001 * number / 2)
        assert pod.call("POST", "/v1/contexts", {"id": "again"})[0] in (200, 201)
        ended = pod.submit("?wait=5s", language="python", context="again", code="1")
        assert ended["reason"] == "Exited"
        assert pod.call("DELETE", "/v1/contexts/again")[0] == 204
    deadline = time.monotonic() + 10
    while not pod.at_rest():
        assert time.monotonic() < deadline
        time.sleep(0.02)
