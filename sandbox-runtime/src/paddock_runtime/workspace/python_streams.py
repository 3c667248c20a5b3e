"""sys.stdin, sys.stdout and sys.stderr as the interpreter makes them for pipes."""

import codecs
import io
import os
import sys
from typing import Any

BUFFER_BYTES = 4096 if sys.version_info < (3, 14) else io.DEFAULT_BUFFER_SIZE
"""What the interpreter gives a pipe."""


def open_streams_early() -> None:
    """In the fork server, for programs whose descriptors are pipes.

    A stream asks once what its descriptor is: opened on ours, which are none, sys.stdout would
    seek when it is reconfigured, and fail.
    """
    kept = [os.dup(descriptor) for descriptor in range(3)]
    ends = os.pipe()
    for descriptor in range(3):
        os.dup2(ends[min(descriptor, 1)], descriptor)
    open_streams()
    for descriptor, copy in enumerate(kept):
        os.dup2(copy, descriptor)
    for descriptor in (*ends, *kept):
        os.close(descriptor)


def open_streams(unbuffered: bool = False, encoding: str = "") -> None:
    """All three, on descriptors 0, 1 and 2. `encoding` is PYTHONIOENCODING.

    Raises LookupError for an encoding that is not known.
    """
    name, errors = _encoding(encoding)
    sys.stdin = sys.__stdin__ = _stream(0, "<stdin>", name, errors, False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "<stdout>", name, errors, unbuffered)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(  # type: ignore[misc]
        2, "<stderr>", name, "backslashreplace", unbuffered
    )


def _encoding(setting: str) -> tuple[str, str]:
    name, _, errors = setting.partition(":")
    return codecs.lookup(name).name if name else "utf-8", errors or "strict"


def _stream(descriptor: int, name: str, encoding: str, errors: str, unbuffered: bool) -> Any:
    mode = "r" if descriptor == 0 else "w"
    raw = io.FileIO(descriptor, mode, closefd=False)
    raw.name = name
    kind = io.BufferedReader if descriptor == 0 else io.BufferedWriter
    buffer: Any = raw if unbuffered and descriptor else kind(raw, BUFFER_BYTES)
    stream = io.TextIOWrapper(
        buffer,
        encoding=encoding,
        errors=errors,
        newline="\n",
        line_buffering=descriptor == 2,
        write_through=unbuffered,
    )
    setattr(stream, "mode", mode)  # noqa: B010 - the interpreter sets it too
    return stream


def flush(stream: Any) -> BaseException | None:
    """What went wrong, None where nothing did or there is nothing to flush."""
    try:
        if stream is not None and not _closed(stream):
            stream.flush()
    except BaseException as error:
        return error
    return None


def _closed(stream: Any) -> bool:
    try:
        return bool(stream.closed)
    except Exception:
        return False
