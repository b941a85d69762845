"""
A client with many peers in the simulator.
"""

from __future__ import annotations

from typing import Any

from punchd.forward.rules import Allowances
from punchd.identity import Identity
from punchd.services.client import PunchClient
from punchd.session.session import Session
from punchd.session.stream import Stream

from .host import Host
from .pair import Collector, Pair
from .scenario import Scenario, makeHost


class Crowd(Pair):
    """
    I am a pair that others join; everybody allows everybody everything, and has
    the services of C{b}.

    @ivar others: who has joined.
    """

    def __init__(self, scenario: Scenario, **options: Any) -> None:
        """
        @see: L{Pair}.
        """
        self.others: list[PunchClient] = []
        super().__init__(scenario, **options)

    def startClient(self, host: Host, identity: Identity) -> PunchClient:
        """
        @see: L{Pair.startClient}.
        """
        client = super().startClient(host, identity)
        client.peers.permissions = Allowances(anyone=True)
        return client

    def join(self, kind: str) -> PunchClient:
        """
        Start one more client, behind a NAT of a kind.
        """
        side = makeHost(self.network, kind, f"host{len(self.others)}")
        client = self.startClient(side.host, Identity.create())
        self.others.append(client)
        return client

    def connect(
        self, one: PunchClient, other: PunchClient, service: str = "echo"
    ) -> tuple[Stream, Collector]:
        """
        Open a stream.
        """
        opened = one.open(other.context.identity.peerId, service)
        collector = Collector()
        stream = self.network.runUntil(opened, 30.0)
        stream.attach(collector)
        return stream, collector

    def session(self, one: PunchClient, other: PunchClient) -> Session:
        """
        @return: the session that C{one} has with C{other}.
        """
        return one.peers.sessions[other.context.identity.peerId]

    def stop(self) -> None:
        """
        @see: L{Pair.stop}.
        """
        for client in self.others:
            self.network.runUntil(client.stopService(), 10.0)
        super().stop()
