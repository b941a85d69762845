"""
Bytes on one stream of iroh's, directly: C{irohbulk.py a|b HOST}.
"""

from __future__ import annotations

import asyncio
import sys

import iroh
from bulk import Counter, say, source, told

ALPN = b"punchd/bulk"


async def main(side: str, host: str) -> None:
    """
    Connect, and send or count.
    """
    options = iroh.EndpointOptions(
        preset=iroh.preset_minimal(),
        relay_mode=iroh.RelayMode.disabled(),
        alpns=[ALPN],
    )
    endpoint = await iroh.Endpoint.bind(options)
    ports = [each.rpartition(":")[2] for each in endpoint.bound_sockets()]
    say(id=str(endpoint.id()), addresses=[f"{host}:{port}" for port in ports])
    other = await told()
    if side == "a":
        id = iroh.EndpointId.from_string(other["id"])
        address = iroh.EndpointAddr(id, None, other["addresses"])
        connection = await endpoint.connect(address, ALPN)
        stream = await connection.open_bi()
        await source(stream.send().write_all, lambda: stream.recv().read(1))
        return
    incoming = await endpoint.accept_next()
    connection = await (await incoming.accept()).connect()
    stream = await connection.accept_bi()
    counter = Counter()
    while True:
        if counter.got(bytes(await stream.recv().read(1 << 18))):
            await stream.send().write_all(b"!")


asyncio.run(main(*sys.argv[1:]))
