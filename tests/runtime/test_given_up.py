"""What waits for a workspace that does not answer ends all the same."""

import http.client
import json
import os
import signal

import pytest
from tests.runtime.pod import AS_ROOT, Pod
from tests.runtime.waiting import eventually

pytestmark = pytest.mark.skipif(not AS_ROOT, reason="needs a user and PID namespace of its own")


def test_code_for_a_context_whose_maker_has_gone_does_not_wait_for_ever() -> None:
    with Pod() as pod:
        os.kill(pod.fork_server(), signal.SIGSTOP)
        maker = http.client.HTTPConnection(pod.host, pod.port)
        headers = {"Authorization": f"Bearer {pod.token()}"}
        maker.request("POST", "/v1/contexts", json.dumps({"id": "c"}), headers)
        eventually(lambda: pod.call("GET", "/v1/contexts")[1]["contexts"] != [], "a context")
        waiting = pod.submit(language="python", code="1", context="c")
        maker.close()
        ended = pod.get(waiting["id"], "?wait=20s")
        assert (ended["state"], ended["reason"]) == ("Finished", "ContextDied")
        os.kill(pod.fork_server(), signal.SIGCONT)
        assert pod.python("print(1)")["reason"] == "Exited"


@pytest.mark.parametrize("how", ["DELETE", "restart"])
def test_what_runs_in_a_context_that_cannot_be_ended_is_given_up(how: str) -> None:
    with Pod() as pod:
        assert pod.call("POST", "/v1/contexts", {"id": "c"})[0] == 201
        running = pod.submit(language="python", code="import time; time.sleep(60)", context="c")
        eventually(lambda: pod.get(running["id"])["state"] == "Running", "it runs")
        os.kill(pod.fork_server(), signal.SIGSTOP)
        if how == "DELETE":
            pod.call("DELETE", "/v1/contexts/c")
        else:
            pod.call("POST", "/v1/contexts/c/restart")
        ended = pod.get(running["id"], "?wait=20s")
        assert (ended["state"], ended["reason"]) == ("Finished", "Cancelled")
