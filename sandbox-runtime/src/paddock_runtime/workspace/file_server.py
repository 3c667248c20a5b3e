"""The file server: one process that does for the runtime what needs a path in the workspace.

It is forked before any user code exists, as the workspace's user, and kept by the kernel to the
workspace's directory. Content does not pass through it: it opens files and hands the runtime
their descriptors. It never waits for anything but the next request.
"""

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import time
import traceback
from collections import deque
from typing import NoReturn

from ..confinement import Prepared, confine_file_server, harden_server
from ..file_protocol import (
    MAX_MESSAGE,
    Abort,
    Answer,
    Code,
    Commit,
    Create,
    Delete,
    Expire,
    List,
    MakeDirectory,
    Measure,
    Move,
    Numbered,
    Open,
    decode_request,
    encode_answer,
    unwire,
)
from . import file_operations as operations
from .beneath import Refused, Root
from .disk import DiskMeter
from .file_operations import Done, Step
from .settings import Settings
from .uploads import Uploads

SLICE = 0.01
"""Seconds that what takes long gets before the next request is looked at."""
_CODES: dict[int, Code] = {
    errno.ENOENT: "NotFound",
    errno.EXDEV: "PathDenied",
    errno.ELOOP: "PathDenied",
    errno.EACCES: "PermissionDenied",
    errno.EPERM: "PermissionDenied",
    errno.EISDIR: "IsADirectory",
    errno.ENOTDIR: "NotADirectory",
    errno.EEXIST: "Exists",
    errno.ENOTEMPTY: "NotEmpty",
    errno.ENAMETOOLONG: "NameTooLong",
    errno.ENOSPC: "DiskFull",
    errno.EDQUOT: "DiskFull",
    errno.EROFS: "ReadOnly",
    errno.EAGAIN: "FileBusy",
    errno.EBUSY: "FileBusy",
    errno.ETXTBSY: "FileBusy",
    errno.EMFILE: "FileServerBusy",
    errno.ENFILE: "FileServerBusy",
    errno.ENOMEM: "FileServerBusy",
    errno.ETOOMANYREFS: "FileServerBusy",
}


def serve_files(channel: socket.socket, settings: Settings, prepared: Prepared) -> NoReturn:
    """Body of the forked process. `channel` is the only descriptor that it keeps."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.umask(0o022)
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, 1 << 20)
        confine_file_server(prepared, settings.workspace_dir, settings.temporary_dir)
        harden_server()
        gc.enable()
        FileServer(channel, settings).run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


class FileServer:
    """The loop between the runtime's socket and what is being done."""

    def __init__(self, channel: socket.socket, settings: Settings) -> None:
        self._channel = channel
        self._root = Root(settings.workspace_dir)
        self._uploads = Uploads(self._root)
        self._places = (settings.workspace_dir, settings.temporary_dir)
        self._long: deque[tuple[Numbered, Step]] = deque()
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def run(self) -> None:
        """Until the runtime closes its end."""
        while True:
            if self._poll.poll(0 if self._long else None):
                data = self._channel.recv(MAX_MESSAGE)
                if not data:
                    return
                request = decode_request(data)
                if isinstance(request, Abort):
                    self._uploads.abort(request.upload)
                else:
                    self._begin(request)
            if self._long:
                self._go_on(*self._long.popleft())

    def _begin(self, request: Numbered) -> None:
        try:
            doing = self._do(request)
        except (OSError, Refused) as error:
            self._answer(_refusal(request.number, error))
            return
        if isinstance(doing, tuple):
            self._done(request, doing)
        else:
            self._go_on(request, doing)

    def _go_on(self, request: Numbered, step: Step) -> None:
        until = time.monotonic() + SLICE
        try:
            while time.monotonic() < until:
                next(step)
        except StopIteration as end:
            self._done(request, end.value)
        except (OSError, Refused) as error:
            self._answer(_refusal(request.number, error))
        else:
            self._long.append((request, step))

    def _do(self, request: Numbered) -> Done | Step:
        root, uploads = self._root, self._uploads
        match request:
            case Open():
                return operations.open_file(root, unwire(request.path))
            case List():
                path, after = unwire(request.path), unwire(request.after)
                return operations.list_directory(root, path, after, request.limit)
            case MakeDirectory():
                return operations.make_directory(root, unwire(request.path))
            case Move():
                source, target = unwire(request.source), unwire(request.target)
                return operations.move(root, source, target, request.overwrite)
            case Delete():
                return operations.delete(root, unwire(request.path), request.recursive)
            case Expire():
                return operations.expire(root, unwire(request.path), request.file, request.born)
            case Create():
                return uploads.create(unwire(request.path), request.exclusive)
            case Commit():
                return uploads.commit(request.upload, request.mode)
            case Measure():
                return self._measure()

    def _measure(self) -> Step:
        meter = DiskMeter(self._places)
        while not meter.step():
            yield
        return {"size": meter.bytes}, None

    def _done(self, request: Numbered, done: Done) -> None:
        fields, descriptor = done
        try:
            self._answer(Answer(request.number, **fields), descriptor)
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
            self._uploads.abort(fields.get("upload", 0))
            self._answer(_refusal(request.number, error))
        finally:
            if descriptor is not None and "upload" not in fields:
                os.close(descriptor)

    def _answer(self, answer: Answer, descriptor: int | None = None) -> None:
        descriptors = [] if descriptor is None else [descriptor]
        with contextlib.suppress(BrokenPipeError):  # the next recv sees the end
            socket.send_fds(self._channel, [encode_answer(answer)], descriptors)


def _refusal(number: int, error: OSError | Refused) -> Answer:
    if isinstance(error, Refused):
        return Answer(number, error=error.code)
    code = _CODES.get(error.errno or 0, "IOError")
    return Answer(number, error=code, detail=str(error.strerror) if code == "IOError" else "")
