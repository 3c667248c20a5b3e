"""Query parameters of the runtime API."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from paddock_runtime.server.problems import invalid

LONGEST_WAIT = 60.0
_DURATION = re.compile(r"^(?:[0-9]{1,9}(?:ms|s|m|h))+$")
_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
W = TypeVar("W", bound=StrEnum)


def refuse_unknown(query: Mapping[str, str], *known: str) -> None:
    """A parameter that would be ignored is most often one that was meant otherwise."""
    names = [name for name, _ in query.items()]  # of two alike, both
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"{name[:40]}: is given more than once")
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none"
            raise invalid(f"{name[:40]}: is no parameter of this call, which {takes}")


def duration(query: Mapping[str, str], name: str) -> float | None:
    """A parameter such as `20s` in seconds; None where it is absent."""
    text = query.get(name)
    if text is None:
        return None
    if not _DURATION.match(text):
        raise invalid(f"{name}: {text[:40]!r} is not a duration such as 500ms, 20s, 5m or 1h")
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def wait_seconds(query: Mapping[str, str]) -> float:
    """`wait=20s`: how long the call waits for the end, which it does not influence."""
    seconds = duration(query, "wait") or 0.0
    if seconds > LONGEST_WAIT:
        raise invalid(
            f"wait: {query['wait'][:40]} is longer than {LONGEST_WAIT:.0f}s; ask again instead"
        )
    return seconds


def whole_number(query: Mapping[str, str], name: str, default: int | None) -> int | None:
    """A parameter that counts something; `default` where it is absent."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise invalid(f"{name}: {text[:40]!r} is not a whole number, zero or more")
    return int(text)


def flag(query: Mapping[str, str], name: str) -> bool:
    """`true` or `false`; absent is false."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise invalid(f"{name}: {text[:40]!r} is neither true nor false")
    return text == "true"


def word(query: Mapping[str, str], name: str, words: type[W], default: W | None) -> W | None:
    """One of a closed vocabulary; `default` where it is absent."""
    text = query.get(name)
    if text is None:
        return default
    try:
        return words(text)
    except ValueError:
        raise invalid(f"{name}: {text[:40]!r} is none of {', '.join(words)}") from None
