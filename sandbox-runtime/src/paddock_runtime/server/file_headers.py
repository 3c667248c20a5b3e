"""What the headers of RFC 9110 mean for a file: ranges, validators, conditions. Pure."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from paddock_runtime.server.file_info import moment
from paddock_runtime.server.problems import ProblemError, invalid

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_MODE = re.compile(r"0?[0-7]{3}")
_NOT_FOR_PUT = (
    "Content-Range",
    "Content-Encoding",
    "If-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
)
DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Part:
    """Which bytes an answer has, and with which status; `length` 0 for a 304."""

    status: int
    start: int
    length: int
    headers: Mapping[str, str]


def part_of(found: os.stat_result, headers: Mapping[str, str], *, whole: bool = False) -> Part:
    """Raises 416. With `whole` a range is not asked for, whatever the headers say."""
    size, tag = found.st_size, etag(found)
    described = {
        "ETag": tag,
        "Last-Modified": formatdate(moment(found.st_mtime_ns).timestamp(), usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
    }
    if _matches(headers.get("If-None-Match"), tag):
        return Part(304, 0, 0, described)
    same = headers.get("If-Range") in (None, tag)
    wanted = None if whole or not same else _RANGE.fullmatch(headers.get("Range", "").strip())
    if wanted is None or wanted.group() == "bytes=-":
        return Part(200, 0, size, described)
    start, end = _bounds(wanted.group(1), wanted.group(2), size)
    if start >= min(end, size):
        raise ProblemError(
            416,
            "RangeNotSatisfiable",
            f"Range: {wanted.group()} has no byte of the file's {size}",
            Content_Range=f"bytes */{size}",
        )
    described["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Part(206, start, end - start, described)


def etag(found: os.stat_result) -> str:
    """Changes with every change of the file. ctime is in it since a program can set mtime back."""
    facts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return f'"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"'


def exclusive(headers: Mapping[str, str]) -> bool:
    """Whether a PUT must not replace anything. Raises 422 for conditions it could not keep."""
    for name in _NOT_FOR_PUT:
        if name in headers:
            raise invalid(f"{name}: a PUT takes the whole content, as it is; send it without this")
    condition = headers.get("If-None-Match")
    if condition not in (None, "*"):
        raise invalid("If-None-Match: a PUT takes only * (write it if nothing has its name)")
    return condition == "*"


def mode_in(text: str | None) -> int:
    """Permission bits, `0644` if absent. Raises 422."""
    if text is None:
        return DEFAULT_MODE
    if not _MODE.fullmatch(text):
        raise invalid(f"mode: {text[:20]!r} is not octal permission bits such as 0644 or 755")
    return int(text, 8)


def _matches(condition: str | None, tag: str) -> bool:
    if condition is None:
        return False
    tags = [each.strip().removeprefix("W/") for each in condition.split(",")]
    return tags == ["*"] or tag in tags


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """Start and end (exclusive). An end before the start leaves nothing."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
