"""Clients that vanish, ends asked for from outside, parts that are lost under what runs."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import case
from tests.runtime.cases.looking import good, left_of, until_said
from tests.runtime.cases.streams import followed


def hang_up(box: Box, identity: str, **request: object) -> None:
    """Ask for an execution, wait for it, and be gone before it ends."""
    whole = {"id": identity, **request}
    connection = box.connect()
    headers = {"Authorization": f"Bearer {box.token()}"}
    connection.request("POST", "/v1/executions?wait=60s", json.dumps(whole).encode(), headers)
    while box.call("GET", f"/v1/executions/{identity}")[1].get("state") != "Running":
        time.sleep(0.01)
    connection.close()


@case()
def case_30_the_client_is_gone_and_it_goes_on(box: Box) -> None:
    identity = box.new_id()
    hang_up(box, identity, language="bash", code="echo begun; sleep 1; echo done")
    assert good(box.python("print(1 + 1)")) == "2\n"
    assert good(box.get(identity, "?wait=20s")) == "begun\ndone\n"


@case(needs=("user",))
def case_30_the_client_is_gone_and_it_ends(box: Box) -> None:
    identity = box.new_id()
    hang_up(box, identity, language="bash", code="sleep 86430", onDisconnect="Cancel")
    while not left_of(box, "86430"):
        time.sleep(0.02)
    deadline = time.monotonic() + 20
    while left_of(box, "86430"):  # asking for it would be a client that came back
        assert time.monotonic() < deadline
        time.sleep(0.2)
    ended = box.get(identity, "?wait=20s")
    assert ended["reason"] == "Cancelled"
    assert good(box.python("print(1 + 1)")) == "2\n"


@case(needs=("user",))
def case_cancel_ends_all_of_it_and_keeps_its_output(box: Box) -> None:
    started = box.submit(language="bash", code="echo begun; sleep 86431 & wait")
    until_said(box, started["id"], "begun\n")
    assert left_of(box, "86431") > 0
    ended = box.cancel(started["id"])
    assert (ended["reason"], text(ended)) == ("Cancelled", "begun\n")
    assert left_of(box, "86431") == 0


@case(own=True)
def case_31_the_sandbox_is_ended_under_it(box: Box) -> None:
    started = box.submit(language="bash", code="echo begun; sleep 60")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(box.get, started["id"], "?wait=40s")
        time.sleep(0.5)
        box.end()
        ended = waiting.result(30)
    assert (ended["reason"], text(ended)) == ("Cancelled", "begun\n")
    assert ended["message"] == "the sandbox ended (Terminated)"


@case(own=True, needs=("user",))
def case_32_the_runtime_is_killed(box: Box) -> None:
    done = box.bash("echo kept; exit 4")
    lost = box.submit(language="bash", code="echo begun; sleep 86432")
    assert box.get(lost["id"], "?wait=300ms")["state"] == "Running"
    box.crash_runtime()
    box.wait_ready()
    assert box.get(done["id"]) == done
    assert box.get(lost["id"], "?wait=20s")["reason"] == "RuntimeRestarted"
    told = followed(box, lost["id"], after="6-0")  # who had got what is lost now
    assert told[-1].data["execution"]["reason"] == "RuntimeRestarted"
    assert left_of(box, "86432") == 0
    request = {"id": lost["id"], "language": "bash", "code": "echo begun; sleep 86432"}
    status, again = box.call("POST", "/v1/executions?wait=20s", request)
    assert (status, again["reason"]) == (200, "RuntimeRestarted"), "it is not run twice"
    assert good(box.python("print(1 + 1)")) == "2\n"


@case(own=True, needs=("user",))
def case_32_the_fork_server_is_killed(box: Box) -> None:
    lost = box.submit(language="bash", code="sleep 86433")
    assert box.get(lost["id"], "?wait=300ms")["state"] == "Running"
    box.bash("echo kept > file")
    box.kill_fork_server()
    assert box.get(lost["id"], "?wait=20s")["reason"] == "WorkspaceLost"
    box.wait_ready()
    assert good(box.bash("cat file")) == "kept\n"
    assert left_of(box, "86433") == 0


@case(own=True, needs=("user",))
def case_32_the_workspace_s_container_is_killed(box: Box) -> None:
    lost = box.submit(language="bash", code="echo begun; sleep 86434")
    done = box.bash("echo kept > file; exit 3")
    box.crash_workspace()
    ended = box.get(lost["id"], "?wait=20s")
    assert (ended["reason"], text(ended)) == ("WorkspaceLost", "begun\n")
    box.wait_ready()
    assert box.get(done["id"]) == done
    assert good(box.bash("cat file")) == "kept\n"
    assert left_of(box, "86434") == 0


@case()
def case_the_runtime_answers_while_user_code_takes_every_core(box: Box) -> None:
    spin = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
    hogs = [box.submit(language="python", code=spin, timeoutMs=1000) for _ in range(2)]
    for _ in range(20):
        assert box.call("GET", "/livez")[0] == 200
    assert good(box.python("print(1 + 1)")) == "2\n"
    for hog in hogs:
        assert box.get(hog["id"], "?wait=25s")["reason"] == "WallTimeout"
