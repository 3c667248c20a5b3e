"""Keeps the head and the tail of a stream, with exact counts, and shows them as text."""

from dataclasses import dataclass

from paddock_api.messages import Output


@dataclass(frozen=True, slots=True)
class Kept:
    """Raw bytes of one ended stream: `head + gap + tail` is `total` bytes long."""

    head: bytes = b""
    tail: bytes = b""
    total: int = 0

    @property
    def omitted(self) -> int:
        return self.total - len(self.head) - len(self.tail)


NOTHING = Kept()


class StreamKeeper:
    """Takes everything, keeps `limit` bytes: the first half and the last half.

    It never holds more than `limit`: the tail is a ring, since the runtime's memory is sized by
    what all running executions together may keep.
    """

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
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
        data = data[-self._tail_limit :]
        room = self._tail_limit - len(self._tail)
        self._tail += data[:room]
        data = data[room:]
        until_wrap = self._tail_limit - self._oldest
        self._tail[self._oldest : self._oldest + len(data)] = data[:until_wrap]
        self._tail[: len(data[until_wrap:])] = data[until_wrap:]
        self._oldest = (self._oldest + len(data)) % self._tail_limit

    def take(self) -> Kept:
        """What was kept; nothing may be added afterwards."""
        head, self._head = bytes(self._head), bytearray()
        ring, self._tail = memoryview(bytes(self._tail)), bytearray()
        return Kept(head, b"".join((ring[self._oldest :], ring[: self._oldest])), self.total)


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


def text_form(shown: Kept) -> Output:
    """The wire form. Invalid bytes that the program wrote become U+FFFD."""
    return Output(
        head=_text(shown.head), tail=_text(shown.tail), bytes=shown.total, omitted=shown.omitted
    )


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


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
