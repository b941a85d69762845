"""
Bytes through a data channel of aiortc's: C{aiortcbulk.py a|b HOST}.
"""

from __future__ import annotations

import asyncio
import sys

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from bulk import CHUNK, Counter, say, source, told

#: A message; browsers take no longer ones.
MESSAGE = 1 << 16
#: What waits to be sent.
HIGH = 1 << 20


async def main(side: str, host: str) -> None:
    """
    Connect, and send or count.
    """
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    if side == "a":
        await dial(peer)
    else:
        await answer(peer)


async def dial(peer: RTCPeerConnection) -> None:
    """
    Side A: its first word, and then the answer.
    """
    channel = peer.createDataChannel("bulk")
    channel.bufferedAmountLowThreshold = HIGH // 2
    opened, low, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    channel.on("open", opened.set)
    channel.on("bufferedamountlow", low.set)
    channel.on("message", lambda data: done.set())
    await peer.setLocalDescription(await peer.createOffer())
    say(sdp=peer.localDescription.sdp, type="offer")
    # B's first word says nothing: it has to see the offer before it answers.
    other = await told()
    if other.get("type") != "answer":
        other = await told()
    await peer.setRemoteDescription(RTCSessionDescription(other["sdp"], "answer"))
    await opened.wait()

    async def write(data: bytes) -> None:
        channel.send(data)
        if channel.bufferedAmount > HIGH:
            low.clear()
            await low.wait()

    async def answered() -> None:
        await done.wait()
        done.clear()

    await source(write, answered, CHUNK[:MESSAGE])


async def answer(peer: RTCPeerConnection) -> None:
    """
    Side B.
    """
    say()
    other = await told()
    counter = Counter()

    def come(channel: RTCDataChannel) -> None:
        def message(data: bytes) -> None:
            if counter.got(data):
                channel.send(b"!")

        channel.on("message", message)

    peer.on("datachannel", come)
    await peer.setRemoteDescription(RTCSessionDescription(other["sdp"], "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    say(sdp=peer.localDescription.sdp, type="answer")
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
