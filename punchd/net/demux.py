"""
Who gets what arrives at the punching socket.

The source address decides first: from a server in use come STUN and
ChannelData, from the address of a peer STUN and QUIC.  The first byte alone
tells nothing: half of QUIC's short headers begin in ChannelData's range (RFC
9443).  A STUN request names whom it is for, by the user fragment in USERNAME
(RFC 8445, 7.2.2), and goes there from wherever it comes: an unknown source may
be a peer behind a NAT that has just made a new mapping.  Everything else from
an unknown source is dropped.

Two receivers may register one address: the session before a restart and the one
after it, or a peer that offered somebody else's address as its own.  Both get
what comes from there, and whose keys do not fit drops it; so nobody can take
another's datagrams away by naming their address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import IBatchReceiver, IDatagramReceiver, IRunReceiver
from punchd.stun.attributes import Attribute
from punchd.stun.message import HEADER, isMessage

from .udp import Received, Run, flattened

_USERNAME = int(Attribute.USERNAME).to_bytes(2, "big")

#: The two bits of the type that tell the class; both clear in a request.
_REQUEST_MASK = (0x01, 0x10)


class _Route:
    """
    The way to some receivers, never changed: routes can be compared by identity.
    """

    __slots__ = ("deliver", "receivers")

    def __init__(self, receivers: tuple[Any, ...]) -> None:
        self.receivers = receivers
        self.deliver = tuple(map(_way, receivers))


def _way(receiver: Any) -> Callable[[list[Run]], None]:
    if IRunReceiver.providedBy(receiver):
        runsReceived: Callable[[list[Run]], None] = receiver.runsReceived
        return runsReceived
    if IBatchReceiver.providedBy(receiver):
        return lambda runs: receiver.datagramsReceived(flattened(runs))

    def singly(runs: list[Run]) -> None:
        for data, local, remote in flattened(runs):
            receiver.datagramReceived(data, local, remote)

    return singly


@implementer(IRunReceiver)
class Demux:
    """
    I receive for the punching socket, and for its relays, and pass on.

    @ivar counters: what was dropped: C{unknown source}, C{unknown ufrag}.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._remotes: dict[Address, _Route] = {}
        self._ufrags: dict[str, _Route] = {}

    def register(self, remote: Address, receiver: IDatagramReceiver) -> None:
        """
        What comes from this address is for this receiver, too.
        """
        route = self._remotes.get(remote)
        already = () if route is None else route.receivers
        if receiver not in already:
            self._remotes[remote] = _Route((*already, receiver))

    def unregister(self, remote: Address, receiver: IDatagramReceiver) -> None:
        """
        It is not any more; nothing happens if it was not.
        """
        route = self._remotes.pop(remote, None)
        if route is not None:
            left = tuple(r for r in route.receivers if r is not receiver)
            if left:
                self._remotes[remote] = _Route(left)

    def registerUfrag(self, ufrag: str, receiver: IDatagramReceiver) -> None:
        """
        STUN requests for this user fragment, which is one of ours, are for this
        receiver, wherever they come from.
        """
        self._ufrags[ufrag] = _Route((receiver,))

    def unregisterUfrag(self, ufrag: str) -> None:
        """
        Nobody listens to that name any more; nothing happens if nobody did.
        """
        self._ufrags.pop(ufrag, None)

    # --- IRunReceiver --------------------------------------------------------

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        One datagram has come.
        """
        route = self._route(data, remote)
        if route is not None:
            self._deliver(route, [([data], local, remote)])

    def datagramsReceived(self, datagrams: Iterable[Received]) -> None:
        """
        Several datagrams have come.
        """
        self.runsReceived(
            [([data], local, remote) for data, local, remote in datagrams]
        )

    def runsReceived(self, runs: Iterable[Run]) -> None:
        """
        Several datagrams have come; what is for one receiver stays together.
        """
        current: _Route | None = None
        together: list[Run] = []
        for route, run in self._routed(runs):
            if route is not current:
                if current is not None:
                    self._deliver(current, together)
                current, together = route, []
            together.append(run)
        if current is not None:
            self._deliver(current, together)

    def _routed(self, runs: Iterable[Run]) -> Iterator[tuple[_Route | None, Run]]:
        for run in runs:
            payloads, local, remote = run
            route = self._remotes.get(remote)
            if route is not None and isSession(payloads):
                # By far the most of all: session data, or the relay's channels.
                yield route, run
            else:
                for data in payloads:
                    yield self._route(data, remote), ([data], local, remote)

    def _route(self, data: bytes, remote: Address) -> _Route | None:
        route = self._remotes.get(remote)
        if route is not None and (not data or data[0] >= 0x40):
            return route
        if isMessage(data):
            ufrag = _ufragOf(data)
            if ufrag is not None:
                named = self._ufrags.get(ufrag)
                if named is not None:
                    return named
                if route is None:
                    self.counters["unknown ufrag"] += 1
                    return None
        if route is None:
            self.counters["unknown source"] += 1
        return route

    def _deliver(self, route: _Route, runs: list[Run]) -> None:
        for deliver in route.deliver:
            try:
                deliver(runs)
            except Exception:
                self._log.failure("A receiver of datagrams failed")


def isSession(payloads: list[bytes]) -> bool:
    """
    @return: whether none of the datagrams can be STUN (RFC 9443).
    """
    return min(payloads) >= b"\x40"


def _ufragOf(data: bytes) -> str | None:
    """
    @param data: a STUN message.

    @return: the first half of a request's USERNAME, which names whom it is for.
    """
    if data[0] & _REQUEST_MASK[0] or data[1] & _REQUEST_MASK[1]:
        return None
    at = HEADER
    while at + 4 <= len(data):
        length = data[at + 2] << 8 | data[at + 3]
        if data[at : at + 2] == _USERNAME:
            value = data[at + 4 : at + 4 + length]
            name, colon, _ = value.partition(b":")
            return name.decode("ascii", "replace") if colon else None
        at += 4 + (length + 3 & ~3)
    return None
