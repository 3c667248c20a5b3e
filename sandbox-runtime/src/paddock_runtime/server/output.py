"""Keeps the head and the tail of a stream, with exact counts, and shows them as text."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

from paddock_api.executions import Output, OutputEncoding

Piece = tuple[int, bytes]
"""How many bytes before it were not kept, and what follows them."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the bytes of a stream are: `part(begin, length)` gives those of head and tail, put
    together, as far as both lie in the same of the two; nothing once they have been dropped."""

    head: int
    tail: int
    total: int
    part: Callable[[int, int], bytes]

    def read(self, offset: int, size: int) -> Piece:
        """Up to `size` bytes from `offset` on, or from where bytes are kept again."""
        omitted = 0
        if offset < self.head:
            data = self.part(offset, min(size, self.head - offset))
            if len(data) < size and self.head + self.tail == self.total:
                data += self.part(self.head, min(size - len(data), self.tail))
        else:
            begin = offset - (self.total - self.tail)
            omitted, begin = max(0, -begin), max(0, begin)
            data = self.part(self.head + begin, max(0, min(size, self.tail - begin)))
        return (omitted, data) if data else (max(0, self.total - offset), b"")


@dataclass(frozen=True, slots=True)
class Kept:
    """Raw bytes of one ended stream: `head + gap + tail` is `total` bytes long."""

    head: bytes = b""
    tail: bytes = b""
    total: int = 0

    @property
    def omitted(self) -> int:
        return self.total - len(self.head) - len(self.tail)

    @property
    def stored(self) -> "Stored":
        return Stored(len(self.head), len(self.tail), self.total, self._part)

    def _part(self, begin: int, length: int) -> bytes:
        if begin < len(self.head):
            return self.head[begin : begin + length]
        begin -= len(self.head)
        return self.tail[begin : begin + length]


NOTHING = Kept()


class StreamKeeper:
    """Takes everything, keeps `head_limit` bytes of its beginning and `tail_limit` of its end.

    It never holds more than that: the tail is a ring, since the runtime's memory is sized by
    what all running executions together may keep.
    """

    def __init__(self, head_limit: int, tail_limit: int) -> None:
        self._head_limit = head_limit
        self._tail_limit = tail_limit
        self._head = bytearray()
        self._tail = bytearray()
        self._oldest = 0
        """Where the ring begins; it is written there next once it is full."""
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data or not self._tail_limit:
            return
        data = data[-self._tail_limit :]
        room = self._tail_limit - len(self._tail)
        self._tail += data[:room]
        data = data[room:]
        until_wrap = self._tail_limit - self._oldest
        self._tail[self._oldest : self._oldest + len(data)] = data[:until_wrap]
        self._tail[: len(data[until_wrap:])] = data[until_wrap:]
        self._oldest = (self._oldest + len(data)) % self._tail_limit

    def read(self, offset: int, size: int) -> Piece:
        """As `Stored.read`, of what has come so far."""
        stored = Stored(len(self._head), len(self._tail), self.total, self._part)
        return stored.read(offset, size)

    def kept(self) -> Kept:
        """A copy of what is kept so far."""
        ring = memoryview(self._tail)
        tail = b"".join((ring[self._oldest :], ring[: self._oldest]))
        return Kept(bytes(self._head), tail, self.total)

    def take(self) -> Kept:
        """What was kept; nothing may be added afterwards."""
        kept = self.kept()
        self._head, self._tail = bytearray(), bytearray()
        return kept

    def _part(self, begin: int, length: int) -> bytes:
        """Of the head, or of the ring unrolled."""
        if begin < len(self._head):
            return bytes(self._head[begin : begin + length])
        start = self._oldest + begin - len(self._head)
        if start >= len(self._tail):
            start -= len(self._tail)
        first = self._tail[start : start + length]
        return bytes(first + self._tail[: length - len(first)])


def cut(kept: Kept, max_output: int | None = None) -> Kept:
    """What an answer shows. With `max_output` only that many last bytes come, as `tail`.

    Where bytes are left out, a character that the cut went through is left out whole and its
    bytes are counted as omitted.
    """
    if max_output is not None:
        whole = kept.tail if kept.omitted else kept.head + kept.tail
        last = whole[len(whole) - max_output :] if max_output < len(whole) else whole
        return Kept(b"", after_cut(last) if len(last) < kept.total else last, kept.total)
    if not kept.omitted:
        return Kept(kept.head + kept.tail, b"", kept.total)
    return Kept(before_cut(kept.head), after_cut(kept.tail), kept.total)


def wire_form(shown: Kept, encoding: OutputEncoding = OutputEncoding.UTF8) -> Output:
    """As text, invalid bytes that the program wrote becoming U+FFFD, or in base64."""
    return Output(
        head=encoded(shown.head, encoding),
        tail=encoded(shown.tail, encoding),
        bytes=shown.total,
        omitted=shown.omitted,
        encoding=encoding,
    )


def encoded(data: bytes, encoding: OutputEncoding) -> str:
    if encoding is OutputEncoding.BASE64:
        return base64.b64encode(data).decode()
    return data.decode("utf-8", errors="replace")


def before_cut(data: bytes) -> bytes:
    """Without the beginning of a character whose rest is behind the cut."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 != 0b1000_0000:
            return data[:-back] if _length(byte) > back else data
    return data


def after_cut(data: bytes) -> bytes:
    """Without the end of a character that began before the cut."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0b1100_0000 == 0b1000_0000:
        start += 1
    return data[start:]


def _length(lead: int) -> int:
    """Bytes of the UTF-8 character that this byte begins; 1 for what begins none."""
    if 0xC2 <= lead <= 0xDF:
        return 2
    if 0xE0 <= lead <= 0xEF:
        return 3
    return 4 if 0xF0 <= lead <= 0xF4 else 1
