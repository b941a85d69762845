"""
How well port predictors do: a host samples its NAT, and a new flow comes a while
later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from zope.interface import implementer

from punchd._plugins import pluginNamed
from punchd.core import Address, Datagram
from punchd.interfaces import IDatagramReceiver, IPortPredictor
from punchd.nat.sample import Sample
from punchd.testing.grid import grid
from punchd.testing.host import Host
from punchd.testing.scenario import RENDEZVOUS_HOSTS, Scenario

#: What a client takes: sockets, each of which asks two servers.
SOCKETS, SPACING = 6, 0.02
#: How many predictions count, and how long after the last sample the flow comes.
FIRST, WAIT = 16, 0.25
PORT = 3478


@implementer(IDatagramReceiver)
class Socket:
    """
    A UDP socket.

    @ivar seen: whom it has heard.
    """

    def __init__(self, host: Host, port: int = 0) -> None:
        self.seen: list[Address] = []
        self.port = host.openDatagramPort(self, 4, "", port)

    def datagramReceived(self, data: bytes, local: Address, remote: Address) -> None:
        """
        Somebody is seen.
        """
        self.seen.append(remote)


def once(predictor: Any, kind: str, seed: int, foreign: float) -> bool:
    """
    @return: whether the next port is among the first predictions.
    """
    options = {"foreign": foreign} if foreign and "sequential" in kind else None
    scenario = Scenario(kind, "open", seed, optionsA=options)
    network = scenario.network
    server = Socket(scenario.rendezvous, PORT)

    def flow(socket: Socket, host: str) -> Sample:
        sent, before = network.clock.seconds(), len(server.seen)
        socket.port.send(Datagram(b"x", None, (host, PORT)))
        network.runUntil(lambda: len(server.seen) > before, 5.0)
        own = socket.port.number
        return Sample(sent, own, (host, PORT), *server.seen[-1])

    samples = []
    for _ in range(SOCKETS):
        socket = Socket(scenario.hostA)
        for host in RENDEZVOUS_HOSTS[:2]:
            samples.append(flow(socket, host))
            network.advance(SPACING)
    network.advance(WAIT)
    found = predictor.predict(samples, network.clock.seconds(), FIRST)
    mapped = flow(Socket(scenario.hostA), RENDEZVOUS_HOSTS[0]).mapped
    return mapped in {(host, port) for host, port, _ in found}


def score(names: Iterable[str], seeds: int, foreign: float) -> Iterator[str]:
    """
    @param names: of L{IPortPredictor} plugins.

    @return: a line for each kind: how often each was right.
    """
    predictors = {name: pluginNamed(IPortPredictor, name) for name in names}
    for kind in grid().groups:
        if kind == "open" or grid().blocksUdp(kind):
            continue
        words = [
            f"{name} {sum(once(each, kind, s, foreign) for s in range(seeds))}/{seeds}"
            for name, each in predictors.items()
        ]
        yield f"{kind:20} {', '.join(words)}"
