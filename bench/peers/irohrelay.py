"""
A stand-in for iroh's relay, over plain HTTP: C{irohrelay.py HOST PORT}.

It believes every client its key, and passes datagrams on (iroh-relay/src/protos).
"""

from __future__ import annotations

import asyncio
import os
import sys
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

#: Frames, by their first byte.
CHALLENGE, CONFIRM = b"\x00", b"\x02"
TO_RELAY = {4: b"\x06", 5: b"\x07"}
PING, PONG = 9, b"\x0a"
KEY = slice(1, 33)

clients: dict[bytes, ServerConnection] = {}


async def relay(connection: ServerConnection) -> None:
    """
    Serve one client.
    """
    await connection.send(CHALLENGE + os.urandom(16))
    own = bytes(await connection.recv(decode=False))[KEY]
    clients[own] = connection
    await connection.send(CONFIRM)
    try:
        async for frame in connection:
            data = bytes(frame) if not isinstance(frame, str) else frame.encode()
            if data[0] == PING:
                await connection.send(PONG + data[1:])
            elif data[0] in TO_RELAY and data[KEY] in clients:
                head = TO_RELAY[data[0]] + own
                await clients[data[KEY]].send(head + data[KEY.stop :])
    except ConnectionClosed:
        pass


def probe(connection: ServerConnection, request: Request) -> Response | None:
    """
    Answer what measures the way here.
    """
    if request.path.startswith("/relay"):
        return None
    return connection.respond(HTTPStatus.OK, "")


async def main(host: str, port: str) -> None:
    """
    Serve until killed.
    """
    protocols = [Subprotocol(f"iroh-relay-v{number}") for number in (2, 1)]
    async with serve(
        relay,
        host,
        int(port),
        subprotocols=protocols,
        process_request=probe,
        compression=None,
        ping_interval=None,
    ):
        print("{}", flush=True)
        await asyncio.Future()


asyncio.run(main(*sys.argv[1:]))
