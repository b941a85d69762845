"""
Whether the router opens ports, tried with one that is given back at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.task import deferLater

from punchd.core import Address
from punchd.interfaces import ICandidateSource, INetwork
from punchd.portmap.gateway import Gateways
from punchd.portmap.inquiry import State
from punchd.portmap.mapper import PortMapper

from .sockets import Sockets

#: Seconds that routers have to answer, and between two looks at whether they have.
PATIENCE: Final = 4.0
LOOK: Final = 0.05

_UNDECIDED: Final = (State.ASKING.value, State.MAPPING.value)


class _Spare:
    """
    I stand for the punching socket, and for who is told what the router opens.
    """

    def __init__(self, network: INetwork) -> None:
        self._network = network
        self._sockets = [Sockets(network, kind) for kind in (4, 6)]
        self._ports = [each.open(1) for each in self._sockets]

    def bases(self) -> list[Address]:
        """
        @see: L{punchd.portmap.mapper.Ports.bases}.
        """
        return [
            (host, opened[0][1])
            for host, _ in self._network.localHosts()
            if (opened := self._ports[":" in host])
        ]

    def families(self) -> list[int]:
        """
        @see: L{punchd.portmap.mapper.Ports.families}.
        """
        return [kind for kind, opened in zip((4, 6), self._ports) if opened]

    def close(self) -> None:
        """
        It is over.
        """
        for each in self._sockets:
            each.closeAll()

    def mappedPortLearned(self, address: Address, base: Address) -> None:
        """
        @see: L{punchd.portmap.mapper.Gathered.mappedPortLearned}.
        """

    def mappedPortWithdrawn(self, address: Address) -> None:
        """
        @see: L{punchd.portmap.mapper.Gathered.mappedPortWithdrawn}.
        """


async def probePorts(
    network: INetwork,
    sources: Sequence[ICandidateSource],
    gateways: Gateways | None = None,
) -> list[dict[str, Any]]:
    """
    Have the default gateways open a port, and close it again.

    @param sources: by which protocols.
    @param gateways: L{None} for the kernel's.

    @return: as L{PortMapper.describe}.
    """
    clock = network.reactor
    spare = _Spare(network)
    mapper = PortMapper(network, spare, spare, sources, gateways)
    mapper.startService()
    until = clock.seconds() + PATIENCE
    while True:
        await deferLater(clock, LOOK)
        found = mapper.describe()
        states = {each["state"] for each in found}
        if not states.intersection(_UNDECIDED) or clock.seconds() > until:
            break
    await mapper.stopService()
    spare.close()
    for each in found:
        if each["state"] in _UNDECIDED:
            each |= {"state": State.FAILED.value, "reason": "no answer"}
    return found
