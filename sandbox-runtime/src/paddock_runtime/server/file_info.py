"""Directory entries as clients see them."""

from datetime import UTC, datetime, timedelta

from paddock_api.files import FileInfo, FileType
from paddock_api.messages import EARLIEST, LATEST
from paddock_runtime.file_protocol import Entry, unwire
from paddock_runtime.server.file_paths import href

_LAST_SECOND = LATEST - timedelta(seconds=1)


def info(path: bytes, entry: Entry, expires_at: datetime | None = None) -> FileInfo:
    return FileInfo(
        name=unwire(entry.name).decode("utf-8", errors="replace"),
        href=href(path),
        type=FileType(entry.type),
        size=entry.size,
        mode=f"{entry.mode:04o}",
        modified_at=moment(entry.modified_ns),
        expires_at=expires_at,
    )


def moment(nanoseconds: int) -> datetime:
    """What a program gave a file may be any number; here it is kept in range."""
    seconds = min(max(nanoseconds, 0), int(_LAST_SECOND.timestamp()) * 10**9) / 10**9
    return min(EARLIEST + timedelta(seconds=seconds), _LAST_SECOND)


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
