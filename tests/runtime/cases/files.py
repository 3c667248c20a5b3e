"""Files in and out: exact, whole or not at all, in order, and nothing outside of the workspace."""

import hashlib
import os
import threading
from urllib.parse import quote

from tests.runtime.box import Box
from tests.runtime.cases.catalogue import case
from tests.runtime.cases.looking import good, until_said

MIB = 1 << 20


def put(box: Box, path: str, content: bytes) -> None:
    status, answer = box.call("PUT", f"/v1/files/{path}", raw=content)
    assert status in (200, 201), answer
    assert answer["size"] == len(content)


def listed(box: Box, path: str, limit: int) -> list[dict[str, object]]:
    """All entries of a directory, page by page."""
    found: list[dict[str, object]] = []
    after = ""
    while True:
        query = f"?limit={limit}" + (f"&after={after}" if after else "")
        status, page = box.call("GET", f"/v1/directories/{path}{query}")
        assert status == 200, page
        assert len(page["entries"]) <= limit
        found += page["entries"]
        if "next" not in page:
            return found
        after = page["next"]


@case(rows=[0, 17_000, 18_000, 100 * MIB])
def case_35_what_is_put_is_what_programs_read(box: Box, size: int) -> None:
    content = os.urandom(min(size, MIB)) * (size // MIB or 1)
    put(box, "35/new/deep.bin", content)
    digest = hashlib.sha256(content).hexdigest()
    assert good(box.bash("sha256sum < 35/new/deep.bin")) == f"{digest}  -\n"
    answer = box.exchange("GET", "/v1/files/35/new/deep.bin")
    assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, digest)
    assert box.call("DELETE", "/v1/files/35/new/deep.bin")[0] in (200, 204)
    assert box.call("GET", "/v1/files/35/new/deep.bin")[0] == 404
    assert good(box.bash("ls 35/new")) == ""


