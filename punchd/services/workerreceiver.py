"""
What comes to a relayed address from another process of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from punchd.core import Address
from punchd.net.carrying import Carrier
from punchd.net.udp import Run
from punchd.turn.ways import Way

from .relayports import RelayReceiver


def receiverFor(hosts: Mapping[str, str]) -> RelayReceiver:
    """
    @param hosts: public ones by local ones.

    @return: what takes what comes to relayed addresses.
    """
    differ = {local: outside for local, outside in hosts.items() if local != outside}
    return NeighbourReceiver(differ) if differ else RelayReceiver()


class NeighbourReceiver(RelayReceiver):
    """
    Behind a 1:1 NAT, what comes from a relayed address of another process comes from
    where that is bound: I say where peers see it.
    """

    def __init__(self, outside: dict[str, str]) -> None:
        """
        @param outside: public hosts by local ones.
        """
        self._outside = outside

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        One datagram came.
        """
        super().datagramReceived(data, local, self._seen(remote))

    def datagramsReceived(
        self, datagrams: Sequence[tuple[bytes, Address, Address]]
    ) -> None:
        """
        Several came.
        """
        super().datagramsReceived(
            [(data, local, self._seen(remote)) for data, local, remote in datagrams]
        )

    def runsReceived(self, runs: list[Run]) -> None:
        """
        Several came, those of one source together.
        """
        super().runsReceived(
            [(data, local, self._seen(remote)) for data, local, remote in runs]
        )

    def wayFor(
        self, local: Address, remote: Address, number: int
    ) -> tuple[Way, Carrier] | None:
        """
        @see: L{punchd.interfaces.IWayReceiver}.
        """
        return super().wayFor(local, self._seen(remote), number)

    def _seen(self, remote: Address) -> Address:
        host = self._outside.get(remote[0])
        return remote if host is None else (host, remote[1])
