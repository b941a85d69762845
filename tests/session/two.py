"""
Two QUIC cores, driven by hand.
"""

from __future__ import annotations

from punchd.identity import Identity
from punchd.session.events import Event, HandshakeCompleted
from punchd.session.quic import QuicCore

from .pair import BACKENDS, LISTENER


class Two:
    """
    Two cores, driven by hand.
    """

    def __init__(
        self, here: str = "qh3", there: str = "qh3", identity: Identity = LISTENER
    ) -> None:
        self.client = QuicCore.client(BACKENDS[here]())
        self.server = QuicCore.server(identity, BACKENDS[there]())
        self.now = 500.0
        self.events: dict[QuicCore, list[Event]] = {self.client: [], self.server: []}

    def drain(self, core: QuicCore) -> list[bytes]:
        """
        What one sends now.
        """
        out = [datagram.data for datagram in core.takeDatagrams()]
        self.events[core] += core.takeEvents()
        return out

    def exchange(self, rounds: int = 20, rtt: float = 0.02) -> None:
        """
        Let both talk for a while.
        """
        for _ in range(rounds):
            for one, other in (
                (self.client, self.server),
                (self.server, self.client),
            ):
                self.now += rtt / 2
                sent = self.drain(one)
                if sent:
                    other.datagramsReceived(sent, self.now)
                    self.events[other] += other.takeEvents()
                deadline = other.deadline()
                if deadline is not None and deadline <= self.now:
                    other.timeReached(self.now)

    def connected(self) -> Two:
        """
        Shake hands, and forget that.
        """
        self.client.start(self.now)
        self.exchange()
        for events in self.events.values():
            assert any(isinstance(event, HandshakeCompleted) for event in events)
            events.clear()
        return self