@case()
def case_35_overwriting_is_all_or_nothing(box: Box) -> None:
    contents = [bytes([letter]) * MIB for letter in b"ab"]
    put(box, "35a", contents[0])
    done = threading.Event()

    def write() -> None:
        for number in range(12):
            put(box, "35a", contents[number % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    look = "print(sorted(set(open('35a').read())))"
    while not done.is_set():
        seen.add(box.exchange("GET", "/v1/files/35a").body)
        assert good(box.python(look)) in ("['a']\n", "['b']\n")
    writer.join()
    assert seen <= set(contents)
    assert good(box.bash("ls -A | grep -c paddock || true")) == "0\n", "nothing left half done"


OUT = {
    "up": "../x",
    "up, encoded": "%2e%2e/x",
    "up, all encoded": "%2e%2e%2fx",
    "up behind down": "36/../../x",
    "absolute": "/etc/hostname",
    "absolute, encoded": "%2Fetc%2Fhostname",
    "nul": "36/a%00b",
    "link to a file": "36/passwd",
    "link to proc": "36/environ",
    "through a link": "36/etc/hostname",
    "through a link into proc": "36/self/environ",
    "directory as a file": "36",
    "file as a directory": "36/plain/x",
}
MAKE_36 = """
mkdir -p 36; cd 36; echo inside > plain
ln -sfn /etc/passwd passwd; ln -sfn /proc/self/environ environ; ln -sfn /etc etc
ln -sfn /proc/self self; ln -sfn /dev/zero zero; [ -p fifo ] || mkfifo fifo
ln -sfn plain inner
"""


@case(rows=OUT)
def case_36_nothing_outside_is_read_or_written(box: Box, path: str) -> None:
    good(box.bash(MAKE_36))
    assert box.call("GET", "/v1/files/36/plain") == (200, "inside\n")
    for method, raw in (("GET", None), ("HEAD", None), ("PUT", b"evil"), ("DELETE", None)):
        if (method, path) in (("DELETE", "36/passwd"), ("DELETE", "36/environ")):
            continue  # the link itself may go
        answer = box.exchange(method, f"/v1/files/{path}", raw=raw)
        if (method, path) in (("PUT", "36/passwd"), ("PUT", "36/environ")):
            # The name is ours: a file takes its place, or it is refused; either way no target.
            assert answer.status < 500
        else:
            assert 400 <= answer.status < 500, (method, answer)
        if method != "HEAD" and answer.status >= 400:
            assert answer.json()["code"], answer
        assert b"root:" not in answer.body
        assert b"PATH=" not in answer.body
        good(box.bash(MAKE_36))
    assert good(box.bash("grep -c evil /etc/passwd || true; ls ..")).startswith("0\n")


@case(rows=["fifo", "zero"])
def case_36_what_is_no_file_blocks_nobody(box: Box, name: str) -> None:
    good(box.bash(MAKE_36))
    for method, raw in (("GET", None), ("HEAD", None)):
        answer = box.exchange(method, f"/v1/files/36/{name}", raw=raw)
        assert 400 <= answer.status < 500
    kinds = {str(entry["name"]): entry["type"] for entry in listed(box, "36", 100)}
    assert kinds["fifo"] == "Other"
    assert kinds["zero"] == kinds["inner"] == "Symlink"
    assert kinds["plain"] == "File"


@case()
def case_36_a_link_swapped_while_it_is_read(box: Box) -> None:
    program = """
import os
os.makedirs("36s", exist_ok=True)
os.makedirs("36s/real", exist_ok=True)
open("36s/real/hostname", "w").write("mine")
os.path.islink("36s/dir") or os.symlink("real", "36s/dir")
print("ready", flush=True)
while True:
    for target in ("/etc", "real"):
        os.symlink(target, "36s/new"); os.rename("36s/new", "36s/dir")
"""
    swapping = box.submit(language="python", code=program)
    until_said(box, swapping["id"], "ready\n")
    connection = box.connect()
    for _ in range(300):
        answer = box.exchange("GET", "/v1/files/36s/dir/hostname", connection=connection)
        assert answer.status in (200, 400, 403, 404, 409, 422), answer
        assert answer.status != 200 or answer.body == b"mine"
        box.exchange("PUT", "/v1/files/36s/dir/put", raw=b"x", connection=connection)
    connection.close()
    box.cancel(swapping["id"])
    assert good(box.bash("test -e /etc/put || echo not there; rm -r 36s")) == "not there\n"


NAMES = {
    "not UTF-8": b"caf\xe9",
    "newline": b"two\nlines",
    "right to left": "abc\u202etxt.exe".encode(),
    "zero width": "a\u200bb".encode(),
    "composed": "\u00e9".encode(),
    "decomposed": "e\u0301".encode(),
    "dash": b"-rf",
    "percent": b"%2e%2e",
    "question": b"what?#x",
    "backslash": b"a\\b",
    "255 bytes": b"x" * 255,
    "quote": b"\"'",
}


@case(rows=NAMES)
def case_36_odd_names_come_back_exactly(box: Box, name: bytes) -> None:
    place = f"36n-{hashlib.sha256(name).hexdigest()[:8]}"
    box.python(f"import os; os.makedirs('{place}'); open(b'{place}/' + {name!r}, 'w').write('x')")
    (entry,) = listed(box, place, 10)
    assert entry["name"] == name.decode(errors="replace")
    assert box.call("GET", f"/v1/files/{entry['href']}") == (200, "x")
    assert box.call("PUT", f"/v1/files/{place}/{quote(name)}", raw=b"y")[0] in (200, 201)
    shown = f"import os; os.chdir({place!r}); print(os.listdir(b'.'), open({name!r}).read())"
    assert good(box.python(shown)) == f"[{name!r}] y\n"


@case(rows={"256 bytes": "x" * 256, "5000 bytes deep": "/".join(["d" * 100] * 50)})
def case_36_names_that_are_too_long_are_refused(box: Box, path: str) -> None:
    for method, raw in (("PUT", b"x"), ("GET", None)):
        status, problem = box.call(method, f"/v1/files/{path}", raw=raw)
        assert 400 <= status < 500
        assert problem["code"]


@case()
def case_36_ten_thousand_files(box: Box) -> None:
    program = """
import os
os.makedirs("many", exist_ok=True)
for n in range(10_000): os.close(os.open(f"many/{n}", os.O_CREAT))
"""
    good(box.python(program))
    names = [entry["name"] for entry in listed(box, "many", 1000)]
    assert names == sorted(str(n) for n in range(10_000))
    assert good(box.bash("rm -r many; echo gone")) == "gone\n"


@case()
def case_ranges_of_a_file(box: Box) -> None:
    put(box, "ranged", bytes(range(100)))
    for header, first, last in (("bytes=10-19", 10, 20), ("bytes=90-", 90, 100),
                                ("bytes=-5", 95, 100), ("bytes=50-500", 50, 100)):  # fmt: skip
        answer = box.exchange("GET", "/v1/files/ranged", headers={"Range": header})
        assert (answer.status, answer.body) == (206, bytes(range(first, last)))
        assert answer.headers["Content-Range"] == f"bytes {first}-{last - 1}/100"
    assert box.exchange("GET", "/v1/files/ranged", headers={"Range": "bytes=100-"}).status == 416
    head = box.exchange("HEAD", "/v1/files/ranged")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "100", b"")


@case()
def case_moving_is_a_rename(box: Box) -> None:
    put(box, "mv/a", b"a")
    put(box, "mv/b", b"b")
    move = {"source": "mv/a", "target": "mv/b"}
    status, problem = box.call("POST", "/v1/move", move)
    assert (status, problem["code"]) == (409, "Exists")
    assert box.call("POST", "/v1/move", {**move, "overwrite": True})[0] in (200, 204)
    assert good(box.bash("ls mv; cat mv/b; rm -r mv")) == "b\na"
    for source, target in (("mv/none", "mv/x"), ("../x", "y"), ("ranged", "../y")):
        answer = box.call("POST", "/v1/move", {"source": source, "target": target})
        assert 400 <= answer[0] < 500, answer
