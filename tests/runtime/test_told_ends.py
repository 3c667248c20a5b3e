"""Ends that are told later: without the output that the disk refused, in pages, and counted."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import ClientPayloadError, ClientSession, ServerDisconnectedError, web
from tests.runtime.pod import Pod

from paddock_api.executions import Execution
from paddock_runtime.server.app import JOURNAL_BYTES, Api
from paddock_runtime.server.ends import Ends
from paddock_runtime.server.journal import Journal
from paddock_runtime.server.metrics import Metrics
from paddock_runtime.server.output import Kept
from paddock_runtime.server.records import End, Entry, now
from paddock_runtime.server.termination import termination_message


def ended(identity: str) -> Execution:
    said = {"id": identity, "state": "Finished", "reason": "Exited", "exitCode": 0}
    return Execution.model_validate({**said, "acceptedAt": now()})


async def test_output_that_the_disk_refused_is_told_as_omitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)

    def full(pieces: object) -> list[int]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "_write_output", full)
    ends, entry = Ends(journal), Entry("a", "d", now())
    ends.keep(entry, End(ended("a"), Kept(b"x" * 10, b"", 10)))
    entry.finish()
    assert [(stored.head, stored.total) for stored in ends.streams(entry)] == [
        (0, 10),
        (0, 0),
        (0, 0),
    ]
    journal.close()


def test_a_page_of_the_journal_ends_before_it_is_large() -> None:
    with Pod(limits={"outputBytes": 1 << 20}) as pod:
        code = "import sys; sys.stdout.write(chr(0) * 16384); sys.stderr.write(chr(0) * 16384)"
        ids = [pod.python(code)["id"] for _ in range(8)]
        seen: list[str] = []
        after = 0
        while len(seen) < len(ids):
            answer = pod.exchange("GET", f"/v1/journal?maxOutput=16384&after={after}")
            page = json.loads(answer.body)
            assert page["executions"], "never an empty page before the end"
            assert len(answer.body) < JOURNAL_BYTES + 1024
            seen += [each["id"] for each in page["executions"]]
            after = page["next"]
        assert seen == ids


def test_all_ends_that_are_not_there_are_counted() -> None:
    known = [ended(f"x{number}") for number in range(64)]
    told = json.loads(termination_message("Idle", known, beyond=6))
    assert told["dropped"] + len(told["executions"]) == 70


async def test_no_second_answer_is_written_into_one_that_was_begun() -> None:
    api = Api(cast(Any, SimpleNamespace(metrics=Metrics())), *[cast(Any, None)] * 3)

    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise KeyError("a bug")

    app = web.Application(middlewares=[api.problems])
    app.router.add_get("/", breaks)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    received = b""
    async with ClientSession() as client:
        with pytest.raises((ClientPayloadError, ServerDisconnectedError, ConnectionResetError)):
            async with client.get(f"http://127.0.0.1:{runner.addresses[0][1]}/") as answer:
                received = await answer.read()
    assert received == b""
    await runner.cleanup()
