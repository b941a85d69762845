"""
How the relay names where a client's packets come to.

An allocation is identified by its 5-tuple: the two addresses and the transport
between client and server (RFC 8656, 3.1).  The server's address alone tells a
listening UDP port; with a mark before its host it tells the TCP connections of
that address, TLS or not.  So C{local} and C{remote} together are the 5-tuple
everywhere, and a response or relayed data for a TCP client is a
L{punchd.core.Datagram} whose C{local} bears the mark.
"""

from __future__ import annotations

from typing import Final

from punchd.core import Address

_MARK: Final = "tcp/"


def overStream(address: Address) -> Address:
    """
    @return: what names the TCP side of a listening address.
    """
    return _MARK + address[0], address[1]


def isStream(local: Address) -> bool:
    """
    @return: whether that names the TCP side of an address.
    """
    return local[0].startswith(_MARK)


def withoutTransport(local: Address) -> Address:
    """
    @return: the address itself.
    """
    return local[0].removeprefix(_MARK), local[1]
