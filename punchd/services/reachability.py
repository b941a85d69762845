"""
Which ways lead to a rendezvous, tried one by one: TCP and TLS at each of its ports,
UDP, and an HTTP proxy.  A client races them and takes the first; here all are told.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import (
    IHandshakeListener,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from punchd.core import Address
from punchd.errors import PunchError
from punchd.interfaces import INetwork
from punchd.nat.sampling import Sampled, Sampler
from punchd.net.proxy import PATIENCE as PROXY_PATIENCE
from punchd.net.proxy import ProxiedEndpoint, Proxy, reasonOf
from punchd.net.reaching import endpointTo, withTLS
from punchd.net.tls import TURN, ClientCredentials
from punchd.signaling.url import RendezvousURL
from punchd.stun.address import family

from .sockets import Sockets

#: Seconds to wait for a TCP connection, and for a TLS handshake on one.
PATIENCE: Final = 4.0

#: What is known of one way, as JSON can carry it.
Way = dict[str, Any]

Say = Callable[[str], object]


async def reach(
    network: INetwork, url: RendezvousURL, proxy: Proxy | None, say: Say
) -> dict[str, Any]:
    """
    Try all ways at once.

    @param proxy: one that may lead there, too.
    @param say: takes a line of progress.

    @return: C{url}, C{addresses}, and lists of ways under C{tcp}, C{udp} and
        C{proxy}.  Each way has C{reachable}, C{port}, and C{address} or C{proxy};
        those over TCP tell C{tls}, whether a TLS handshake got through, and
        C{trusted}, whether the server showed the key that the URL names.
    """
    say(f"Looking up {url.host} ...")
    hosts = (await resolve(network, url.host))[:4]
    for host in hosts:
        for port in url.ports:
            say(f"Trying TCP to {host} port {port} ...")
        say(f"Trying UDP to {host} ...")
    if proxy is not None:
        say(f"Trying the proxy at {proxy} ...")
    tcp = [_tcp(network, url, (host, port)) for host in hosts for port in url.ports]
    udp = [_udp(network, [(host, port) for port in url.ports]) for host in hosts]
    through = [] if proxy is None else [_proxied(network, url, proxy, url.ports)]
    connected, answered, led = await _together(
        [_together(tcp), _together(udp), _together(through)]
    )
    return {
        "url": str(url),
        "addresses": hosts,
        "tcp": connected,
        "udp": [way for ways in answered for way in ways],
        "proxy": [way for ways in led for way in ways],
    }


async def _together(works: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """
    @return: their results, when all have one.
    """
    return await gatherResults([Deferred.fromCoroutine(each) for each in works])


# --- names ---------------------------------------------------------------------


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


# --- TCP and TLS ---------------------------------------------------------------


async def _tcp(network: INetwork, url: RendezvousURL, address: Address) -> Way:
    host, port = address
    endpoint = endpointTo(network.reactor, host, port, PATIENCE)
    way = await _connect(network, endpoint)
    if way["reachable"]:
        way |= await _tls(network, url, endpoint, PATIENCE)
    return {"address": host, "port": port, **way}


async def _proxied(
    network: INetwork, url: RendezvousURL, proxy: Proxy, ports: Sequence[int]
) -> list[Way]:
    async def one(port: int) -> Way:
        endpoint = ProxiedEndpoint(network.reactor, proxy, url.host, port)
        way = await _connect(network, endpoint)
        if way["reachable"]:
            way |= await _tls(network, url, endpoint, PROXY_PATIENCE)
        return {"proxy": str(proxy), "port": port, **way}

    return await _together([one(port) for port in ports])


async def _connect(network: INetwork, endpoint: IStreamClientEndpoint) -> Way:
    began = network.reactor.seconds()
    try:
        protocol: Any = await endpoint.connect(_quiet(Protocol))
    except PunchError as e:
        return {"reachable": False, "error": str(e).rstrip(".")}
    except Exception as e:
        # Whatever it is, it is what the user wants to be told.
        return {"reachable": False, "error": reasonOf(e)}
    seconds = network.reactor.seconds() - began
    protocol.transport.abortConnection()
    return {"reachable": True, "seconds": round(seconds, 4)}


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


async def _tls(
    network: INetwork,
    url: RendezvousURL,
    endpoint: IStreamClientEndpoint,
    patience: float,
) -> Way:
    """
    @return: whether TLS gets through, for there are firewalls that look into it, and
        who is at the other end.
    """
    credentials = ClientCredentials(None, url.fingerprint, url.host, protocols=(TURN,))
    try:
        factory = withTLS(network.reactor, credentials, _quiet(_Shaken))
        protocol: Any = await endpoint.connect(factory)
        shaken = protocol.wrappedProtocol.shaken
        shaken.addTimeout(patience, network.reactor)
        worked: bool = await shaken
        protocol.transport.abortConnection()
    except Exception:
        worked = False
    if credentials.mismatch is not None:
        return {"tls": True, "trusted": False, "error": str(credentials.mismatch)}
    return {"tls": worked, "trusted": True if worked else None}


def _quiet(protocol: type[Protocol]) -> Any:
    factory: Any = Factory.forProtocol(protocol)
    factory.noisy = False
    return factory


# --- UDP -----------------------------------------------------------------------


async def _udp(network: INetwork, servers: Sequence[Address]) -> list[Way]:
    """
    @return: the ports that answer, or the first.  The ports of a URL are those of TCP;
        UDP need not be on all of them.
    """
    sockets = Sockets(network, family(servers[0]))
    opened = sockets.open(1)
    answered: set[Address] = set()
    if opened:
        core = Sampler(opened, servers, network.entropy, rtt=0.2)
        sampled = await sockets.run(core, Sampled, lambda event: None)
        answered = {sample.server for sample in sampled.samples}
    sockets.closeAll()
    return [
        {"address": host, "port": port, "reachable": True}
        for host, port in servers
        if (host, port) in answered
    ] or [{"address": servers[0][0], "port": servers[0][1], "reachable": False}]
