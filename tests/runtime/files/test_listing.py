"""Directories: every name exactly, in order, page by page."""

from urllib.parse import quote

import pytest
from tests.runtime.files.tools import DIRECTORIES, FILES, delete, get, listed, put, refused
from tests.runtime.pod import Pod, text

NAMES = {
    "not UTF-8": b"caf\xe9",
    "not UTF-8 at all": bytes(range(128, 256)),
    "newline": b"two\nlines",
    "every ASCII character": bytes(set(range(1, 128)) - {ord("/")}),
    "right to left": "abc\u202etxt.exe".encode(),
    "zero width": "a\u200bb".encode(),
    "composed": "é".encode(),
    "decomposed": "e\u0301".encode(),
    "surrogate": b"\xed\xb3\xbf",
    "dash": b"-rf",
    "dots": b"...",
    "percent": b"%2e%2e",
    "question": b"what?#x&after=b",
    "plus": b"a+b c",
    "backslash": b"a\\..\\b",
    "quotes": b"\"'`$(id)",
    "255 bytes": b"x" * 255,
    "255 bytes of characters": "é".encode() * 127 + b"x",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_odd_names_come_back_exactly(pod: Pod, name: bytes) -> None:
    program = f"import os; os.mkdir('odd'); open(os.path.join(b'odd', {name!r}), 'w').write('x')"
    assert pod.python(program)["exitCode"] == 0
    (entry,) = listed(pod, "odd")
    assert entry["name"] == name.decode(errors="replace")
    assert entry["href"].isascii()
    assert pod.call("GET", FILES + entry["href"]) == (200, "x")
    info = put(pod, b"odd/" + name, b"yy")
    assert (info["href"], info["size"]) == (entry["href"], 2)
    show = f"name = {name!r}; import os; print(os.listdir(b'odd') == [name], end=' ')\n"
    show += "print(os.path.getsize(b'odd/' + name))"
    assert text(pod.python(show)) == "True 2\n"
    there, elsewhere = entry["href"], quote(b"odd/moved-" + name[:200])
    for source, target in ((there, elsewhere), (elsewhere, there)):
        move = {"source": source, "target": target}
        assert pod.exchange("POST", "/v1/move", move).status == 200
    assert [each["href"] for each in listed(pod, "odd")] == [entry["href"]]
    assert pod.call("DELETE", FILES + entry["href"])[0] == 204
    assert text(pod.bash("ls -A odd; rmdir odd")) == ""


def test_twins_are_different_files(pod: Pod) -> None:
    twins = [b"a", b"A", "é".encode(), "e\u0301".encode(), b"\xe9", b"a ", b"a\n"]
    for number, name in enumerate(twins):
        put(pod, b"twins/" + name, b"%d" % number)
    assert [get(pod, b"twins/" + name).body for name in twins] == [
        b"%d" % number for number in range(len(twins))
    ]
    hrefs = [entry["href"] for entry in listed(pod, "twins")]
    assert hrefs == [quote(b"twins/" + name) for name in sorted(twins)]
    delete(pod, "twins", "?recursive=true")


@pytest.mark.parametrize("name", [b"x" * 256, "é".encode() * 128])
def test_names_that_are_too_long(pod: Pod, name: bytes) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = pod.exchange(method, FILES + quote(name), raw=b"x")
        assert refused(answer) == (422, "InvalidRequest")
        assert "255" in answer.json()["detail"]
    assert put(pod, name[:254], b"x")
    delete(pod, name[:254])


def test_the_longest_path(pod: Pod) -> None:
    path = "/".join(["d" * 99] * 40 + ["x" * 94])
    assert len(path) == 4094
    put(pod, path, b"deep")
    assert get(pod, path).body == b"deep"
    put(pod, path + "y", b"deeper")
    assert len(listed(pod, path.rpartition("/")[0])) == 2
    assert refused(get(pod, path + "yy")) == (422, "InvalidRequest")
    assert delete(pod, "d" * 99, "?recursive=true") == 204


@pytest.mark.parametrize("limit", [7, 999, 1000])
def test_ten_thousand_files_page_by_page(pod: Pod, limit: int) -> None:
    program = """
import os
os.makedirs("many", exist_ok=True)
for n in range(10_050): os.close(os.open(f"many/{n}", os.O_CREAT))
"""
    if limit == 7:
        program = program.replace("10_050", "350")
    made = pod.python(program)
    assert made["reason"] == "Exited", made
    count = 350 if limit == 7 else 10_050
    found = listed(pod, "many", limit)
    assert [entry["name"] for entry in found] == sorted(str(n) for n in range(count))
    assert delete(pod, "many", "?recursive=true") == 204
    assert pod.exchange("GET", DIRECTORIES + "many").status == 404


def test_pages_go_on_while_the_directory_changes(pod: Pod) -> None:
    for name in "bdfhj":
        put(pod, f"moving/{name}", b"")
    page = pod.exchange("GET", DIRECTORIES + "moving?limit=2").json()
    assert [entry["name"] for entry in page["entries"]] == ["b", "d"]
    delete(pod, "moving/d")  # where the page ended
    for name in "aeg":
        put(pod, f"moving/{name}", b"")
    page = pod.exchange("GET", f"{DIRECTORIES}moving?limit=1000&after={page['next']}").json()
    assert [entry["name"] for entry in page["entries"]] == list("efghj")
    assert "next" not in page
    delete(pod, "moving", "?recursive=true")


def test_a_page_that_is_exactly_full_is_the_last(pod: Pod) -> None:
    put(pod, "two/a", b"")
    put(pod, "two/b", b"")
    assert "next" not in pod.exchange("GET", DIRECTORIES + "two?limit=2").json()
    assert pod.exchange("GET", DIRECTORIES + "two?limit=1").json()["next"] == "a"
    assert pod.exchange("GET", DIRECTORIES + "two?after=b").json() == {"entries": []}
    delete(pod, "two", "?recursive=true")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=a%2Fb", "after=%"])
def test_what_no_page_can_be(pod: Pod, query: str) -> None:
    answer = pod.exchange("GET", f"{DIRECTORIES}?{query}")
    assert refused(answer) == (422, "InvalidRequest")
    assert query.partition("=")[0] in answer.json()["detail"]


def test_the_workspace_itself(pod: Pod) -> None:
    put(pod, "top", b"x")
    for path in ("/v1/directories", DIRECTORIES):
        names = [entry["name"] for entry in pod.exchange("GET", path).json()["entries"]]
        assert "top" in names
        assert pod.exchange("PUT", path).status == 200
    assert refused(pod.exchange("DELETE", FILES + "?recursive=true")) == (422, "InvalidRequest")
    assert pod.exchange("GET", "/v1/files").status == 404
    assert refused(pod.exchange("DELETE", DIRECTORIES + "top"))[0] == 405
    delete(pod, "top")


def test_times_that_programs_made_up(pod: Pod) -> None:
    put(pod, "times/a", b"")
    pod.python("import os; os.utime('times/a', ns=(-10**18, -10**18))")
    pod.python("import os; open('times/b', 'w'); os.utime('times/b', (15e9, 15e9))")
    seconds = [entry["modifiedAt"] for entry in listed(pod, "times")]
    assert seconds[0].startswith("1970-01-01T00:00:00")
    assert seconds[1] <= "2446"
    for name in ("a", "b"):
        assert get(pod, f"times/{name}").headers["Last-Modified"].endswith("GMT")
    delete(pod, "times", "?recursive=true")


def test_what_takes_long_holds_up_nobody(pod: Pod) -> None:
    """It goes on in slices, several together, and other requests come in between."""
    pod.python(
        "import os; os.mkdir('large')\n"
        "for n in range(60_000): os.close(os.open(f'large/{n}', os.O_CREAT))"
    )
    connections = [pod.connect() for _ in range(3)]
    headers = {"Authorization": f"Bearer {pod.token()}"}
    for connection in connections:
        connection.request("DELETE", FILES + "large?recursive=true", headers=headers)
    put(pod, "small", b"x")
    assert get(pod, "small").body == b"x"
    statuses = {connection.getresponse().status for connection in connections}
    for connection in connections:
        connection.close()
    assert statuses <= {204, 404, 409}
    assert pod.exchange("GET", DIRECTORIES + "large").status == 404
    delete(pod, "small")
