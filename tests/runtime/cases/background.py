"""What is meant to go on: found again, followed, and ended when somebody says so."""

import time

from tests.runtime.box import Box
from tests.runtime.cases.catalogue import QUIET, case
from tests.runtime.cases.looking import good, left_of, until_said

SERVER = """
import os, socket, sys
path = sys.argv[0] and "{name}.sock"
if os.path.exists(path): os.unlink(path)
with socket.socket(socket.AF_UNIX) as server:
    server.bind(path); server.listen()
    print("listening", flush=True)
    while True:
        client, _ = server.accept()
        client.sendall(b"{name}"); client.close()
"""
ASK = """
import socket
for name in ("one", "two"):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(name + ".sock"); print(client.recv(100).decode())
"""


@case()
def case_42_two_servers_in_the_background(box: Box) -> None:
    made = [
        box.submit(language="python", code=SERVER.format(name=name), background=True)
        for name in ("one", "two")
    ]
    for server in made:
        until_said(box, server["id"], "listening\n")
    assert good(box.python(ASK)) == "one\ntwo\n"
    _, page = box.call("GET", "/v1/executions?state=Running")
    listed = {execution["id"]: execution for execution in page["executions"]}
    assert set(listed) == {server["id"] for server in made}
    assert all(execution["background"] for execution in listed.values())
    for server in made:
        assert box.cancel(server["id"])["reason"] == "Cancelled"


@case(QUIET)
def case_background_work_may_be_silent(box: Box) -> None:
    started = box.submit(language="bash", code="sleep 4; echo done", background=True)
    assert good(box.get(started["id"], "?wait=20s")) == "done\n"


@case(needs=("user",))
def case_background_work_outlives_its_first_process(box: Box) -> None:
    program = "(for i in 1 2 3; do sleep 0.3; echo $i; done) & echo first"
    started = box.submit(language="bash", code=program, background=True)
    until_said(box, started["id"], "first\n1\n")
    assert box.get(started["id"])["state"] == "Running"
    assert good(box.get(started["id"], "?wait=20s")) == "first\n1\n2\n3\n"


@case(needs=("user",))
def case_background_work_is_ended_whole_and_at_once(box: Box) -> None:
    program = "setsid sleep 86442 & echo first; sleep 86442 & exit 0"
    started = box.submit(language="bash", code=program, background=True)
    until_said(box, started["id"], "first\n")
    deadline = time.monotonic() + 15
    while left_of(box, "86442") != 2:  # the shell itself, which names them too, has gone
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert box.cancel(started["id"])["reason"] == "Cancelled"
    assert left_of(box, "86442") == 0


@case()
def case_background_work_leaves_a_place_for_others(box: Box) -> None:
    """The template's concurrency is 4."""
    made = [box.submit(argv=["sleep", "60"], background=True)["id"] for _ in range(3)]
    request = {"id": box.new_id(), "argv": ["sleep", "60"], "background": True}
    status, problem = box.call("POST", "/v1/executions", request)
    assert (status, problem["code"]) == (409, "TooManyInBackground")
    assert good(box.python("print(1 + 1)")) == "2\n"
    for identity in made:
        box.cancel(identity)
