"""
The TCP ports of one session, and the connections that carry its datagrams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from punchd.core import Address
from punchd.ice.candidate import Candidate, CandidateType, tcpCandidate
from punchd.net.tcppunch import StreamPort, canPunch
from punchd.traversal.events import (
    Connect,
    Locate,
    StreamFailed,
    StreamLocated,
    StreamMade,
)

if TYPE_CHECKING:
    from .session import Session


class Connections:
    """
    I join TCP ports with the punching socket and the ICE agent of a session.

    @ivar ports: those that are open, by base.
    """

    log = Logger()

    def __init__(self, session: Session, happened: Callable[[object], None]) -> None:
        """
        @param happened: is told of what becomes of ports; see
            L{punchd.traversal.events}.
        """
        self.ports: dict[Address, StreamPort] = {}
        self._session = session
        self._socket = session.context.socket
        self._happened = happened
        self._candidates: dict[Address, Candidate] = {}

    def open(self, family: int) -> Address | None:
        """
        @return: the base of a new TCP port, L{None} when there is none to be had.
        """
        socket = self._socket
        hosts = [h for h, _ in socket.bases() if (6 if ":" in h else 4) == family]
        if not hosts or not canPunch(socket.network):
            return None
        try:
            port = StreamPort(socket.network, socket.demux, self, hosts[0])
        except CannotListenError as e:
            self.log.debug("No TCP port: {error}", error=str(e))
            return None
        if not socket.addStream(port.base, port.send):
            port.close()
            return None
        self.ports[port.base] = port
        return port.base

    def act(self, wanted: Locate | Connect) -> None:
        """
        Ask servers where they see a port, or connect to where the peer may be.
        """
        port = self.ports.get(wanted.base)
        if port is None:
            return
        if isinstance(wanted, Connect):
            port.connect(wanted.remote)
            return
        for server in wanted.servers:
            port.locate(server)

    def settle(self) -> None:
        """
        A path was found: stop trying, and keep what works.
        """
        working = {p.local.base for p in self._session.carrier.pairs if p.valid}
        for base, port in list(self.ports.items()):
            if base in working:
                port.settle()
            else:
                self.close(base)

    def close(self, base: Address) -> None:
        """
        Close a port and all its connections; nothing happens if there is none.
        """
        port = self.ports.pop(base, None)
        if port is None:
            return
        self._socket.removeStream(base)
        port.close()
        if port.dropped:
            self.log.debug(
                "{dropped} datagrams found no room on TCP connections",
                dropped=port.dropped,
            )
        self._withdraw(base)

    def closeAll(self) -> None:
        """
        The session is over.
        """
        for base in list(self.ports):
            self.close(base)

    def _withdraw(self, base: Address) -> None:
        candidate = self._candidates.pop(base, None)
        agent = self._session.carrier.agent
        if candidate is not None and agent is not None:
            self._session.carrier.ice(agent.removeLocalCandidate, candidate)

    # --- tcppunch.StreamListener

    def streamLocated(
        self, base: Address, server: Address, mapped: Address | None
    ) -> None:
        """
        A server sees a port, or does not answer.
        """
        self._happened(StreamLocated(base, mapped))

    def streamMade(self, base: Address, remote: Address) -> None:
        """
        There is a connection: check it.
        """
        self._happened(StreamMade(base, remote))
        carrier = self._session.carrier
        if carrier.agent is None:
            return
        local = self._candidates.setdefault(
            base, tcpCandidate(base, base, CandidateType.SRFLX)
        )
        carrier.ice(carrier.agent.shoot, local, remote, None)

    def streamFailed(self, base: Address, remote: Address, reason: str) -> None:
        """
        An attempt to connect has failed.
        """
        self._happened(StreamFailed(base, remote, reason))

    def streamLost(self, base: Address, remote: Address, reason: str) -> None:
        """
        A connection is no more, and so is its path.
        """
        self.log.debug("A TCP connection was lost: {reason}", reason=reason)
        port = self.ports.get(base)
        carrier = self._session.carrier
        if port is not None and not port.remotes:
            self.close(base)
        elif carrier.agent is not None:
            pair = carrier.agent.pairOf(base, remote)
            if pair is not None:
                carrier.ice(carrier.agent.probe, pair)
