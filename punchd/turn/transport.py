"""
How the relay names where a client's packets come to.

An allocation is identified by its 5-tuple: the two addresses and the transport
between client and server (RFC 8656, 3.1).  The server's address alone tells a
listening UDP port; with a mark before its host it tells the TCP connections of
that address, another one those with TLS.  So C{local} and C{remote} together
are the 5-tuple everywhere, and a response or relayed data for a TCP client is a
L{punchd.core.Datagram} whose C{local} bears the mark.
"""

from __future__ import annotations

from typing import Final

from punchd.core import Address

#: What is within TLS is of the same 5-tuple as the TCP connection around it, of
#: which there is no other at a time: the marks tell them apart for statistics.
_MARKS: Final = ("tcp/", "tls/")


def overStream(address: Address, secure: bool = False) -> Address:
    """
    @param secure: whether there is TLS within TCP.

    @return: what names the TCP side of a listening address.
    """
    return _MARKS[secure] + address[0], address[1]


def isStream(local: Address) -> bool:
    """
    @return: whether that names the TCP side of an address.
    """
    return local[0].startswith(_MARKS)


def transportOf(local: Address) -> str:
    """
    @return: C{"udp"}, C{"tcp"} or C{"tls"}.
    """
    return local[0][:3] if isStream(local) else "udp"


def withoutTransport(local: Address) -> Address:
    """
    @return: the address itself.
    """
    return (local[0][4:], local[1]) if isStream(local) else local
