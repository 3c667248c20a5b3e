"""Configuration, the two ways to end, and restarts of either container."""

import http.client
import os
import signal
import time
from pathlib import Path

import pytest
from tests.runtime.pod import AS_ROOT, Pod, text
from tests.runtime.waiting import PATIENCE, eventually

from paddock_api.executions import TerminationMessage


def ended_with(pod: Pod) -> TerminationMessage:
    raw = (pod.base / "termination-log").read_bytes()
    assert len(raw) <= 4096
    return TerminationMessage.model_validate_json(raw)


def test_configure_brings_env_and_files() -> None:
    template = [{"name": "A", "value": "template"}, {"name": "B", "value": "template"}]
    with Pod(env=template) as pod:
        env = [{"name": "B", "value": "session"}, {"name": "C", "value": "session"}]
        files = [
            {"path": "deep/er/data.csv", "content": "a,b\nü,2\n"},
            {"path": "empty", "content": ""},
        ]
        assert pod.configure(env=env, files=files) == (200, {"files": 2, "repeated": False})
        program = "echo $A $B $C; cat deep/er/data.csv; stat -c '%u %a' empty deep; wc -c < empty"
        shown = text(pod.bash(program, env=[{"name": "C", "value": "execution"}]))
        assert shown == f"template session execution\na,b\nü,2\n{pod.uid} 644\n{pod.uid} 755\n0\n"
        assert text(pod.bash("echo $A $B $C")) == "template session session\n"
        pod.bash("echo changed > empty")
        assert pod.configure(env=env, files=files)[1] == {"files": 2, "repeated": True}
        assert text(pod.bash("cat empty")) == "changed\n"
        for change in ({"env": []}, {"files": []}, {"sessionUid": "other"}):
            status, problem = pod.configure(**{"env": env, "files": files, **change})
            assert (status, problem["code"]) == (409, "AlreadyConfigured")


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../../x", "", "a//b", "./x", "a/", ".", "x" * 300, "a\0b"]
)
def test_file_paths_stay_inside(pod: Pod, path: str) -> None:
    status, problem = pod.configure(files=[{"path": path, "content": ""}])
    assert (status, problem["code"]) == (422, "InvalidRequest")
    assert "files.0.path" in problem["detail"]


def test_a_file_that_cannot_be_written_is_named_and_links_are_not_followed() -> None:
    with Pod() as pod:
        outside = pod.base / "tmp" / "outside"
        pod.bash(f"mkdir {outside}; ln -s {outside} link; echo x > plain")
        for path in ("link/x", "plain/x"):
            status, problem = pod.configure(files=[{"path": path, "content": ""}])
            assert (status, problem["code"]) == (422, "FileNotWritten")
            assert repr(path) in problem["detail"]
        assert not list(outside.iterdir())
        pod.bash("ln -s /etc/passwd target")
        assert pod.configure(files=[{"path": "target", "content": "new"}])[0] == 200
        assert text(pod.bash("cat target; test -L target || echo file")) == "newfile\n"
        assert not list(pod.work.glob(".paddock-*"))


def test_sigterm_ends_both_quickly_and_leaves_the_ends() -> None:
    with Pod() as pod:
        pod.submit(language="bash", code="trap '' TERM; sleep 60")
        time.sleep(0.1)
        began = time.monotonic()
        assert pod.terminate() == (0, 0)
        assert time.monotonic() - began < 8
        message = ended_with(pod)
        assert message.reason == "Terminated"
        assert message.executions[0].reason == "Cancelled"
        if AS_ROOT:
            assert pod.user_processes() == []


def test_sigterm_to_the_workspace_alone_waits_for_the_runtime() -> None:
    """The kubelet sends it to both, in no order: what runs must end as Cancelled."""
    if not AS_ROOT:
        pytest.skip("needs a PID namespace")
    with Pod() as pod:
        pod.submit(language="bash", code="sleep 60")
        time.sleep(0.1)
        supervisor = int(
            Path(f"/proc/{pod.workspace.pid}/task/{pod.workspace.pid}/children").read_text()  # type: ignore[union-attr]
        )
        os.kill(supervisor, signal.SIGTERM)
        time.sleep(0.3)
        assert pod.terminate() == (0, 0)
        assert ended_with(pod).executions[0].reason == "Cancelled"


