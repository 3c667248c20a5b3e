"""Programs that look around from inside of a sandbox, and what they saw."""

from typing import Any

from tests.runtime.box import Box, text
from tests.runtime.cases.sse import ACCEPT, events

SEEN = '''
import os
def seen(marker):
    """How many processes have `marker` in their command line; zombies have none."""
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                count += marker in file.read()
        except OSError:
            pass
    return count
def see(marker, count=1):
    """Wait until so many are there."""
    while seen(marker) < count: pass
    return seen(marker)
'''
"""Not for bash -c, whose own command line is its whole text."""

WORD = """
import errno, os
def word(attempt, *arguments):
    try: attempt(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
    return "ok"
"""
"""The errno's name that an attempt ends with."""
POD = "the machine's own files are others than a pod's"
"""Why a case is one for pods only."""


def left_of(box: Box, marker: str) -> int:
    """Processes that are there now with `marker` in their command line."""
    return int(text(box.python(f"{SEEN}\nprint(seen({marker.encode()!r}))")))


def until_said(box: Box, identity: str, expected: str) -> None:
    """Follow an execution until it has written so much to stdout."""
    path, said = f"/v1/executions/{identity}/events", ""
    with box.stream("GET", path, headers=ACCEPT) as answer:
        assert answer.status == 200, answer.read()
        for event in events(answer):
            if event.kind == "stdout":
                said += event.data["text"]
                if said == expected:
                    return
            assert expected.startswith(said)
    raise AssertionError(f"it ended, having said {said!r}")


def good(ended: dict[str, Any]) -> str:
    """stdout of what must have gone well."""
    assert (ended["reason"], ended.get("exitCode")) == ("Exited", 0), str(ended)
    return text(ended)
