"""Output as it comes: resumed anywhere, never made up, never in anybody's way; and input."""

import base64

from tests.runtime.box import Box, text
from tests.runtime.cases.catalogue import case
from tests.runtime.cases.looking import good, until_said
from tests.runtime.cases.sse import ACCEPT, Event, events, joined

SLOW = """
import os, time
for byte in "a🎉ü€b\\n".encode() * 3:
    os.write(1, bytes([byte])); time.sleep(0.01)
os.write(2, b"oh")
"""
PRINTED = "a🎉ü€b\n" * 3


def followed(box: Box, identity: str, after: str = "", query: str = "") -> list[Event]:
    """All events of an execution to its end, from the beginning or behind an event."""
    headers = {**ACCEPT, **({"Last-Event-ID": after} if after else {})}
    with box.stream("GET", f"/v1/executions/{identity}/events{query}", headers=headers) as answer:
        assert answer.status == 200, answer.read()
        assert (answer.getheader("Content-Type") or "").startswith("text/event-stream")
        return [event for event in events(answer) if event.kind != "comment"]


@case(rows=["posted", "followed"])
def case_19_a_character_in_two_writes_is_whole_in_the_stream(box: Box, how: str) -> None:
    request = {"id": box.new_id(), "language": "python", "code": SLOW}
    if how == "posted":
        with box.stream("POST", "/v1/executions", request, headers=ACCEPT) as answer:
            assert answer.status == 201, answer.read()
            told = [event for event in events(answer) if event.kind != "comment"]
    else:
        box.submit(**request)
        told = followed(box, request["id"])
    assert (told[0].kind, told[-1].kind) == ("started", "exited")
    assert [event.kind for event in told].count("exited") == 1
    assert (joined(told), joined(told, "stderr")) == (PRINTED, "oh")
    assert not [event for event in told if "\ufffd" in str(event.data)]
    ended = told[-1].data["execution"]
    assert (ended["reason"], ended["exitCode"]) == ("Exited", 0)
    assert ended["stdout"]["bytes"] == len(PRINTED.encode())


@case()
def case_41_resumed_behind_any_event(box: Box) -> None:
    started = box.submit(language="python", code=SLOW)
    live = followed(box, started["id"])
    assert len([event for event in live if event.is_output]) > 3
    assert len({event.id for event in live}) == len(live), "each has an id of its own"
    for number, event in enumerate(live):
        if not event.is_output:
            continue
        rest = followed(box, started["id"], event.id)
        together = live[: number + 1] + [later for later in rest if later.is_output]
        assert (joined(together), joined(together, "stderr")) == (PRINTED, "oh")
        assert rest[-1].kind == "exited"


@case()
def case_41_a_client_that_goes_and_comes_back(box: Box) -> None:
    program = """
import os, time
for n in range(40):
    print(n, flush=True)
    while n % 8 == 7 and not os.path.exists(f"41-{n // 8}"): time.sleep(0.01)
"""
    started = box.submit(language="python", code=program)
    got: list[Event] = []
    path, visits = f"/v1/executions/{started['id']}/events", 0
    while not (got and got[-1].kind == "exited"):
        last = [event.id for event in got if event.is_output][-1:]
        headers = {**ACCEPT, **({"Last-Event-ID": last[0]} if last else {})}
        with box.stream("GET", path, headers=headers) as answer:
            for event in (e for e in events(answer) if e.kind != "comment"):
                got.append(event)
                if event.is_output:
                    break
        box.exchange("PUT", f"/v1/files/41-{visits}", raw=b"")
        visits += 1
    assert visits > 4
    assert joined(got) == "".join(f"{n}\n" for n in range(40))


@case(rows={"while it runs": "echo begun; sleep 60", "at its end": "echo begun"})
def case_41_an_id_from_the_future_is_refused(box: Box, code: str) -> None:
    """Whoever went on there would miss what comes, and not be told."""
    started = box.submit(language="bash", code=code)
    until_said(box, started["id"], "begun\n")
    path = f"/v1/executions/{started['id']}/events"
    for last in ("7-0", "0-1"):
        answer = box.exchange("GET", path, headers={**ACCEPT, "Last-Event-ID": last})
        assert answer.status == 422
        assert f"Last-Event-ID: {last} is beyond" in answer.json()["detail"]
    for query in ("wait=1s", "encoding=base64&encoding=utf-8"):
        status, problem = box.call("GET", f"{path}?{query}")
        assert (status, problem["code"]) == (422, "InvalidRequest")
    box.cancel(started["id"])


@case()
def case_raw_bytes_in_a_stream(box: Box) -> None:
    program = "import os, time\nfor n in range(256): os.write(1, bytes([n])); time.sleep(1e-3)"
    started = box.submit(language="python", code=program)
    told = [e for e in followed(box, started["id"], query="?encoding=base64") if e.is_output]
    assert {event.data["encoding"] for event in told} == {"base64"}
    assert b"".join(base64.b64decode(e.data["text"]) for e in told) == bytes(range(256))


@case()
def case_no_end_is_made_up_for_a_stream_that_breaks(box: Box) -> None:
    started = box.submit(language="bash", code="echo begun; sleep 60")
    path = f"/v1/executions/{started['id']}/events"
    with box.stream("GET", path, headers=ACCEPT) as answer:
        told = events(answer)
        while next(told).kind != "stdout":
            pass
    assert box.get(started["id"])["state"] == "Running"
    ended = box.cancel(started["id"])
    assert followed(box, started["id"])[-1].data["execution"]["reason"] == ended["reason"]


