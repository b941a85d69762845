"""
Bytes through magic-wormhole's transit, over TCP: C{wormholebulk.py a|b HOST}.
"""

from __future__ import annotations

import asyncio
import io
import sys

from twisted.internet import asyncioreactor

# What is imported below imports the reactor.
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
asyncioreactor.install(loop)

from bulk import CHUNK, Counter, say, told  # noqa: E402
from twisted.internet import reactor, task  # noqa: E402
from twisted.internet.defer import Deferred, ensureDeferred  # noqa: E402
from twisted.protocols.basic import FileSender  # noqa: E402
from wormhole.transit import TransitReceiver, TransitSender  # noqa: E402

KEY = b"k" * 32


class Endless(io.RawIOBase):
    """
    A file of so many bytes.
    """

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def read(self, size: int = -1) -> bytes:
        """
        Some of them.
        """
        size = min(size, self.left, len(CHUNK))
        self.left -= size
        return CHUNK[:size]


async def main(side: str, host: str) -> None:
    """
    Connect, and send or count.
    """
    kind = TransitSender if side == "a" else TransitReceiver
    transit = kind(None, reactor=reactor, no_listen=side == "a")
    transit.set_transit_key(KEY)
    hints = list(await transit.get_connection_hints())
    say(hints=[{**each, "hostname": host} for each in hints[:1]])
    other = await Deferred.fromFuture(asyncio.ensure_future(told()))
    transit.add_connection_hints(other["hints"])
    connection = await transit.connect()
    if side == "a":
        say(connected=True)
        while True:
            order = await Deferred.fromFuture(asyncio.ensure_future(told()))
            began = reactor.seconds()
            connection.send_record(order["bytes"].to_bytes(8, "big"))
            # As its own "wormhole send" does.
            await FileSender().beginFileTransfer(Endless(order["bytes"]), connection)
            await connection.receive_record()
            say(seconds=reactor.seconds() - began)
    counter = Counter()
    while True:
        if counter.got(await connection.receive_record()):
            connection.send_record(b"!")


task.react(lambda reactor, *words: ensureDeferred(main(*words)), sys.argv[1:])
