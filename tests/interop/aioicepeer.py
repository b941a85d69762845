"""
An aioice agent as a process: it talks JSON lines on stdin and stdout.

Usage: aioicepeer.py {controlling|controlled} {4|6} [HOST PORT]

With a TURN server, whose user is C{user:password}, it has no candidate but the
relayed one.

It prints its credentials and candidates, reads ours, connects, prints what it
connected to, and then sends back every datagram that it gets, until stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aioice


async def main(role: str, family: str, *turn: str) -> None:
    """
    Be the other agent.
    """
    relay: dict[str, Any] = {}
    if turn:
        relay = {
            "turn_server": (turn[0], int(turn[1])),
            "turn_username": "user",
            "turn_password": "password",
            "transport_policy": aioice.TransportPolicy.RELAY,
        }
    connection = aioice.Connection(
        ice_controlling=role == "controlling",
        use_ipv4=family == "4",
        use_ipv6=family == "6",
        **relay,
    )
    await connection.gather_candidates()
    say(
        ufrag=connection.local_username,
        password=connection.local_password,
        candidates=[each.to_sdp() for each in connection.local_candidates],
    )
    loop = asyncio.get_running_loop()
    line = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    connection.remote_username = line["ufrag"]
    connection.remote_password = line["password"]
    for each in line["candidates"]:
        await connection.add_remote_candidate(aioice.Candidate.from_sdp(each))
    await connection.add_remote_candidate(None)
    await connection.connect()
    say(connected=True, controlling=connection.ice_controlling)

    async def echo() -> None:
        while True:
            await connection.send(await connection.recv())

    echoing = asyncio.create_task(echo())
    await loop.run_in_executor(None, sys.stdin.read)
    echoing.cancel()
    await connection.close()


def say(**what: object) -> None:
    """
    One line to the test.
    """
    print(json.dumps(what), flush=True)


asyncio.run(main(*sys.argv[1:]))