@case()
def case_a_silent_execution_is_kept_alive(box: Box) -> None:
    """A proxy between cuts what says nothing for long."""
    started = box.submit(language="bash", code="sleep 5.4; echo done")
    with box.stream("GET", f"/v1/executions/{started['id']}/events", headers=ACCEPT) as answer:
        kinds = [(event.kind, event.id) for event in events(answer)]
    assert ("comment", "keep-alive") in kinds
    assert kinds[-1][0] == "exited"


@case()
def case_a_reader_that_never_reads_holds_nobody_up(box: Box) -> None:
    program = "import sys\nfor _ in range(300): sys.stdout.write('x' * 100_000)"
    request = {"id": box.new_id(), "language": "python", "code": program}
    with box.stream("POST", "/v1/executions", request, headers=ACCEPT) as answer:
        ended = box.get(request["id"], "?wait=25s")
        assert (ended["exitCode"], ended["stdout"]["bytes"]) == (0, 30_000_000)
        told = list(events(answer))
    last = [event for event in told if event.is_output][-1]
    assert told[-1].kind == "exited"
    assert last.data["offset"] + len(last.data["text"]) == 30_000_000
    assert sum(event.data["omitted"] for event in told if event.is_output) > 0


@case(rows={"in one": [b"\x00\xff a whole\r\nline"], "in two": [b"one ", b"two"], "none": []})
def case_26_stdin_in_pieces(box: Box, pieces: list[bytes]) -> None:
    started = box.submit(argv=["cat"], stdin="first ", stdinOpen=True)
    path = f"/v1/executions/{started['id']}/stdin"
    for piece in pieces:
        status, answer = box.call("POST", path, raw=piece)
        assert (status, answer) == (200, {"accepted": len(piece), "closed": False})
    assert box.get(started["id"], "?wait=200ms")["state"] == "Running", "it waits for more"
    status, answer = box.call("POST", f"{path}?close=true", raw=b"")
    assert (status, answer["closed"]) == (200, True)
    ended = box.get(started["id"], "?wait=20s&encoding=base64")
    assert (ended["reason"], ended["exitCode"]) == ("Exited", 0)
    echoed = base64.b64decode(ended["stdout"]["head"]) + base64.b64decode(ended["stdout"]["tail"])
    assert echoed == b"first " + b"".join(pieces)


@case()
def case_26_an_answer_to_each_line(box: Box) -> None:
    program = "while True:\n    print(int(input()) * 2, flush=True)"
    started = box.submit(language="python", code=program, stdinOpen=True)
    shown = ""
    for number in range(5):
        box.call("POST", f"/v1/executions/{started['id']}/stdin", raw=f"{number}\n".encode())
        shown += f"{number * 2}\n"
        until_said(box, started["id"], shown)
    box.call("POST", f"/v1/executions/{started['id']}/stdin?close=true", raw=b"")
    ended = box.get(started["id"], "?wait=20s")
    assert text(ended, "stderr").endswith("EOFError: EOF when reading a line\n")


@case()
def case_stdin_of_what_has_ended_or_has_none_is_refused(box: Box) -> None:
    closed = box.submit(argv=["sleep", "60"])
    status, problem = box.call("POST", f"/v1/executions/{closed['id']}/stdin", raw=b"x")
    assert (status, problem["status"]) == (409, 409), problem
    box.cancel(closed["id"])
    ended = box.run(argv=["true"], stdinOpen=True)
    status, problem = box.call("POST", f"/v1/executions/{ended['id']}/stdin", raw=b"x")
    assert status == 409, problem


@case(rows=["SIGTERM", "SIGUSR1", "SIGKILL"])
def case_a_signal_of_the_client_s(box: Box, name: str) -> None:
    program = f"trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done"
    started = box.submit(language="bash", code=program)
    until_said(box, started["id"], "ready\n")
    status, answer = box.call("POST", f"/v1/executions/{started['id']}/signal", {"signal": name})
    assert status in (200, 202, 204), answer
    ended = box.get(started["id"], "?wait=20s")
    if name == "SIGKILL":
        assert (ended["reason"], ended["signal"]) == ("Signaled", "SIGKILL")
        return
    assert (ended["reason"], ended["exitCode"]) == ("Exited", 5)
    assert text(ended) == f"ready\ngot {name}\n"


@case()
def case_executions_are_listed_in_pages(box: Box) -> None:
    ran = [good(box.bash("echo x", id=f"listed-{number}")) and f"listed-{number}"
           for number in range(5)]  # fmt: skip
    running = box.submit(argv=["sleep", "60"], id="listed-running")
    seen, after = [], 0
    while after is not None:
        status, page = box.call("GET", f"/v1/executions?limit=2&after={after}")
        assert status == 200, page
        assert len(page["executions"]) <= 2
        seen += [execution["id"] for execution in page["executions"]]
        assert not [
            execution["id"]
            for execution in page["executions"]
            if execution["truncated"] and execution["id"].startswith("listed-")
        ]
        after = page.get("next")
    assert len(set(seen)) == len(seen)
    assert [name for name in seen if name.startswith("listed-")] == [*ran, running["id"]]
    _, page = box.call("GET", "/v1/executions?state=Running")
    assert [execution["id"] for execution in page["executions"]] == ["listed-running"]
    box.cancel(running["id"])
