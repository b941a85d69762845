"""
One side of a pair of iroh endpoints: C{irohpeer.py SERVER PORT a|b PUBLIC}.

Its own way to learn the public address needs a certificate that the wheel trusts,
so it is told: the NAT's address with the local port, which is right where the NAT
preserves ports, and of no use where it does not.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import iroh

ALPN = b"punchd/grid"


def say(**what: object) -> None:
    """
    One line.
    """
    print(json.dumps(what), flush=True)


async def main(server: str, port: str, side: str, public: str) -> None:
    """
    Connect, and wait for a direct path.
    """
    relay = f"http://{server}:{port}"
    options = iroh.EndpointOptions(
        preset=iroh.preset_minimal(),
        relay_mode=iroh.RelayMode.custom_from_urls([relay]),
        alpns=[ALPN],
    )
    endpoint = await iroh.Endpoint.bind(options)
    for each in endpoint.bound_sockets():
        host, _, own = each.rpartition(":")
        if "[" not in host:
            await endpoint.add_external_addr(f"{public}:{own}")
    await endpoint.online()
    say(id=str(endpoint.id()), addresses=endpoint.addr().direct_addresses())
    loop = asyncio.get_running_loop()
    other = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    began = time.monotonic()
    if side == "b":
        incoming = await endpoint.accept_next()
        connection = await (await incoming.accept()).connect()
        stream = await connection.accept_bi()
        data = await stream.recv().read(1)
        await stream.send().write_all(data)
    else:
        address = iroh.EndpointAddr(iroh.EndpointId.from_string(other["id"]), relay, [])
        connection = await endpoint.connect(address, ALPN)
        stream = await connection.open_bi()
        await stream.send().write_all(b"x")
        await stream.recv().read(1)
        say(connected=True, seconds=time.monotonic() - began)
    while not any(path.is_selected and path.is_ip for path in connection.paths()):
        await asyncio.sleep(0.001)
    say(connected=True, direct=True, seconds=time.monotonic() - began)
    await asyncio.sleep(60)


asyncio.run(main(*sys.argv[1:]))
