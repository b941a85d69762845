"""
One side of a pair of aioice agents: C{aioicepeer.py SERVER PORT a|b PUBLIC}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aioice


def say(**what: object) -> None:
    """
    One line.
    """
    print(json.dumps(what), flush=True)


async def main(server: str, port: str, side: str, public: str) -> None:
    """
    Connect, and see that a datagram arrives.
    """
    connection = aioice.Connection(
        ice_controlling=side == "a", stun_server=(server, int(port))
    )
    await connection.gather_candidates()
    say(
        ufrag=connection.local_username,
        password=connection.local_password,
        candidates=[each.to_sdp() for each in connection.local_candidates],
    )
    loop = asyncio.get_running_loop()
    other = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    began = time.monotonic()
    connection.remote_username = other["ufrag"]
    connection.remote_password = other["password"]
    for each in other["candidates"]:
        await connection.add_remote_candidate(aioice.Candidate.from_sdp(each))
    await connection.add_remote_candidate(None)
    try:
        await connection.connect()
    except ConnectionError as e:
        say(failed=str(e))
        return
    seconds = time.monotonic() - began
    for _ in range(20):
        await connection.send(b"proof")
        try:
            await asyncio.wait_for(connection.recv(), 0.2)
            break
        except TimeoutError:
            pass
    else:
        say(failed="no datagram came")
        return
    # The other side may still wait for one.
    await connection.send(b"proof")
    say(connected=True, direct=True, seconds=seconds)
    await asyncio.sleep(60)


asyncio.run(main(*sys.argv[1:]))
