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
    """Takes everything, keeps `limit` bytes: the first half and the last half."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data[-self._tail_limit :]
        if len(self._tail) > 2 * self._tail_limit:
            del self._tail[: -self._tail_limit]

    def kept(self) -> Kept:
        return Kept(bytes(self._head), bytes(self._tail[-self._tail_limit :]), self.total)


def render(kept: Kept, max_output: int | None = None) -> Output:
    """The wire form. With `max_output` only that many last bytes come, as `tail`.

    Where bytes are left out, a character that the cut went through is left out whole and its
    bytes are counted as omitted; invalid bytes that the program wrote become U+FFFD.
    """
    if max_output is not None:
        whole = kept.tail if kept.omitted else kept.head + kept.tail
        last = whole[len(whole) - max_output :] if max_output < len(whole) else whole
        if len(last) < kept.total:
            last = after_cut(last)
        return Output(tail=_text(last), bytes=kept.total, omitted=kept.total - len(last))
    if not kept.omitted:
        return Output(head=_text(kept.head + kept.tail), bytes=kept.total)
    head, tail = before_cut(kept.head), after_cut(kept.tail)
    return Output(
        head=_text(head),
        tail=_text(tail),
        bytes=kept.total,
        omitted=kept.total - len(head) - len(tail),
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
