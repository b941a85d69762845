"""
The server's side of Binding (RFC 8489, 6.3), with the attributes by which a
client finds out how its NAT behaves (RFC 5780).

Anybody may ask, from a source that may be forged, so that an answer has at
most L{MAX_RESPONSE} bytes or as many as were asked with.  What does not fit is
left out, in the order of its use to the client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from punchd.core import Address, Datagram

from .address import family
from .attributes import CHANGE_IP, CHANGE_PORT, Attribute
from .limit import NoLimit, PrefixLimit
from .message import HEADER, Message, MessageClass, Method, failure, success

#: No answer to an unproven source is larger, unless the question was.
MAX_RESPONSE: Final = 80

#: A lower port may belong to a service that answers back (RFC 5780, 7.5).
MIN_RESPONSE_PORT: Final = 1024

#: The bytes of that attribute.
_FINGERPRINT: Final = 8

T = TypeVar("T")


class BindingServer:
    """
    I tell each who asks where it is seen from.

    @ivar counters: what was done, by name.
    """

    def __init__(
        self,
        hosts: Mapping[str, str] | None = None,
        ports: Sequence[int] = (),
        *,
        limit: PrefixLimit | NoLimit | None = None,
    ) -> None:
        """
        @param hosts: the local hosts that sockets are bound to, or that a
            wildcard socket receives for, and the public host of each, which
            differs behind a 1:1 NAT.  The first two of a family are each
            other's alternative.
        @param ports: the ports; the first two are each other's alternative.
            Every host is expected to listen on both.
        @param limit: by whom I may be asked how often.
        """
        self._public = dict(hosts or {})
        self._ports = tuple(ports)
        self._limit = NoLimit() if limit is None else limit
        self.counters: Counter[str] = Counter()

    def handle(
        self, message: Message, data: bytes, local: Address, remote: Address, now: float
    ) -> list[Datagram]:
        """
        Answer a Binding request; whatever else is ignored.

        @param message: C{data}, parsed.
        @param local: the address that it was sent to.
        """
        if message.messageClass is not MessageClass.REQUEST or (
            message.method != Method.BINDING
        ):
            self.counters["ignored"] += 1
            return []
        if not self._limit.allows(remote[0], now):
            self.counters["limited"] += 1
            return []
        self.counters["requests"] += 1
        return [self._answer(message, len(data), local, remote)]

    def alternatives(self, local: Address) -> tuple[str | None, int | None]:
        """
        @return: the other local host and the other port than those of
            C{local}, where there are such.
        """
        host = _other(
            [each for each in self._public if family((each, 0)) == family(local)],
            local[0],
        )
        return host, _other(self._ports, local[1])

    def _answer(
        self, message: Message, size: int, local: Address, remote: Address
    ) -> Datagram:
        unknown = message.unknownRequired
        otherHost, otherPort = self.alternatives(local)
        source, destination = local, remote
        change = message.get(Attribute.CHANGE_REQUEST, 0)
        if (change & CHANGE_IP and otherHost is None) or (
            change & CHANGE_PORT and otherPort is None
        ):
            # RFC 5780, 6.1: who has no other address does not know the attribute.
            unknown = [*unknown, Attribute.CHANGE_REQUEST]
        if unknown:
            self.counters["unknown attribute"] += 1
            answer = failure(
                message, 420, "", (Attribute.UNKNOWN_ATTRIBUTES, unknown[:8])
            )
            return Datagram(answer.serialize(), source, destination)
        if change & CHANGE_IP and otherHost is not None:
            source = (otherHost, source[1])
        if change & CHANGE_PORT and otherPort is not None:
            source = (source[0], otherPort)
        port = message.get(Attribute.RESPONSE_PORT)
        padded = message.get(Attribute.PADDING) is not None
        if port is not None:
            if padded or port < MIN_RESPONSE_PORT:  # RFC 5780, 6.1
                self.counters["bad request"] += 1
                answer = failure(message, 400)
                return Datagram(answer.serialize(), local, remote)
            destination = (remote[0], port)
        answer = success(message, (Attribute.XOR_MAPPED_ADDRESS, remote))
        left = max(MAX_RESPONSE, size) - HEADER - _FINGERPRINT - _wide(remote)
        wide = _wide(local)
        if (otherHost is not None or otherPort is not None) and left >= wide:
            other = (otherHost or local[0], otherPort or local[1])
            answer.add(Attribute.OTHER_ADDRESS, self._outside(other))
            left -= wide
            if left >= wide:
                answer.add(Attribute.RESPONSE_ORIGIN, self._outside(source))
                left -= wide
        if padded and left >= 4:
            # RFC 5780, 7.6 wants fragments; never more than came in.
            answer.add(Attribute.PADDING, bytes((left - 4) & ~3))
        return Datagram(answer.serialize(), source, destination)

    def _outside(self, address: Address) -> Address:
        return (self._public.get(address[0], address[0]), address[1])


def _wide(address: Address) -> int:
    """
    @return: how many bytes an attribute with such an address has.
    """
    return 24 if family(address) == 6 else 12


def _other(those: Sequence[T], this: T) -> T | None:
    """
    @return: the one of the first two that is not C{this}, if C{this} is known.
    """
    if this not in those[:2]:
        return None
    return next((each for each in those[:2] if each != this), None)
