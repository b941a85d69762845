"""
What Linux does for a UDP port: hop limits, segments, batches, counts.
"""

from __future__ import annotations

import socket
import sys

import pytest
import pytest_twisted

from punchd.core import Datagram
from tests.net.sockets import BatchInbox, Inbox, Opener, linux, loopback


@linux
@pytest.mark.parametrize(("family", "byOption"), [(4, False), (4, True), (6, False)])
def test_hopLimit(open_: Opener, family: int, byOption: bool) -> None:
    """
    A datagram leaves with the hop limit that it asks for, the next one with the
    system's; the same where that takes a socket option.
    """
    port = open_(Inbox(), family)
    port.sender._hopLimitByOption = byOption
    addressFamily, ask, host = (
        (socket.AF_INET, (socket.IPPROTO_IP, 12), "127.0.0.1")
        if family == 4
        else (
            socket.AF_INET6,
            (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT),
            "::1",
        )
    )
    with socket.socket(addressFamily, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        sock.setsockopt(*ask, 1)
        sock.settimeout(10)
        remote = sock.getsockname()[:2]
        seen = []
        for ttl in (3, None, 255):
            port.send(Datagram(b"x", (host, 1), remote, ttl))
            _, ((_, _, value),), _, _ = sock.recvmsg(100, 100)
            seen.append(int.from_bytes(value, sys.byteorder))
    assert seen == [3, 64, 255]


@linux
@pytest.mark.parametrize("family", [4, 6])
def test_segmenting(open_: Opener, family: int) -> None:
    """
    A run leaves as one buffer that the kernel knows the segment size of.
    """
    port = open_(Inbox(), family)
    assert port.sender.segmenting
    with socket.socket(
        socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM
    ) as sock:
        sock.bind(("127.0.0.1" if family == 4 else "::1", 0))
        sock.setsockopt(socket.IPPROTO_UDP, 104, 1)
        sock.settimeout(10)
        remote = sock.getsockname()[:2]
        payloads = [bytes([n]) * 1200 for n in range(40)] + [b"end"]
        port.sendMany([Datagram(p, None, remote) for p in payloads])
        data, ((_, kind, value),), _, _ = sock.recvmsg(1 << 16, 100)
    assert data == b"".join(payloads)
    assert (kind, int.from_bytes(value, sys.byteorder)) == (104, 1200)


@linux
@pytest.mark.parametrize("sending", [True, False])
@pytest.mark.parametrize("receiving", [True, False])
@pytest_twisted.ensureDeferred
async def test_runsArrive(open_: Opener, sending: bool, receiving: bool) -> None:
    """
    A run arrives as the datagrams that it was made of, in order, whichever side
    has offloads.
    """
    inbox = BatchInbox()
    a, b = open_(Inbox(), offload=sending), open_(inbox, offload=receiving)
    assert (a.sender.segmenting, b.coalescing) == (sending, receiving)
    payloads = [bytes([n]) * 900 for n in range(100)] + [b"end", b"more"]
    a.sendMany([Datagram(p, None, loopback(b)) for p in payloads])
    received = await inbox.whenReceived(len(payloads))
    assert [data for data, _, _ in received] == payloads
    assert {r[1:] for r in received} == {(loopback(b), loopback(a))}
    assert a.counters == b.counters == {}


@linux
@pytest_twisted.ensureDeferred
async def test_batch(open_: Opener) -> None:
    """
    What one read gives is delivered in one call to who takes batches, and one
    by one to others.
    """
    batched, single = BatchInbox(), Inbox()
    a, b, c = open_(Inbox()), open_(batched), open_(single)
    run = [bytes([n]) * 1000 for n in range(50)]
    for port in (b, c):
        a.sendMany([Datagram(p, None, loopback(port)) for p in run])
    await batched.whenReceived(50)
    await single.whenReceived(50)
    assert batched.batches == [50]
    assert batched.data == single.data == run


@linux
@pytest_twisted.ensureDeferred
async def test_receiveOverflow(open_: Opener) -> None:
    """
    The datagrams that the kernel had no room for are counted.
    """
    inbox = BatchInbox()
    a, b = open_(Inbox(), offload=False), open_(inbox)
    b._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    a.sendMany([Datagram(bytes(1000), None, loopback(b))] * 200)
    await inbox.whenReceived(1)
    before = len(inbox.received)
    a.send(Datagram(b"after", None, loopback(b)))
    await inbox.whenReceived(before + 1)
    assert b.counters["receive overflow"] >= 100
