"""
Ancillary data of UDP sockets: which of our addresses a datagram came to and
shall leave from, hop limits, and the offloads of Linux.

Python's socket module lacks some of the numbers; they are part of each
system's binary interface.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys

LINUX = sys.platform == "linux"

#: linux/udp.h: send one buffer as datagrams of this size; receive several
#: datagrams of one flow as one buffer.
UDP_SEGMENT = 103
UDP_GRO = 104

#: asm-generic/socket.h: how many datagrams the kernel dropped on this socket.
SO_RXQ_OVFL = 40

#: asm-generic/socket.h: buffers beyond net.core.rmem_max, for the privileged.
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

#: linux/in.h and netinet/in.h of macOS; elsewhere IPv4 goes without.
IP_PKTINFO: int | None = {"linux": 8, "darwin": 26}.get(sys.platform)

# struct in_pktinfo: interface, our address, the header's destination.
_PKTINFO4 = struct.Struct("=I4s4s")
# struct in6_pktinfo: address, interface.
_PKTINFO6 = struct.Struct("=16sI")
_INT = struct.Struct("=i")
_SEGMENT = struct.Struct("=H")

#: One control message: (level, type, value).
Control = tuple[int, int, bytes]

#: Bytes that the control messages of one read may take.
SPACE = (
    socket.CMSG_SPACE(_PKTINFO6.size)
    + socket.CMSG_SPACE(_PKTINFO4.size)
    + 2 * socket.CMSG_SPACE(_INT.size)
)


def addressFamily(family: int) -> socket.AddressFamily:
    """
    @param family: 4 or 6.

    @return: the socket module's name for it.

    @raise ValueError: it is neither.
    """
    if family not in (4, 6):
        raise ValueError(f"the family is 4 or 6, not {family!r}")
    return socket.AF_INET if family == 4 else socket.AF_INET6


def askForDestination(sock: socket.socket, family: int) -> bool:
    """
    Have the kernel tell to which of our addresses each datagram was sent.

    @return: whether it does.
    """
    try:
        if family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif IP_PKTINFO is not None:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        else:
            return False
    except OSError:
        return False
    return True


def destination(family: int, value: bytes) -> str:
    """
    @param value: the value of a packet information message that was received.

    @return: the address of ours that it names.
    """
    if family == 6:
        return socket.inet_ntop(socket.AF_INET6, _PKTINFO6.unpack(value)[0])
    return socket.inet_ntop(socket.AF_INET, _PKTINFO4.unpack(value)[1])


def packetInformation(family: int) -> tuple[int, int]:
    """
    @return: level and type of the message that names an address of ours; the
        type is -1 where there is none.
    """
    if family == 6:
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO
    return socket.IPPROTO_IP, -1 if IP_PKTINFO is None else IP_PKTINFO


def useInterface(sock: socket.socket, host: str, interface: str) -> None:
    """
    Have an IPv6 socket send through one interface, so that link-local addresses
    without a scope mean something (RFC 3542, 6.7).

    @raise OSError: there is no such interface or address.
    """
    raw = socket.inet_pton(socket.AF_INET6, host)
    value = _PKTINFO6.pack(raw, socket.if_nametoindex(interface))
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, value)


def sourceControl(family: int, host: str) -> list[Control]:
    """
    @return: what makes a datagram leave from C{host}; nothing where the system
        cannot be told.

    @raise OSError: C{host} is no address of that family.
    """
    raw = socket.inet_pton(addressFamily(family), host)
    level, kind = packetInformation(family)
    if kind < 0:
        return []
    if family == 6:
        return [(level, kind, _PKTINFO6.pack(raw, 0))]
    return [(level, kind, _PKTINFO4.pack(0, raw, b"\0\0\0\0"))]


def hopLimitControl(family: int, ttl: int) -> list[Control]:
    """
    @return: what gives one datagram its hop limit; nothing where that takes a
        socket option (IPv4 outside Linux).
    """
    if family == 6:
        return [(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, _INT.pack(ttl))]
    return [(socket.IPPROTO_IP, socket.IP_TTL, _INT.pack(ttl))] if LINUX else []


def segmentControl(size: int) -> Control:
    """
    @return: what cuts a buffer into datagrams of C{size} bytes.
    """
    return (socket.IPPROTO_UDP, UDP_SEGMENT, _SEGMENT.pack(size))


def canSegment(sock: socket.socket) -> bool:
    """
    @return: whether the kernel knows UDP_SEGMENT (Linux 4.18).
    """
    try:
        sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return LINUX


def coalesce(sock: socket.socket) -> bool:
    """
    Switch UDP_GRO on (Linux 5.0).

    @return: whether it is on.
    """
    if not LINUX:
        return False
    try:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True


def enlarge(sock: socket.socket, receive: int, send: int) -> None:
    """
    Give the socket big buffers, as far as the system lets us.
    """
    for size, plain, force in (
        (receive, socket.SO_RCVBUF, SO_RCVBUFFORCE),
        (send, socket.SO_SNDBUF, SO_SNDBUFFORCE),
    ):
        for option in (force, plain) if LINUX else (plain,):
            try:
                sock.setsockopt(socket.SOL_SOCKET, option, size)
                break
            except OSError:
                continue


def countOverflow(sock: socket.socket) -> None:
    """
    Have the kernel tell how many datagrams did not fit the receive buffer.
    """
    if LINUX:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        except OSError:
            pass


def errorName(error: OSError) -> str:
    """
    @return: the symbolic name of a system error, to count it by; one without a
        number comes from parsing an address.
    """
    return errno.errorcode.get(error.errno or 0, "bad address")
