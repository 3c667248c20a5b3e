"""A file on its way in: it counts against the limits, and is there whole or not at all."""

import errno

from paddock_runtime import file_protocol as wire
from paddock_runtime.server.disk_budget import DiskBudget
from paddock_runtime.server.file_content import OpenFile
from paddock_runtime.server.file_link import FileLink
from paddock_runtime.server.file_problems import refused, shown
from paddock_runtime.server.problems import ProblemError

ENTRY_BYTES = 4096
"""What a file counts for besides its content, as in `workspace/disk.py`."""
_CODES: dict[int | None, wire.Code] = {errno.ENOSPC: "DiskFull", errno.EDQUOT: "DiskFull"}


class FileUpload:
    """`expect`, `begin`, any number of `write`, then `commit` or `abort`. Raises ProblemError.

    `limit` is the most bytes a file may have.
    """

    def __init__(self, path: bytes, link: FileLink, budget: DiskBudget, limit: int | None) -> None:
        self.path = path
        self.written = 0
        self._link = link
        self._budget = budget
        self._limit = limit
        self._reserved = 0
        self._number = 0
        self._content: OpenFile | None = None
        self._over = False

    async def expect(self, size: int) -> None:
        """Room for the entry and so much content."""
        self._refuse_large(size)
        await self._reserve(ENTRY_BYTES + size)

    def begin(self, number: int, content: OpenFile) -> None:
        """The file server has made it."""
        self._number, self._content = number, content

    async def write(self, data: bytes) -> None:
        if self._content is None:
            raise AssertionError("not begun")
        whole = self.written + len(data)
        self._refuse_large(whole)
        if ENTRY_BYTES + whole > self._reserved:
            await self._reserve(ENTRY_BYTES + whole - self._reserved)
        try:
            await self._content.write(data)
        except OSError as error:
            raise self._failed(error) from error
        self.written = whole

    async def commit(self, mode: int) -> wire.Answer:
        """The file has its name when this returns. `abort` does nothing from now on."""
        if self._content is None:
            raise AssertionError("not begun")
        self._over = True
        try:
            await self._content.finish()
            answer = await self._link.ask(
                self.path, lambda number: wire.Commit(number, self._number, mode)
            )
        except BaseException as error:
            self._give_up()
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise
        self._budget.settle(self._reserved)
        return answer

    def abort(self) -> None:
        """Nothing has changed."""
        if not self._over:
            self._over = True
            self._give_up()

    def _give_up(self) -> None:
        if self._content is not None:
            self._content.close()
            self._link.abort(self._number)
        self._budget.release(self._reserved)

    async def _reserve(self, size: int) -> None:
        await self._budget.reserve(size)
        self._reserved += size

    def _refuse_large(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise ProblemError(
                413,
                "FileTooLarge",
                f"path: {shown(self.path)}: {size} bytes are more than the {self._limit} that "
                "the template allows a file; write it in parts",
            )

    def _failed(self, error: OSError) -> ProblemError:
        code = _CODES.get(error.errno, "IOError")
        return refused(code, "path", self.path, error.strerror or "")
