"""Query parameters of the runtime API."""

import re
from collections.abc import Mapping

from paddock_runtime.server.problems import invalid

LONGEST_WAIT = 60.0
_DURATION = re.compile(r"^(?:[0-9]{1,9}(?:ms|s|m|h))+$")
_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def wait_seconds(query: Mapping[str, str]) -> float:
    """`wait=20s`: how long the call waits for the end, which it does not influence."""
    text = query.get("wait", "0s")
    if not _DURATION.match(text):
        raise invalid(f"wait: {text!r} is not a duration such as 20s or 500ms")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > LONGEST_WAIT:
        raise invalid(f"wait: {text} is longer than {LONGEST_WAIT:.0f}s; ask again instead")
    return seconds


def whole_number(query: Mapping[str, str], name: str, default: int | None) -> int | None:
    """A parameter that counts something; `default` where it is absent."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise invalid(f"{name}: {text[:40]!r} is not a whole number, zero or more")
    return int(text)
