"""
What the programs of L{bench.rivals} share; they may run in an environment of
their own, so this imports nothing.

Each prints a line of JSON that the other is told, connects, and then A sends
what it is told to: eight bytes with the count, and so many bytes.  B answers with
one byte when it has them all, and A says how many seconds it took.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

#: What A writes at a time.
CHUNK = os.urandom(1 << 18)


def say(**what: object) -> None:
    """
    One line.
    """
    print(json.dumps(what), flush=True)


async def told() -> dict[str, Any]:
    """
    @return: the next line; there is an end with the last one.
    """
    loop = asyncio.get_running_loop()
    line = await loop.run_in_executor(None, sys.stdin.readline)
    if not line:
        raise SystemExit
    return dict(json.loads(line))


async def source(
    write: Callable[[bytes], Awaitable[object]],
    answered: Callable[[], Awaitable[object]],
    chunk: bytes = CHUNK,
) -> None:
    """
    Send whenever we are told to.
    """
    say(connected=True)
    while True:
        left = (await told())["bytes"]
        began = time.monotonic()
        await write(left.to_bytes(8, "big"))
        while left > 0:
            await write(chunk if left >= len(chunk) else chunk[:left])
            left -= len(chunk)
        await answered()
        say(seconds=time.monotonic() - began)


class Counter:
    """
    I count what B gets.

    @ivar left: how many bytes are missing, L{None} when that is not known.
    """

    def __init__(self) -> None:
        self.left: int | None = None
        self._head = b""

    def got(self, data: bytes) -> bool:
        """
        @return: whether everything is there.
        """
        if self.left is None:
            self._head += data
            if len(self._head) < 8:
                return False
            self.left = int.from_bytes(self._head[:8], "big")
            data, self._head = self._head[8:], b""
        self.left -= len(data)
        if self.left > 0:
            return False
        self.left = None
        return True
