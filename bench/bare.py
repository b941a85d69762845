"""
A bare loop in Python: what remains of a relay when nothing is checked.

    python -m bench.bare HOST PORT

Requests are answered by our server; data is passed on as soon as two look-ups have
told where to: no permission, no lifetime, no limit is looked at, and nothing is
counted.  One datagram is read by one system call and sent by another; so is one batch
of datagrams that the kernel hands over together (UDP_GRO, UDP_SEGMENT), whose headers
are left out or put between by scatter-gather.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from functools import lru_cache

from punchd.core import Address
from punchd.net import ancillary
from punchd.turn.guards import StaticUsers
from punchd.turn.limits import Limits, Quota
from punchd.turn.server import Server

HEADER = 4

ROOM = memoryview(bytearray(1 << 16))


class Ports:
    """
    I open relayed addresses.
    """

    families = (4,)

    def __init__(self, host: str) -> None:
        self._host = host
        self.sockets: dict[Address, socket.socket] = {}
        self.poll = select.epoll()

    def open(self, family: int, even: bool = False, number: int = 0) -> Address | None:
        sock = bound(self._host, 0)
        address: Address = sock.getsockname()
        self.sockets[address] = sock
        self.poll.register(sock.fileno(), select.EPOLLIN)
        return address

    def close(self, address: Address) -> None:
        self.sockets.pop(address).close()


def bound(host: str, port: int) -> socket.socket:
    """
    @return: a socket with a great buffer.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.setblocking(False)
    ancillary.coalesce(sock)
    sock.bind((host, port))
    return sock


@lru_cache(maxsize=64)
def views(segment: int, skip: int) -> list[memoryview]:
    """
    @return: the segments of a batch in C{ROOM}, without their first bytes.
    """
    starts = range(0, 64 * segment, segment)
    return [ROOM[at + skip : at + segment] for at in starts]


@lru_cache(maxsize=64)
def segments(size: int) -> list[ancillary.Control]:
    """
    @return: what cuts a batch.
    """
    return [ancillary.segmentControl(size)]


def main() -> None:
    """
    Relay until the process is ended.
    """
    ports = Ports(sys.argv[1])
    server = Server(
        realm="bench",
        guards=[StaticUsers("users", {"user": "password"})],
        ports=ports,
        entropy=os.urandom,
        limits=Limits(user=Quota(256)),
        forbidden=lambda host: False,
    )
    sock = bound(sys.argv[1], int(sys.argv[2]))
    listening: Address = sock.getsockname()
    ports.poll.register(sock.fileno(), select.EPOLLIN)
    main = sock.fileno()
    # From clients by address and channel; from peers by descriptor and address.
    outward: dict[tuple[Address, bytes], tuple[socket.socket, Address]] = {}
    inward: dict[tuple[int, Address], tuple[bytes, Address]] = {}
    readers = {main: sock}
    while True:
        for number, _ in ports.poll.poll():
            receive = readers[number].recvmsg_into
            while True:
                try:
                    size, controls, _, remote = receive([ROOM], ancillary.SPACE)
                except OSError:
                    break
                segment = int.from_bytes(controls[0][2], "little") if controls else size
                if segment < size:
                    # All are of one size here.
                    count = size // segment
                    if number == main:
                        to = outward.get((remote, bytes(ROOM[:2])))
                        if to is not None:
                            run = views(segment, HEADER)[:count]
                            control = segments(segment - HEADER)
                            to[0].sendmsg(run, control, 0, to[1])
                    else:
                        way = inward.get((number, remote))
                        if way is not None:
                            head = way[0] + segment.to_bytes(2, "big")
                            run = [memoryview(head)] * (2 * count)
                            run[1::2] = views(segment, 0)[:count]
                            sock.sendmsg(run, segments(segment + HEADER), 0, way[1])
                    continue
                data = bytes(ROOM[:size])
                if number != main:
                    way = inward.get((number, remote))
                    if way is not None:
                        head = way[0] + len(data).to_bytes(2, "big")
                        sock.sendto(head + data, way[1])
                    continue
                if data[0] >= 0x40:
                    to = outward.get((remote, data[:2]))
                    if to is not None:
                        end = 4 + (data[2] << 8 | data[3])
                        to[0].sendto(data[4:end], to[1])
                    continue
                if data[:2] == b"\0\1":
                    # A Binding request, which only asks whether we are here.
                    sock.sendto(b"\1\1\0\0" + data[4:20], remote)
                    continue
                server.datagramReceived(data, listening, remote, time.monotonic())
                for each in server.takeDatagrams():
                    sock.sendto(each.data, each.remote)
                server.takeEvents()
                outward.clear()
                inward.clear()
                readers = {main: sock}
                for allocation in server.allocations():
                    relay = ports.sockets[allocation.relayed]
                    readers[relay.fileno()] = relay
                    for channel in allocation.channels.values():
                        way = channel.head, allocation.client
                        inward[relay.fileno(), channel.peer] = way
                        outward[allocation.client, channel.head] = relay, channel.peer


if __name__ == "__main__":
    main()
