"""
Two aioice agents that reach each other by a TURN server only.

Usage: aioiceturn.py HOST PORT {udp|tcp|tls} USER PASSWORD

Each allocates at the server; they connect by their relayed addresses, send each
other datagrams and print one JSON object: the types of the candidates, and how
many of the datagrams came.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aioice

SIZES = [1, 3, 200, 1000, 1199, 1400] * 5


async def main(host: str, port: str, transport: str, user: str, password: str) -> None:
    """
    Do all that.
    """
    agents = [
        aioice.Connection(
            ice_controlling=bool(number),
            turn_server=(host, int(port)),
            turn_username=user,
            turn_password=password,
            turn_ssl=transport == "tls",
            turn_transport="udp" if transport == "udp" else "tcp",
            transport_policy=aioice.TransportPolicy.RELAY,
        )
        for number in range(2)
    ]
    await asyncio.gather(*(each.gather_candidates() for each in agents))
    types = sorted({c.type for each in agents for c in each.local_candidates})
    for one, other in (agents, agents[::-1]):
        one.remote_username = other.local_username
        one.remote_password = other.local_password
        for candidate in other.local_candidates:
            await one.add_remote_candidate(candidate)
        await one.add_remote_candidate(None)
    await asyncio.gather(*(each.connect() for each in agents))
    came = await asyncio.gather(exchange(*agents), exchange(*agents[::-1]))
    print(json.dumps({"types": types, "came": came, "sent": len(SIZES)}))
    await asyncio.gather(*(each.close() for each in agents))


async def exchange(one: Any, other: Any) -> int:
    """
    @return: how many datagrams got from one to the other, whole.
    """
    came = 0
    for number, size in enumerate(SIZES):
        data = bytes([number]) * size
        await one.send(data)
        came += await asyncio.wait_for(other.recv(), 10) == data
    return came


asyncio.run(main(*sys.argv[1:]))
