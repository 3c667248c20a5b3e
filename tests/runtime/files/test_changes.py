"""Directories made, things moved and deleted."""

import http.client
import socket

import pytest
from tests.runtime.files.tools import DIRECTORIES, FILES, delete, get, listed, put, refused
from tests.runtime.pod import Pod, text
from tests.runtime.waiting import eventually


def move(pod: Pod, source: str, target: str, **more: bool) -> tuple[int, str]:
    answer = pod.exchange("POST", "/v1/move", {"source": source, "target": target, **more})
    return (200, answer.json()["href"]) if answer.status == 200 else refused(answer)


def test_a_directory_is_made_with_its_parents(pod: Pod) -> None:
    answer = pod.exchange("PUT", DIRECTORIES + "x/y/z")
    assert answer.status == 201
    assert (answer.json()["href"], answer.json()["type"]) == ("x/y/z", "Directory")
    assert pod.exchange("PUT", DIRECTORIES + "x/y/z").status == 200
    assert text(pod.bash("stat -c '%a %F' x/y/z")) == "755 directory\n"
    put(pod, "x/file", b"")
    assert refused(pod.exchange("PUT", DIRECTORIES + "x/file")) == (409, "NotADirectory")
    assert refused(pod.exchange("PUT", DIRECTORIES + "x/file/z")) == (409, "NotADirectory")
    delete(pod, "x", "?recursive=true")


def test_moving_is_a_rename(pod: Pod) -> None:
    put(pod, "mv/a", b"a")
    put(pod, "mv/b", b"b")
    assert move(pod, "mv/a", "mv/b") == (409, "Exists")
    assert get(pod, "mv/b").body == b"b"
    assert move(pod, "mv/a", "mv/b", overwrite=True) == (200, "mv/b")
    assert (get(pod, "mv/a").status, get(pod, "mv/b").body) == (404, b"a")
    assert move(pod, "mv/b", "mv/new/place/c") == (200, "mv/new/place/c")
    assert move(pod, "mv/new", "moved") == (200, "moved")
    assert get(pod, "moved/place/c").body == b"a"
    assert move(pod, "moved", "moved/place/inside") == (422, "InvalidRequest")
    assert move(pod, "none", "unmade/x") == (404, "NotFound")
    assert pod.exchange("GET", DIRECTORIES + "unmade").status == 404
    delete(pod, "moved", "?recursive=true")
    delete(pod, "mv", "?recursive=true")


def test_what_cannot_take_the_place_of_what(pod: Pod) -> None:
    put(pod, "k/file", b"x")
    put(pod, "k/full/x", b"x")
    pod.exchange("PUT", DIRECTORIES + "k/empty")
    assert move(pod, "k/file", "k/empty", overwrite=True) == (409, "IsADirectory")
    assert move(pod, "k/empty", "k/file", overwrite=True) == (409, "NotADirectory")
    assert move(pod, "k/empty", "k/full", overwrite=True) == (409, "NotEmpty")
    assert move(pod, "k/full", "k/empty", overwrite=True) == (200, "k/empty")
    assert get(pod, "k/empty/x").body == b"x"
    assert move(pod, "k/file", "k/file") == (409, "Exists")
    assert move(pod, "k/file", "k/file", overwrite=True) == (200, "k/file")
    delete(pod, "k", "?recursive=true")


def test_links_and_other_things_are_moved_as_they_are(pod: Pod) -> None:
    pod.bash("mkdir o; cd o; ln -s nowhere link; mkfifo fifo")
    for name in ("link", "fifo"):
        assert move(pod, f"o/{name}", f"o/{name}2") == (200, f"o/{name}2")
    assert text(pod.bash("cd o; readlink link2; test -p fifo2 && echo fifo")) == "nowhere\nfifo\n"
    delete(pod, "o", "?recursive=true")


@pytest.mark.parametrize("field", ["source", "target"])
def test_a_move_names_the_field_that_is_wrong(pod: Pod, field: str) -> None:
    put(pod, "there", b"x")
    for path in ("../x", "a/%2e%2e/x", "/etc/passwd", "a%00", "100%", "a//b"):
        request = {"source": "there", "target": "there2", field: path}
        answer = pod.exchange("POST", "/v1/move", request)
        assert refused(answer) == (422, "InvalidRequest")
        assert answer.json()["detail"].startswith(f"{field}: ")
    assert get(pod, "there").body == b"x"
    delete(pod, "there")


def test_deleting(pod: Pod) -> None:
    put(pod, "d/sub/file", b"x")
    assert delete(pod, "d/sub/none") == 404
    assert refused(pod.exchange("DELETE", FILES + "d/sub")) == (409, "IsADirectory")
    assert refused(pod.exchange("DELETE", FILES + "d/sub?recursive=yes")) == (422, "InvalidRequest")
    assert delete(pod, "d/sub/file", "?recursive=true") == 204
    assert delete(pod, "d", "?recursive=true") == 204
    assert delete(pod, "d", "?recursive=true") == 404


def test_deleting_a_tree_follows_no_link(pod: Pod) -> None:
    put(pod, "kept/file", b"x")
    pod.bash("mkdir -p tree/sub; ln -s ../kept tree/link; ln -s ../../kept tree/sub/link")
    pod.bash("ln -s /tmp tree/tmp; mkfifo tree/fifo")
    assert delete(pod, "tree", "?recursive=true") == 204
    assert [entry["name"] for entry in listed(pod, "kept")] == ["file"]
    delete(pod, "kept", "?recursive=true")


def test_a_tree_that_programs_made_as_deep_as_they_can(pod: Pod) -> None:
    made = pod.python("import os\nfor _ in range(3000): os.mkdir('d' * 50); os.chdir('d' * 50)")
    assert made["exitCode"] == 0
    assert delete(pod, "d" * 50, "?recursive=true") == 204


def test_a_directory_that_even_its_owner_may_not_read(pod: Pod) -> None:
    pod.bash("mkdir -p shut/in; touch shut/in/file; chmod 000 shut/in")
    requests = {
        "DELETE": FILES + "shut?recursive=true",
        "GET": DIRECTORIES + "shut/in",
        "PUT": FILES + "shut/in/x",
    }
    for method, path in requests.items():
        assert refused(pod.exchange(method, path, raw=b"")) == (403, "PermissionDenied")
    pod.bash("chmod 700 shut/in")
    assert delete(pod, "shut", "?recursive=true") == 204


def test_a_client_that_does_not_wait_for_a_long_deletion(pod: Pod) -> None:
    pod.python(
        "import os; os.mkdir('long')\n"
        "for n in range(20_000): os.close(os.open(f'long/{n}', os.O_CREAT))"
    )
    connection = http.client.HTTPConnection(pod.host, pod.port)
    headers = {"Authorization": f"Bearer {pod.token()}"}
    connection.request("DELETE", FILES + "long?recursive=true", headers=headers)
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    long = DIRECTORIES + "long?limit=1"
    eventually(lambda: pod.exchange("GET", long).status == 404, "it was deleted")
    assert pod.exchange("GET", "/livez").status == 200
