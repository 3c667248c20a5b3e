"""Executions as JSON, in pieces where the output is large.

A whole answer may hold 8 MiB of output, and JSON writes one byte as six: made at once it would
take more memory than the runtime has (measured: 140 MB above the rest).
"""

import base64
import codecs
import json
from collections.abc import AsyncIterator, Iterator

from paddock_api.executions import Execution, OutputEncoding
from paddock_runtime.server.output import Kept
from paddock_runtime.server.records import End

WHOLE_BYTES = 256 << 10
"""Of output; up to here an answer is made at once."""
_PIECE = 48 << 10
"""A multiple of 3: base64 of the pieces is then base64 of the whole."""


async def in_pieces(facts: Execution, end: End, encoding: OutputEncoding) -> AsyncIterator[bytes]:
    """The JSON of an ended execution: `facts`, and the output of `end`."""
    text = facts.model_dump_json(by_alias=True, exclude_none=True, exclude={"stdout", "stderr"})
    yield text[:-1].encode()
    for name, shown in (("stdout", end.stdout), ("stderr", end.stderr)):
        for piece in _output(name, shown, encoding):
            yield piece
    yield b"}"


def _output(name: str, shown: Kept, encoding: OutputEncoding) -> Iterator[bytes]:
    yield f',"{name}":{{"head":"'.encode()
    yield from _inside(shown.head, encoding)
    yield b'","tail":"'
    yield from _inside(shown.tail, encoding)
    counts = f'"bytes":{shown.total},"omitted":{shown.omitted}'
    yield f'",{counts},"encoding":"{encoding}"}}'.encode()


def _inside(data: bytes, encoding: OutputEncoding) -> Iterator[bytes]:
    """What stands between the quotes."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        if encoding is OutputEncoding.BASE64:
            yield base64.b64encode(piece)
        else:
            text = decoder.decode(piece, start + _PIECE >= len(data))
            yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