def test_no_new_work_while_ending() -> None:
    with Pod() as pod:
        connection = http.client.HTTPConnection("127.0.0.1", pod.port, timeout=5)
        pod.call("GET", "/livez", connection=connection)
        program = "import signal, time\nsignal.signal(64, signal.SIG_IGN); time.sleep(60)"
        pod.submit(language="python", code=program)
        time.sleep(0.1)
        assert pod.runtime is not None
        pod.runtime.send_signal(signal.SIGTERM)
        time.sleep(0.02)
        request = {"id": "late", "language": "python", "code": ""}
        status, problem = pod.call("POST", "/v1/executions", request, connection=connection)
        connection.close()
        assert (status, problem["code"]) == (503, "SandboxEnding")
        assert pod.runtime.wait(PATIENCE) == 0


def test_the_journal_survives_the_runtime() -> None:
    with Pod(limits={"concurrency": 1}) as pod:
        pod.configure(env=[{"name": "KEPT", "value": "yes"}])
        done = pod.bash("echo out; head -c 3000000 /dev/zero; exit 4")
        running = pod.submit(language="bash", code="echo started; sleep 60")
        waiting = pod.submit(language="bash", code="echo never")
        time.sleep(0.2)
        pod.kill_runtime()
        with (pod.base / "journal" / "journal.jsonl").open("a") as file:
            file.write('{"type": "accepted", "id": "to')  # killed while writing
        pod.start_runtime()
        pod.wait_ready()
        assert pod.get(done["id"]) == done
        assert pod.get(running["id"])["reason"] == "RuntimeRestarted"
        assert pod.get(waiting["id"])["reason"] == "RuntimeRestarted"
        request = {"id": waiting["id"], "language": "bash", "code": "echo never"}
        status, answer = pod.call("POST", "/v1/executions", request)
        assert (status, answer["reason"]) == (200, "RuntimeRestarted")
        assert text(pod.bash("echo $KEPT")) == "yes\n"
        _, page = pod.call("GET", "/v1/journal?maxOutput=0")
        assert [ended["id"] for ended in page["executions"]][:3] == [
            done["id"],
            running["id"],
            waiting["id"],
        ]
        if AS_ROOT:
            assert pod.at_rest()
        pod.kill_runtime()
        pod.start_runtime()
        pod.wait_ready()
        assert pod.get(running["id"])["reason"] == "RuntimeRestarted"


def test_the_fork_server_dies() -> None:
    with Pod() as pod:
        started = pod.submit(language="bash", code="echo kept; (setsid sleep 60 &); sleep 60")
        time.sleep(0.2)
        before = pod.fork_server()
        os.kill(before, signal.SIGKILL)
        lost = pod.get(started["id"], "?wait=5s")
        assert (lost["reason"], text(lost)) == ("WorkspaceLost", "kept\n")
        pod.wait_ready()
        assert pod.python("print(1)")["exitCode"] == 0
        if AS_ROOT:
            assert pod.at_rest()


def test_the_workspace_is_replaced() -> None:
    """What the kubelet does when its PID 1 was killed."""
    if not AS_ROOT:
        pytest.skip("needs a PID namespace")
    with Pod() as pod:
        started = pod.submit(language="bash", code="sleep 60")
        time.sleep(0.1)
        assert pod.workspace is not None
        children = Path(f"/proc/{pod.workspace.pid}/task/{pod.workspace.pid}/children")
        os.kill(int(children.read_text()), signal.SIGKILL)
        assert pod.get(started["id"], "?wait=5s")["reason"] == "WorkspaceLost"
        status, problem = pod.call("GET", "/readyz")
        assert (status, problem["code"]) == (503, "WorkspaceNotReady")
        waiting = pod.submit(language="bash", code="echo later")
        assert waiting["state"] == "Pending"
        pod.workspace.wait(PATIENCE)
        pod.start_workspace()
        assert text(pod.get(waiting["id"], "?wait=10s")) == "later\n"


def nothing_runs(pod: Pod) -> bool:
    metrics = pod.call("GET", "/metrics")[1]
    return "executions_pending 0" in metrics and "executions_running 0" in metrics


def test_the_termination_message_prefers_what_nobody_collected() -> None:
    with Pod() as pod:
        started = [pod.submit(language="bash", code=f"exit {n}")["id"] for n in range(30)]
        eventually(lambda: nothing_runs(pod), "all ended")
        pod.get(started[0])
        assert pod.terminate()[0] == 0
        message = ended_with(pod)
        ids = [execution.id for execution in message.executions]
        assert started[0] not in ids
        assert ids[0] == started[1]
        assert len(ids) + message.dropped == 29


def test_bad_settings_say_what_is_wrong() -> None:
    pod = Pod(limits={"concurrency": 0})
    pod.start_runtime()
    assert pod.runtime is not None
    assert pod.runtime.wait(PATIENCE) == 1
    log = (pod.base / "runtime.log").read_text()
    assert "limits.concurrency" in log
    pod.__exit__()
