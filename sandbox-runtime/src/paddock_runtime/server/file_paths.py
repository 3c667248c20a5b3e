"""Paths as clients write them: percent-encoded bytes, relative to the workspace.

They are taken from the request's target as it came. What URL libraries do to a path on its way
(resolving dots, decoding twice, replacing what is not UTF-8) would change which file is meant.
"""

import re
from urllib.parse import quote, unquote_to_bytes

from paddock_runtime.server.file_problems import shown
from paddock_runtime.server.problems import ProblemError, invalid

MAX_NAME, MAX_PATH = 255, 4095
"""Bytes; the kernel's NAME_MAX, and its PATH_MAX without the NUL at the end."""
_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def path_of_target(target: str, prefix: str) -> bytes:
    """The path in a request target such as `/v1/files/a%20b?x=y`, empty if there is none.

    Raises 422.
    """
    encoded = target.partition("?")[0]
    if encoded == prefix.rstrip("/"):
        return b""
    if not encoded.startswith(prefix) or "#" in encoded:
        raise invalid(
            f"path: the request's target must begin with {prefix} as it stands here, and # in it "
            "be written as %23"
        )
    return parse_path(encoded.removeprefix(prefix), "path")


def parse_path(encoded: str, field: str) -> bytes:
    """The bytes of a percent-encoded path, empty for an empty one. Raises 422."""
    path = decode(encoded, field)
    if not path:
        return path
    if len(path) > MAX_PATH:
        raise _refused(field, path, f"is {len(path)} bytes long, more than {MAX_PATH}")
    for name in path.split(b"/"):
        _check(name, path, field)
    return path


def parse_name(encoded: str, field: str) -> bytes:
    """As `parse_path`, for one name."""
    name = decode(encoded, field)
    if name:
        _check(name, name, field)
    if b"/" in name:
        raise _refused(field, name, "holds a slash; give one name")
    return name


def decode(encoded: str, field: str) -> bytes:
    data = encoded.encode("utf-8", "surrogateescape")
    if _STRAY_PERCENT.search(data):
        raise _refused(field, data, "is not percent-encoded; write % itself as %25")
    return unquote_to_bytes(data)


def href(path: bytes) -> str:
    """What `parse_path` turns back into `path`."""
    return quote(path, safe="/")


def raw_parameter(target: str, name: str) -> str:
    """A query parameter as it was sent, without any decoding; empty where it is absent."""
    for pair in target.partition("?")[2].split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            return value
    return ""


def _check(name: bytes, path: bytes, field: str) -> None:
    if name in (b"", b".", b".."):
        raise _refused(
            field,
            path,
            f"has the component {name.decode()!r}; write it plainly, such as data/in.csv",
        )
    if b"\0" in name:
        raise _refused(field, path, "holds a NUL byte, which no name can have")
    if len(name) > MAX_NAME:
        raise _refused(
            field, path, f"has a name of {len(name)} bytes; {MAX_NAME} is the most there can be"
        )


def _refused(field: str, path: bytes, what: str) -> ProblemError:
    return invalid(f"{field}: {shown(path)} {what}")
