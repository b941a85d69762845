"""
What C{punchd doctor} finds out: whether the rendezvous can be reached and how,
what NAT is before us, and what may be expected of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from punchd.core import Address
from punchd.interfaces import INetwork
from punchd.nat.keepalive import keepaliveFor
from punchd.nat.lifetime import BindingTested
from punchd.nat.odds import PEERS, odds
from punchd.nat.sampling import Sampled, Sampler
from punchd.nat.steps import Discovered, StepEnded
from punchd.signaling.url import RendezvousURL
from punchd.stun.address import family

from .sockets import Sockets
from .survey import Knowledge, Survey

#: Seconds to wait for a TCP connection.
PATIENCE: Final = 4.0

Say = Callable[[str], object]


async def examine(
    network: INetwork, url: RendezvousURL, say: Say, *, lifetime: bool = False
) -> dict[str, Any]:
    """
    Find out what there is to find out.

    @param say: takes a line of progress.
    @param lifetime: whether to measure the binding lifetime, which takes
        minutes.

    @return: what JSON can carry.
    """
    found: dict[str, Any] = {
        "interfaces": [
            {"name": name, "address": host} for host, name in network.localHosts()
        ],
    }
    say(f"Looking up {url.host} ...")
    hosts = await resolve(network, url.host)
    rendezvous: dict[str, Any] = {
        "url": str(url),
        "addresses": hosts,
        "tcp": [],
        "udp": [],
    }
    found["rendezvous"] = rendezvous
    knowledge = Knowledge()
    server: Address | None = None
    for host in hosts[:4]:
        for port in url.ports:
            say(f"Trying TCP to {host} port {port} ...")
            rendezvous["tcp"].append(await _tcp(network, (host, port)))
        say(f"Trying UDP to {host} ...")
        answers = await _udp(network, [(host, port) for port in url.ports])
        # The ports of the URL are those of TCP; UDP need not be on all of them.
        heard = [each for each in answers if each["reachable"]]
        rendezvous["udp"] += heard or answers[:1]
        good = [each["port"] for each in heard]
        if good and server is None:
            server = (host, good[0])
    if server is not None:
        say("Testing how the NAT behaves ...")
        knowledge = await Survey(network).behavior(
            server, progress=lambda event: _tell(event, say)
        )
    found["nat"] = nat = _nat(knowledge)
    if lifetime and server is not None:
        await _lifetime(network, server, knowledge, nat, say)
    found["model"] = knowledge.model.toDict(network.reactor.seconds())
    found["odds"] = _odds(knowledge)
    return found


def _nat(knowledge: Knowledge) -> dict[str, Any]:
    behavior = knowledge.behavior
    return {
        **knowledge.toDict(),
        "assumed": list(behavior.assumed),
        "bindingLifetime": None,
        "oneWayLifetime": None,
        "keepaliveInterval": keepaliveFor(None),
        "rtt": knowledge.rtt,
        "sentences": [
            *behavior.sentences(),
            *([knowledge.model.describe()] if knowledge.reachable else []),
        ],
    }


def _odds(knowledge: Knowledge) -> list[dict[str, Any]]:
    if not knowledge.reachable:
        none = {"probability": 0.0, "strategy": "relay", "probes": 0}
        return [{"peer": name, **none} for name, _, _ in PEERS]
    ours = knowledge.behavior.filtering
    return [
        {"peer": name, **odds(knowledge.model, ours, theirs, filtering).toDict()}
        for name, theirs, filtering in PEERS
    ]


async def _lifetime(
    network: INetwork,
    server: Address,
    knowledge: Knowledge,
    nat: dict[str, Any],
    say: Say,
) -> None:
    say("Measuring how long the NAT keeps a silent binding; this takes minutes ...")
    ended = await Survey(network).lifetime(
        server, rtt=knowledge.rtt, progress=lambda event: _tell(event, say)
    )
    if ended.twoWay is not None:
        nat["bindingLifetime"] = ended.twoWay.low
        nat["keepaliveInterval"] = keepaliveFor(ended.twoWay.low)
    if ended.oneWay is not None:
        nat["oneWayLifetime"] = ended.oneWay.low
    if ended.reason:
        nat["sentences"].append(
            f"The binding lifetime could not be measured: {ended.reason}."
        )


def _tell(event: object, say: Say) -> None:
    if isinstance(event, StepEnded):
        outcome = "yes" if event.passed else "no answer"
        if event.mapped is not None:
            outcome = f"{event.mapped[0]} port {event.mapped[1]}"
        say(f"  {event.test.value}: {outcome}")
    elif isinstance(event, Discovered):
        if event.reachable and event.behavior.mapping != "endpoint-independent":
            say("Looking at how the NAT chooses ports ...")
    elif isinstance(event, BindingTested):
        way = "one-way" if event.oneWay else "two-way"
        kept = "kept" if event.alive else "lost"
        say(f"  a {way} binding was {kept} after {event.seconds:g} s of silence")


# --- reachability --------------------------------------------------------------


@implementer(IResolutionReceiver)
class _Addresses:
    """
    I collect the addresses of a name.
    """

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.complete: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolution: Any) -> None:
        """
        It goes on.
        """

    def addressResolved(self, address: Any) -> None:
        """
        There is one.
        """
        self.hosts.append(address.host)

    def resolutionComplete(self) -> None:
        """
        There are no more.
        """
        self.complete.callback(list(dict.fromkeys(self.hosts)))


async def resolve(network: INetwork, name: str) -> list[str]:
    """
    @return: the addresses of a host, IPv4 first; none if there are none.
    """
    try:
        return [str(ip_address(name))]
    except ValueError:
        pass
    receiver = _Addresses()
    network.reactor.nameResolver.resolveHostName(receiver, name, 0)
    return sorted(await receiver.complete, key=lambda host: ":" in host)


async def _tcp(network: INetwork, address: Address) -> dict[str, Any]:
    make = TCP6ClientEndpoint if ":" in address[0] else TCP4ClientEndpoint
    reactor = network.reactor
    endpoint = make(reactor, *address, timeout=PATIENCE)
    began = reactor.seconds()
    found = {"address": address[0], "port": address[1]}
    try:
        protocol: Any = await endpoint.connect(Factory.forProtocol(Protocol))
    except Exception as e:
        # Whatever it is, it is what the user wants to be told.
        return {**found, "reachable": False, "error": str(e) or type(e).__name__}
    seconds = reactor.seconds() - began
    protocol.transport.abortConnection()
    tls = await _tls(network, address)
    return {**found, "reachable": True, "seconds": round(seconds, 4), "tls": tls}


@implementer(IHandshakeListener)
class _Shaken(Protocol):
    """
    I wait for the end of a TLS handshake.
    """

    def __init__(self) -> None:
        self.shaken: Deferred[bool] = Deferred()

    def handshakeCompleted(self) -> None:
        """
        It worked.
        """
        self._end(True)

    def connectionLost(self, reason: object = None) -> None:
        """
        It did not.
        """
        self._end(False)

    def _end(self, worked: bool) -> None:
        shaken, self.shaken = self.shaken, Deferred()
        if not shaken.called:
            shaken.callback(worked)


async def _tls(network: INetwork, address: Address) -> bool:
    """
    @return: whether TLS gets through: there are firewalls that look into it.  Whose
        certificate it is does not matter here.
    """
    make = TCP6ClientEndpoint if ":" in address[0] else TCP4ClientEndpoint
    plain = make(network.reactor, *address, timeout=PATIENCE)
    endpoint = wrapClientTLS(_Anybody(), plain)
    try:
        protocol: Any = await endpoint.connect(Factory.forProtocol(_Shaken))
        shaken = protocol.shaken
        shaken.addTimeout(PATIENCE, network.reactor)
        worked: bool = await shaken
    except Exception:
        return False
    protocol.transport.abortConnection()
    return worked


@implementer(IOpenSSLClientConnectionCreator)
class _Anybody:
    """
    TLS with whomever.
    """

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """
        @return: a connection that verifies nothing, and carries nothing.
        """
        return SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)


async def _udp(network: INetwork, servers: Sequence[Address]) -> list[dict[str, Any]]:
    sockets = Sockets(network, family(servers[0]))
    opened = sockets.open(1)
    answered: set[Address] = set()
    if opened:
        core = Sampler(opened, servers, network.entropy, rtt=0.2)
        sampled = await sockets.run(core, Sampled, lambda event: None)
        answered = {sample.server for sample in sampled.samples}
    sockets.closeAll()
    return [
        {"address": host, "port": port, "reachable": (host, port) in answered}
        for host, port in servers
    ]
