"""Files with a time to live: gone when it is over, and only then, and only they."""

import time
from datetime import UTC, datetime

import pytest
from tests.runtime.files.tools import DIRECTORIES, FILES, delete, get, listed, put, refused
from tests.runtime.pod import Pod
from tests.runtime.waiting import eventually


def wait_gone(pod: Pod, path: str) -> None:
    eventually(lambda: get(pod, path).status == 404, f"{path} is gone")


def test_a_file_goes_when_its_time_is_over(pod: Pod) -> None:
    began = time.monotonic()
    info = put(pod, "t/short", b"x", "?ttl=2s")
    put(pod, "t/long", b"x", "?ttl=10m")
    put(pod, "t/kept", b"x")
    left = datetime.fromisoformat(info["expiresAt"]) - datetime.now(UTC)
    assert 0 < left.total_seconds() <= 2
    expiring = {entry["name"]: "expiresAt" in entry for entry in listed(pod, "t")}
    assert expiring == {"kept": False, "long": True, "short": True}
    wait_gone(pod, "t/short")
    assert time.monotonic() - began >= 2
    assert [entry["name"] for entry in listed(pod, "t")] == ["kept", "long"]
    assert b'operation="expire"} ' in pod.exchange("GET", "/metrics").body
    delete(pod, "t", "?recursive=true")


def test_another_file_of_that_name_stays(pod: Pod) -> None:
    for name in ("put", "program", "renamed", "deleted"):
        put(pod, f"s/{name}", b"old", "?ttl=2s")
    put(pod, "s/put", b"new")
    pod.bash("cd s; rm program deleted; echo new > program; mv renamed elsewhere; mkdir deleted")
    time.sleep(2.2)
    assert get(pod, "s/put").body == b"new"
    assert get(pod, "s/program").body == b"new\n"
    assert get(pod, "s/elsewhere").body == b"old"
    assert pod.exchange("GET", DIRECTORIES + "s/deleted").status == 200
    assert not any("expiresAt" in entry for entry in listed(pod, "s"))
    delete(pod, "s", "?recursive=true")


def test_what_a_program_wrote_into_it_changes_nothing(pod: Pod) -> None:
    put(pod, "grows", b"x", "?ttl=2s")
    pod.bash("echo more >> grows")
    wait_gone(pod, "grows")


def test_a_new_ttl_counts(pod: Pod) -> None:
    put(pod, "again", b"1", "?ttl=400ms")
    put(pod, "again", b"2", "?ttl=1h")
    time.sleep(0.6)
    assert get(pod, "again").body == b"2"
    put(pod, "again", b"3", "?ttl=100ms")
    wait_gone(pod, "again")


def test_it_follows_a_move_of_ours(pod: Pod) -> None:
    put(pod, "dir/sub/f", b"x", "?ttl=2s")
    put(pod, "dirty", b"x")
    move = {"source": "dir", "target": "moved"}
    assert pod.exchange("POST", "/v1/move", move).status == 200
    move = {"source": "moved/sub/f", "target": "f"}
    assert "expiresAt" in pod.exchange("POST", "/v1/move", move).json()
    wait_gone(pod, "f")
    assert get(pod, "dirty").status == 200
    pod.bash("rm -r moved dirty")


def test_a_link_that_took_its_place_leads_nowhere(pod: Pod) -> None:
    put(pod, "victim", b"kept")
    put(pod, "l/f", b"x", "?ttl=2s")
    pod.bash("rm -r l; mkdir elsewhere; ln victim elsewhere/f; ln -s elsewhere l")
    time.sleep(2.2)
    assert get(pod, "elsewhere/f").body == b"kept"
    pod.bash("rm -r l elsewhere victim")


@pytest.mark.parametrize("ttl", ["", "0s", "10", "-5s", "169h", "1d", "99999999999s"])
def test_a_ttl_that_is_none(pod: Pod, ttl: str) -> None:
    answer = pod.exchange("PUT", FILES + f"x?ttl={ttl}", raw=b"x")
    assert refused(answer) == (422, "InvalidRequest")
    assert answer.json()["detail"].startswith("ttl: ")
    assert get(pod, "x").status == 404


def test_it_survives_a_restart_of_the_runtime_and_of_the_workspace() -> None:
    with Pod() as pod:
        began = time.monotonic()
        put(pod, "soon", b"x", "?ttl=2s")
        put(pod, "later", b"x", "?ttl=1h")
        put(pod, "replaced", b"x", "?ttl=2s")
        put(pod, "replaced", b"y")
        pod.crash_runtime()
        pod.wait_ready()
        expiring = {entry["name"]: "expiresAt" in entry for entry in listed(pod)}
        assert expiring.pop("soon", True)
        assert expiring == {"later": True, "replaced": False}
        pod.kill_fork_server()
        wait_gone(pod, "soon")
        assert time.monotonic() - began >= 2
        assert get(pod, "replaced").body == b"y"
        assert get(pod, "later").status == 200


def test_what_is_due_while_nobody_can_delete_it_goes_later() -> None:
    with Pod() as pod:
        put(pod, "due", b"x", "?ttl=1s")
        pod.kill_runtime()
        time.sleep(1.1)
        assert (pod.work / "due").exists()
        pod.start_runtime()
        pod.wait_ready()
        wait_gone(pod, "due")
