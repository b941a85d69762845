"""
Plain UDP sockets in a lab, and what can be learned with them.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence

from punchd.testing.lab import Lab, Namespace

Address = tuple[str, int]

#: A packet through an idle lab without delay needs less than a millisecond; this
#: much is granted to one that is expected, on a busy machine.
PATIENCE = 5.0

#: The port of the hosts' sockets, and those of the rendezvous.
PORT, FIRST, SECOND = 40000, 3478, 3479

_MARKER = b"that was all"


def udp(namespace: Namespace, host: str = "0.0.0.0", port: int = 0) -> socket.socket:
    """
    Open a UDP socket in a namespace.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = namespace.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.bind((host, port))
    return sock


def take(sock: socket.socket, wait: float = PATIENCE) -> tuple[bytes, Address] | None:
    """
    Receive one datagram, or nothing within the time.
    """
    if not select.select([sock], [], [], wait)[0]:
        return None
    data, source = sock.recvfrom(70000)
    return data, source[:2]


def expect(sock: socket.socket) -> tuple[bytes, Address]:
    """
    Receive one datagram.
    """
    got = take(sock)
    assert got is not None, "nothing came"
    return got


class Observatory:
    """
    The sockets of a lab's rendezvous: two addresses with two ports each.
    """

    def __init__(self, lab: Lab, hosts: Sequence[str] | None = None) -> None:
        own = hosts or lab.rendezvous.addresses[:2]
        shown = hosts or lab.rendezvous.public[:2]
        self.sockets: dict[Address, socket.socket] = {
            (public, port): udp(lab.rendezvous, address, port)
            for address, public in zip(own, shown)
            for port in (FIRST, SECOND)
        }
        self.main: Address = (shown[0], FIRST)
        self.otherPort: Address = (shown[0], SECOND)
        self.otherHost: Address = (shown[1], FIRST)

    def observe(self, sock: socket.socket, place: Address | None = None) -> Address:
        """
        @return: as whom this place sees a socket of a host.
        """
        place = place or self.main
        sock.sendto(b"who am I?", place)
        return expect(self.sockets[place])[1]

    def heard(self, sock: socket.socket, mapped: Address) -> set[str]:
        """
        Send to a mapped address from everywhere, after the host has sent to
        C{main} alone.

        @return: which of "port", "host" came through; main's packet comes last
            and tells that nothing is on its way any more.
        """
        self.sockets[self.otherHost].sendto(b"host", mapped)
        self.sockets[self.otherPort].sendto(b"port", mapped)
        self.sockets[self.main].sendto(_MARKER, mapped)
        return until(sock)

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()


def until(sock: socket.socket, marker: bytes = _MARKER) -> set[str]:
    """
    @return: what comes before the marker.
    """
    found = set()
    while (data := expect(sock)[0]) != marker:
        found.add(data.decode())
    return found


def mappingOf(seen: Sequence[Address]) -> str:
    """
    @param seen: the mapped addresses towards C{main}, C{otherPort}, C{otherHost}.
    @return: RFC 4787's word.
    """
    main, port, host = seen
    if main == port == host:
        return "endpoint-independent"
    return "address-dependent" if main == port else "address and port-dependent"


def filteringOf(heard: set[str]) -> str:
    """
    @return: RFC 4787's word.
    """
    if "host" in heard:
        return "endpoint-independent"
    return "address-dependent" if "port" in heard else "address and port-dependent"


def punch(lab: Lab, observatory: Observatory) -> bool:
    """
    Punch as simply as it can be done: both send to the other's address as the
    rendezvous sees it, and to wherever something came from.

    @return: whether both heard the other.
    """
    a, b = udp(lab.hostA, port=PORT), udp(lab.hostB, port=PORT)
    with a, b:
        targets = {a: {observatory.observe(b)}, b: {observatory.observe(a)}}
        heard = set()
        # On a busy machine an answer may take several of these turns.
        for _ in range(12):
            for sock in (a, b):
                for target in list(targets[sock]):
                    sock.sendto(b"punch", target)
            for sock in (a, b):
                while (got := take(sock, 0.02)) is not None:
                    heard.add(sock)
                    targets[sock].add(got[1])
            if len(heard) == 2:
                return True
    return False
