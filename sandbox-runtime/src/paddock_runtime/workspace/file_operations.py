"""What the file server does to files and directories, uploads and removal of trees aside.

What may take long is a generator that yields often: the server is one thread, and goes on with it
between other requests.
"""

import contextlib
import errno
import heapq
import json
import os
import stat
from collections.abc import Generator
from dataclasses import asdict
from typing import Any

from ..file_protocol import LISTING_BYTES, MAX_LISTED, Entry, Kind, wire
from .beneath import READ, Refused, Root
from .file_calls import born_at, rename_unless_exists
from .removal import remove_tree

Step = Generator[None, None, "Done"]
Done = tuple[dict[str, Any], int | None]
"""Fields of the Answer, and a descriptor to go with it."""
_LOOK_EVERY = 256


def open_file(root: Root, path: bytes) -> Done:
    return {}, root.open_file(path)


def list_directory(root: Root, path: bytes, after: bytes, limit: int) -> Step:
    """Holds a few pages of names, however many there are."""
    limit = min(limit, MAX_LISTED)
    directory = root.open(path, READ | os.O_DIRECTORY)
    try:
        names: list[bytes] = []
        with os.scandir(directory) as entries:
            for count, entry in enumerate(entries):
                name = os.fsencode(entry.name)
                if name > after:
                    names.append(name)
                if len(names) > 4 * MAX_LISTED:
                    names = heapq.nsmallest(limit + 1, names)
                if count % _LOOK_EVERY == _LOOK_EVERY - 1:
                    yield
        names = heapq.nsmallest(limit + 1, names)
        found = []
        for name in names[:limit]:
            with contextlib.suppress(FileNotFoundError):  # gone since
                found.append(asdict(look(name, directory)))
    finally:
        os.close(directory)
    last = wire(names[limit - 1]) if len(names) > limit else ""
    return {"last": last}, _in_memory(json.dumps(found).encode())


def make_directory(root: Root, path: bytes) -> Done:
    directory, made = root.open_directory(path, make=True)
    try:
        name = path.rpartition(b"/")[2]
        return {"created": made, "entry": entry_of(name, os.fstat(directory))}, None
    finally:
        os.close(directory)


def move(root: Root, source: bytes, target: bytes, overwrite: bool) -> Done:
    old_parent, old_name = root.open_parent(source)
    try:
        look(old_name, old_parent)  # before directories are made in vain
        new_parent, new_name = root.open_parent(target, make=True)
        try:
            _rename(old_parent, old_name, new_parent, new_name, overwrite)
            return {"entry": look(new_name, new_parent)}, None
        finally:
            os.close(new_parent)
    finally:
        os.close(old_parent)


def delete(root: Root, path: bytes, recursive: bool) -> Step:
    parent, name = root.open_parent(path)
    try:
        if look(name, parent).type != "Directory":
            os.unlink(name, dir_fd=parent)
        elif recursive:
            yield from remove_tree(parent, name)
        else:
            raise Refused("IsADirectory")
    finally:
        os.close(parent)
    return {}, None


def expire(root: Root, path: bytes, file: str, born: int) -> Done:
    """Raises Refused Exists where another file has the name by now."""
    parent, name = root.open_parent(path)
    try:
        found = look(name, parent)
        if (found.type, found.file, born_at(parent, name)) != ("File", file, born):
            raise Refused("Exists")
        os.unlink(name, dir_fd=parent)
    finally:
        os.close(parent)
    return {}, None


def look(name: bytes, directory: int) -> Entry:
    """Raises FileNotFoundError; links are not followed."""
    return entry_of(name, os.stat(name, dir_fd=directory, follow_symlinks=False))


def entry_of(name: bytes, found: os.stat_result) -> Entry:
    kind = _kind(found.st_mode)
    return Entry(
        name=wire(name),
        type=kind,
        size=found.st_size if kind == "File" else 0,
        mode=stat.S_IMODE(found.st_mode),
        modified_ns=found.st_mtime_ns,
        file=f"{found.st_dev}-{found.st_ino}",
    )


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "File"
    if stat.S_ISDIR(mode):
        return "Directory"
    return "Symlink" if stat.S_ISLNK(mode) else "Other"


def _rename(
    old_parent: int, old_name: bytes, new_parent: int, new_name: bytes, overwrite: bool
) -> None:
    try:
        if overwrite:
            os.rename(old_name, new_name, src_dir_fd=old_parent, dst_dir_fd=new_parent)
        else:
            rename_unless_exists(old_parent, old_name, new_parent, new_name)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise Refused("OtherVolume") from error
        raise


def _in_memory(data: bytes) -> int:
    if len(data) > LISTING_BYTES:
        raise ValueError("a page is larger than what its names can take")
    descriptor = os.memfd_create("listing", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    return descriptor
