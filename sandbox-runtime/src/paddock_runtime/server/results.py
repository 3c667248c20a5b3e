"""What code in a context showed, read from the lines that its interpreter wrote.

The interpreter shares its process with user code, which may write anything into this pipe: it
only fools its own execution, so lines that are not in form are dropped and nothing more.
"""

import json
from typing import Any

from paddock_api.executions import ExecutionError, Result
from paddock_runtime.server.output import Kept

RESULT_BYTES = 1 << 20
"""Kept of one execution's results; the interpreter leaves out single forms that are larger."""
ERROR_BYTES = 64 << 10
"""Of them at the end, where the error is, whatever was displayed before: it is shorter."""
ERROR_CHARACTERS = 8192
"""Of an error's value, and of its traceback: its facts are in the journal's lines. All of it is on
stderr."""


def read_results(kept: Kept) -> tuple[list[Result], ExecutionError | None]:
    """What was shown, in order, and the exception that ended it. A line cut short is dropped."""
    results: list[Result] = []
    error = None
    for line in _lines(kept):
        try:
            item: dict[str, Any] = json.loads(line)
            if item["type"] == "error":
                error = ExecutionError(
                    name=_plain(item["name"])[:200],
                    value=_plain(item["value"])[:ERROR_CHARACTERS],
                    traceback=_last_lines(item["traceback"]),
                )
            else:
                results.append(
                    Result(
                        kind=item["type"],
                        data={_plain(key): _plain(text) for key, text in item["data"].items()},
                        omitted={
                            _plain(key): size for key, size in item.get("omitted", {}).items()
                        },
                    )
                )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return results, error


def _lines(kept: Kept) -> list[bytes]:
    if not kept.omitted:
        return (kept.head + kept.tail).split(b"\n")[:-1]
    return kept.head.split(b"\n")[:-1] + kept.tail.split(b"\n")[1:-1]


def _plain(text: str) -> str:
    """JSON may hold half a character, which no answer could be encoded with."""
    return text.encode("utf-8", "replace").decode()


def _last_lines(lines: list[str]) -> list[str]:
    kept: list[str] = []
    room = ERROR_CHARACTERS
    for line in reversed(lines[-200:]):
        room -= len(line) + 1
        if room < 0:
            break
        kept.insert(0, _plain(line))
    return kept
