"""
ICMP errors, as the relay tells its clients of them (RFC 8656, 11.5).
"""

from __future__ import annotations

from punchd.core import Address, Datagram
from punchd.stun.address import family
from punchd.stun.attributes import Attribute
from punchd.stun.message import Message, MessageClass, Method

from .allocation import Allocation

#: Unreachable and time exceeded; with ICMPv6, too big besides.
_KINDS = {4: (3, 11), 6: (1, 2, 3)}

#: The errors whose data is told, an MTU: "fragmentation needed" and "too big".
_TOO_BIG = ((3, 4), (2, 0))


def complaint(
    allocation: Allocation,
    transactionId: bytes,
    remote: Address,
    error: tuple[int, int, int],
    now: float,
) -> Datagram | None:
    """
    @param remote: whom the client has sent to.
    @param error: type, code and data.

    @return: what to send to the client; L{None} when it is none of its business.
    """
    kind, code, data = error
    permission = allocation.permissions.get(remote[0])
    if (
        kind not in _KINDS[family(remote)]
        or permission is None
        or permission.expires <= now
    ):
        return None
    if (kind, code) not in _TOO_BIG:
        data = 0
    message = Message(MessageClass.INDICATION, Method.DATA, transactionId)
    message.add(Attribute.XOR_PEER_ADDRESS, remote)
    message.add(Attribute.ICMP, (kind, code, data))
    whole = message.serialize(fingerprint=False)
    return Datagram(whole, allocation.local, allocation.client)
