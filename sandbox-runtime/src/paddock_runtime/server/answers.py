"""Executions as JSON, in pieces where the output is large.

A whole answer may hold 8 MiB of output, and JSON writes one byte as six: made at once it would
take more memory than the runtime has (measured: 140 MB above the rest).
"""

import codecs
import json
from collections.abc import AsyncIterator, Iterator

from paddock_runtime.server.output import Kept
from paddock_runtime.server.records import End

WHOLE_BYTES = 256 << 10
"""Of output; up to here an answer is made at once."""
_PIECE = 64 << 10


async def in_pieces(end: End) -> AsyncIterator[bytes]:
    """The JSON of an ended execution with this output."""
    facts = end.facts.model_dump_json(
        by_alias=True, exclude_none=True, exclude={"stdout", "stderr"}
    )
    yield facts[:-1].encode()
    for name, shown in (("stdout", end.stdout), ("stderr", end.stderr)):
        for piece in _output(name, shown):
            yield piece
    yield b"}"


def _output(name: str, shown: Kept) -> Iterator[bytes]:
    yield f',"{name}":{{"head":"'.encode()
    yield from _text(shown.head)
    yield b'","tail":"'
    yield from _text(shown.tail)
    yield f'","bytes":{shown.total},"omitted":{shown.omitted}}}'.encode()


def _text(data: bytes) -> Iterator[bytes]:
    """What stands between the quotes."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for start in range(0, len(data), _PIECE):
        last = start + _PIECE >= len(data)
        text = decoder.decode(data[start : start + _PIECE], last)
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
