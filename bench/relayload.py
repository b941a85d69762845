"""
Our own client as the load of a relay: it sends and receives runs.

    python -m bench.relayload echo HOST PORT
    python -m bench.relayload send SERVER PORT PEER PORT SIZE RUNS CLIENTS

Clients send runs of messages over channels to a peer, C{echo}, which sends them back as
they come; each client has one run on its way, and sends RUNS of them.  Prints how many
messages were sent and how many came back.
"""

from __future__ import annotations

import sys
from typing import Any

from zope.interface import implementer

from punchd.core import Address, Burst
from punchd.interfaces import IRunReceiver
from punchd.net.clock import makeMonotonic
from punchd.net.driver import Driver
from punchd.net.kernel import KernelNetwork
from punchd.net.udp import Run
from punchd.turn.events import Allocated, AllocationFailed, RelayedDatagram
from punchd.turn.runclient import RelayedRun, RunClient

#: So many that a server has something to do all the time.
CLIENTS = 30
#: Messages in a run.
LENGTH = 50
#: Seconds after which what has not come back is lost.
PATIENCE = 0.2
USER, PASSWORD = "user", "password"


@implementer(IRunReceiver)
class Echo:
    """
    I am the peer.
    """

    port: Any

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        self.runsReceived([([data], local, remote)])

    def datagramsReceived(self, datagrams: Any) -> None:
        for each in datagrams:
            self.datagramReceived(*each)

    def runsReceived(self, runs: list[Run]) -> None:
        for payloads, _, remote in runs:
            self.port.sendMany(Burst(payloads, None, remote))


@implementer(IRunReceiver)
class Sender:
    """
    I am one client.
    """

    def __init__(
        self, network: Any, server: Address, peer: Address, size: int, runs: int
    ) -> None:
        self._reactor, self._peer, self._size = network.reactor, peer, size
        self._runs = runs
        self.client = RunClient(server, entropy=network.entropy)
        self.port = network.listenDatagram(self, 4, "0.0.0.0", 0)
        self.driver = Driver(
            self.client, self.port.sendMany, self._happened, network.reactor
        )
        self.sent = self.received = self._awaited = 0
        self._waiting: Any = None
        self.done: Any = None
        self.driver.call(self.client.permit, [peer[0]])
        self.driver.call(self.client.allocate, USER, PASSWORD, None, None)

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        self.driver.datagramReceived(data, local, remote)

    def datagramsReceived(self, datagrams: Any) -> None:
        self.driver.datagramsReceived(datagrams)

    def runsReceived(self, runs: list[Run]) -> None:
        self.driver.call(self.client.runsReceived, runs)

    def _happened(self, event: object) -> None:
        if isinstance(event, AllocationFailed):
            raise SystemExit(f"no allocation: {event}")
        if isinstance(event, Allocated):
            # The first message asks for the channel.
            self.driver.call(self.client.send, b"first", self._peer)
            self._waiting = self._reactor.callLater(PATIENCE, self._next)
        elif isinstance(event, RelayedRun):
            self._came(event.payloads)
        elif isinstance(event, RelayedDatagram):
            self._came([event.data])

    def _came(self, payloads: list[bytes]) -> None:
        count = sum(len(each) == self._size for each in payloads)
        self.received += count
        self._awaited -= count
        if self._awaited <= 0 and self.sent:
            self._next()

    def _next(self) -> None:
        if self._waiting.active():
            self._waiting.cancel()
        if self.sent >= self._runs * LENGTH:
            self.done()
            return
        self._waiting = self._reactor.callLater(PATIENCE, self._next)
        self.sent += LENGTH
        self._awaited = LENGTH
        run = [bytes(self._size)] * LENGTH
        self.driver.call(self.client.sendRun, run, self._peer)


def echo(network: Any, host: str, port: str) -> None:
    """
    Be the peer until the process is ended.
    """
    receiver = Echo()
    receiver.port = network.listenDatagram(receiver, 4, host, int(port))


def send(
    network: Any, server: Address, peer: Address, size: int, runs: int, clients: int
) -> list[Sender]:
    """
    Send all, and stop.

    @return: who does it.
    """
    reactor = network.reactor
    senders = [Sender(network, server, peer, size, runs) for _ in range(clients)]
    left = set(senders)
    for each in senders:

        def done(each: Sender = each) -> None:
            left.discard(each)
            each.driver.call(each.client.release)
            if not left:
                reactor.callLater(PATIENCE, reactor.stop)

        each.done = done
    reactor.callLater(100, reactor.stop)
    return senders


def main() -> None:
    """
    Do one of both.
    """
    from twisted.internet import reactor as anyReactor

    reactor: Any = makeMonotonic(anyReactor)
    network = KernelNetwork(reactor)
    command, *words = sys.argv[1:]
    if command == "echo":
        echo(network, *words)
        reactor.run()
        return
    host, port, peer, peerPort, size, runs, clients = words
    server, there = (host, int(port)), (peer, int(peerPort))
    senders = send(network, server, there, int(size), int(runs), int(clients))
    reactor.run()
    print(sum(each.sent for each in senders), sum(each.received for each in senders))


if __name__ == "__main__":
    main()
