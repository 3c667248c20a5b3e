"""Server-sent events, read as they come."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ACCEPT = {"Accept": "text/event-stream"}


@dataclass(frozen=True)
class Event:
    """`kind` is 'comment' for what is not an event, with its text in `id`."""

    kind: str
    id: str
    data: dict[str, Any]

    @property
    def is_output(self) -> bool:
        return self.kind in ("stdout", "stderr")


def events(answer: http.client.HTTPResponse) -> Iterator[Event]:
    """Until the stream ends."""
    fields: dict[str, str] = {}
    for raw in iter(answer.readline, b""):
        line = raw.decode().rstrip("\r\n")
        name, _, value = line.partition(":")
        if line and not name:
            yield Event("comment", value.strip(), {})
        elif line:
            assert name not in fields, f"a second {name} in one event"
            fields[name] = value.removeprefix(" ")
        elif "event" in fields:
            yield Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
        else:  # a time to wait before coming back, or nothing
            fields = {}
    assert not fields, f"the stream broke off in an event: {fields}"


def joined(some: list[Event], kind: str = "stdout") -> str:
    """The text of a stream; no byte twice and none missing."""
    whole = ""
    for event in some:
        if event.kind == kind:
            assert event.data["offset"] == len(whole.encode()) + event.data["omitted"]
            whole += event.data["text"]
    return whole
