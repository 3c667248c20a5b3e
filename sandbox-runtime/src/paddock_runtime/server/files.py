"""The sandbox's files: what clients may do with them. Raises ProblemError."""

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import FailFast, TypeAdapter, ValidationError

from paddock_api.files import DirectoryPage, FileInfo
from paddock_api.messages import Limits
from paddock_runtime import file_protocol as wire
from paddock_runtime.server.disk_budget import DiskBudget
from paddock_runtime.server.expiries import Expiries, Expiry
from paddock_runtime.server.file_content import FileThreads, OpenFile
from paddock_runtime.server.file_info import in_seconds, info
from paddock_runtime.server.file_link import FileLink
from paddock_runtime.server.file_paths import href
from paddock_runtime.server.file_problems import unavailable
from paddock_runtime.server.file_sweeper import FileSweeper
from paddock_runtime.server.file_upload import ENTRY_BYTES, FileUpload
from paddock_runtime.server.metrics import Metrics
from paddock_runtime.server.problems import ProblemError

TRANSFERS = 8
"""Files whose content comes or goes at once, each with a piece of 256 KiB in memory."""
_LISTING = TypeAdapter(Annotated[list[wire.Entry], FailFast()])
"""Of two million wrong entries the first will do: each error takes a kilobyte."""


class Files:
    """Needs a running loop. Raises OSError where `journal` is unusable."""

    def __init__(self, limits: Limits, journal: Path, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._threads = FileThreads()
        self._link = FileLink()
        self._budget = DiskBudget(limits.disk_bytes, self._measure)
        self._expiries = Expiries(journal)
        self._sweeper = FileSweeper(self._expiries, self._link, metrics)
        self._sweeper.arm()
        self.transfers = 0
        """Under way."""

    @property
    def busy(self) -> bool:
        return self.transfers > 0

    @property
    def connections(self) -> int:
        """How many file servers there have been."""
        return self._link.connections

    def connect(self, descriptor: int) -> None:
        """The socket of a file server that has started, which is this one's from now on."""
        self._link.connect(descriptor)

    def workspace_lost(self) -> None:
        self._link.lost()

    def close(self) -> None:
        self._sweeper.stop()
        self._link.lost()
        self._threads.close()

    @contextlib.contextmanager
    def transfer(self) -> Iterator[None]:
        """While content comes or goes. Raises 429."""
        if self.transfers >= TRANSFERS:
            raise ProblemError(
                429,
                "TooManyTransfers",
                f"{TRANSFERS} files are being read or written already; try again later",
                Retry_After="1",
            )
        self.transfers += 1
        try:
            yield
        finally:
            self.transfers -= 1

    async def open(self, path: bytes) -> OpenFile:
        name = wire.wire(path)
        _, descriptor = await self._link.open(path, lambda n: wire.Open(n, name))
        return self._checked(descriptor, os.O_RDONLY)

    async def create(
        self, path: bytes, size: int, *, exclusive: bool = False, expires: bool = False
    ) -> FileUpload:
        """A file of `size` bytes or more, which gets its name by `commit`."""
        if expires:
            self._expiries.refuse_if_full(path)
        upload = FileUpload(path, self._link, self._budget, self._limits.file_bytes)
        await upload.expect(size)
        try:
            name = wire.wire(path)
            answer, descriptor = await self._link.open(
                path, lambda n: wire.Create(n, name, exclusive)
            )
            upload.begin(answer.upload, self._checked(descriptor, os.O_WRONLY))
        except BaseException:
            upload.abort()
            raise
        return upload

    async def commit(
        self, upload: FileUpload, mode: int, ttl: float | None
    ) -> tuple[FileInfo, bool]:
        """The file, and whether nothing had its name before."""
        answer = await upload.commit(mode)
        path, entry = upload.path, _entry_in(answer)
        if ttl is None:
            self._expiries.drop(path)
        else:
            self._expiries.set(path, Expiry(self._loop.time() + ttl, entry.file, answer.born))
            self._sweeper.arm()
        self._metrics.file_operations["write"] += 1
        self._metrics.file_bytes["written"] += upload.written
        return self._info(path, entry), answer.created

    async def list(self, path: bytes, after: bytes, limit: int) -> DirectoryPage:
        name, behind = wire.wire(path), wire.wire(after)
        answer, descriptor = await self._link.open(
            path, lambda n: wire.List(n, name, behind, limit)
        )
        where = path + b"/" if path else b""
        entries = [self._info(where + name, entry) for name, entry in _read_listing(descriptor)]
        self._metrics.file_operations["list"] += 1
        return DirectoryPage(entries=entries, next=href(wire.unwire(answer.last)) or None)

    async def make_directory(self, path: bytes) -> tuple[FileInfo, bool]:
        name, size = wire.wire(path), ENTRY_BYTES * (path.count(b"/") + 1)
        await self._budget.reserve(size)
        try:
            answer = await self._link.ask(path, lambda n: wire.MakeDirectory(n, name))
        except BaseException:
            self._budget.release(size)
            raise
        if answer.created:
            self._budget.settle(size)
        else:
            self._budget.release(size)
        self._metrics.file_operations["mkdir"] += 1
        return self._info(path, _entry_in(answer)), answer.created

    async def move(self, source: bytes, target: bytes, overwrite: bool) -> FileInfo:
        old, new = wire.wire(source), wire.wire(target)
        answer = await self._link.ask(
            source + b" -> " + target,
            lambda n: wire.Move(n, old, new, overwrite),
            "source or target",
        )
        if source != target:
            self._expiries.drop(target)
            self._expiries.moved(source, target)
        self._metrics.file_operations["move"] += 1
        return self._info(target, _entry_in(answer))

    async def delete(self, path: bytes, recursive: bool) -> None:
        name = wire.wire(path)
        await self._link.ask(path, lambda n: wire.Delete(n, name, recursive))
        self._expiries.drop(path)
        self._metrics.file_operations["delete"] += 1

    async def _measure(self) -> int:
        return (await self._link.ask(b"", wire.Measure)).size

    def _info(self, path: bytes, entry: wire.Entry) -> FileInfo:
        expiry = self._expiries.get(path, entry.file)
        at = None if expiry is None else in_seconds(expiry.at - self._loop.time())
        return info(path, entry, at)

    def _checked(self, descriptor: int, access: int) -> OpenFile:
        try:
            return OpenFile(descriptor, access, self._threads)
        except ValueError as error:
            raise unavailable("FileServerBusy", str(error)) from error


def _entry_in(answer: wire.Answer) -> wire.Entry:
    if answer.entry is None:
        raise unavailable("FileServerBusy", "the file server did not say what it did")
    return answer.entry


def _read_listing(descriptor: int) -> list[tuple[bytes, wire.Entry]]:
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > wire.LISTING_BYTES:
            raise ValueError("a listing in no form")
        data = os.pread(descriptor, found.st_size, 0)
        entries = _LISTING.validate_json(data, strict=True)[: wire.MAX_LISTED]
        return [(wire.unwire(entry.name), entry) for entry in entries]
    except (ValueError, ValidationError, OSError) as error:
        raise unavailable("FileServerBusy", f"the listing cannot be read: {error}") from error
    finally:
        os.close(descriptor)
