"""One watch on its way through the proxy: events are dropped, held, doubled, swapped or cut."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
from tests.faults.faults import Armed, Cut, Drop, Late, Silence, Swap, Twice
from tests.faults.requests import Request

Write = Callable[[bytes], Awaitable[None]]

SWAP_S = 1.0
GONE = {
    "type": "ERROR",
    "object": {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "too old resource version: 1 (2)",
        "reason": "Expired",
        "code": 410,
    },
}


class Relay:
    """From the API server's stream to the operator's, line by line."""

    def __init__(self, watch: Request, armed: Armed, injected: Counter[str]) -> None:
        self.watch = watch
        self.armed = armed
        self._injected = injected
        self._cut = asyncio.Event()
        self._arrived: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue()

    def cut(self) -> None:
        """End it now."""
        self._cut.set()

    async def run(self, source: aiohttp.StreamReader, write: Write) -> None:
        """Until either side or a fault ends it."""
        tasks = [
            asyncio.create_task(self._read(source)),
            asyncio.create_task(self._write(write)),
            asyncio.create_task(self._cut.wait()),
        ]
        try:
            await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, source: aiohttp.StreamReader) -> None:
        """Whole lines, however long: an object may be larger than a reader's line limit."""
        clock = asyncio.get_running_loop().time
        rest = b""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async for chunk in source.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    self._arrived.put_nowait((clock(), line + b"\n"))
        self._arrived.put_nowait((clock(), None))

    async def _write(self, write: Write) -> None:
        held: bytes | None = None
        while True:
            try:
                async with asyncio.timeout(SWAP_S if held else None):
                    arrived, line = await self._arrived.get()
            except TimeoutError:
                assert held is not None
                await write(held)
                held = None
                continue
            if line is None:
                return
            rule = self.armed.on_event(self.watch, str(json.loads(line).get("type")))
            if rule is not None:
                self._injected[rule.name] += 1
            match rule.fault if rule else None:
                case Drop():
                    continue
                case Silence():
                    await asyncio.Event().wait()
                case Cut(gone=gone):
                    if gone:
                        await write(json.dumps(GONE).encode() + b"\n")
                    return
                case Late(seconds=seconds):
                    now = asyncio.get_running_loop().time()
                    await asyncio.sleep(max(0.0, arrived + seconds - now))
                case Swap() if held is None:
                    held = line
                    continue
                case Twice():
                    await write(line)
            await write(line)
            if held is not None:
                await write(held)
                held = None
