"""
Two hosts, a rendezvous, and a NAT of a given kind before each host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .allocation import Block, Parity, RandomPorts, Sequential
from .host import Host
from .link import Link
from .nat import Nat
from .network import Network
from .onetoone import OneToOne
from .packet import familyOf
from .router import Dependence, Firewall, Lifetimes, Router, Unsolicited
from .subnet import Subnet

EI = Dependence.ENDPOINT_INDEPENDENT
AD = Dependence.ADDRESS_DEPENDENT
APD = Dependence.ADDRESS_AND_PORT_DEPENDENT

#: The rendezvous host.
RENDEZVOUS_HOSTS = (
    "203.0.113.10",
    "203.0.113.11",
    "2001:db8::10",
    "2001:db8::11",
)

#: What makes each kind of NAT: the arguments of L{Nat}.  Allocations keep a
#: state, so they are given as functions that make one.
NATS: dict[str, dict[str, Any]] = {
    # For UDP only, as in the kernel lab, and in most routers that have it.
    "fullcone": {"filtering": EI, "tcpFiltering": APD},
    "restricted": {"filtering": AD, "tcpFiltering": APD},
    "portrestricted": {},
    # Linux without an input filter: an early packet takes the tuple.
    "noinputfilter": {"unsolicited": Unsolicited.CLAIM},
    "hairpin": {"hairpin": True},
    "symmetric": {"mapping": APD, "allocation": RandomPorts},
    "addressdependent": {"mapping": AD, "filtering": AD, "allocation": RandomPorts},
    "sequential": {"mapping": APD, "allocation": Sequential},
    "sequential2": {"mapping": APD, "allocation": lambda: Sequential(2)},
    "sequentialdown": {"mapping": APD, "allocation": lambda: Sequential(-1)},
    "block1024": {"mapping": APD, "allocation": lambda: Block(1024)},
    "parity": {"mapping": APD, "allocation": Parity},
    "multiaddress": {"mapping": APD, "allocation": RandomPorts, "paired": False},
    "udpblocked": {"blockUdp": True},
    "tcp443": {"blockUdp": True, "tcpPorts": (443,)},
    "ipv6udpblocked": {"mapping": APD, "allocation": RandomPorts, "blockUdp": True},
    # Nothing but what an HTTP proxy, outside, lets through.
    "proxyonly": {"blockUdp": True, "tcpPorts": (3128,)},
}


@dataclass
class Side:
    """
    One host and what stands between it and the internet.

    @ivar routers: the routers, the one next to the host first.
    """

    host: Host
    lan: Subnet
    routers: list[Router] = field(default_factory=list)

    def dropDirect(self, *allowed: str) -> None:
        """
        Have the outermost router drop all but the rendezvous, or but the hosts
        C{allowed}.
        """
        self.routers[-1].dropDirect(*(allowed or RENDEZVOUS_HOSTS))

    def restore(self) -> None:
        """
        End L{dropDirect}.
        """
        self.routers[-1].restore()


def kinds() -> list[str]:
    """
    @return: the kinds of hosts.  Each NAT is also there as that of a carrier,
        with a port-restricted one at home, as C{cgnat-KIND}, and C{cgnat} is
        short for C{cgnat-portrestricted}; C{ipv6} has a symmetric NAT for IPv4
        beside a firewall for IPv6, C{ipv6udpblocked} the same without UDP,
        C{ipv6only} the firewall; C{lan} is for L{Scenario} alone.
    """
    return [*NATS, "open", "cgnat", "ipv6", "ipv6only", "lan"]


def makeNat(
    network: Network,
    kind: str,
    name: str,
    outside: Subnet,
    inside: Subnet,
    address: str,
    insideAddress: str,
    **options: Any,
) -> Nat:
    """
    Make a NAT of a kind.

    @param options: arguments of L{Nat} that differ from the kind's; and
        C{foreign}, the flows a second that others have through a sequential
        one.
    """
    if kind not in NATS:
        raise ValueError(f"no kind of NAT {kind!r}; there are {', '.join(NATS)}")
    arguments = dict(NATS[kind])
    make = arguments.pop("allocation", None)
    foreign = options.pop("foreign", 0.0)
    if make is not None:
        allocation = make()
        if isinstance(allocation, Sequential):
            allocation.foreign = foreign
        arguments["allocation"] = allocation
    arguments.update(options)
    addresses = [address]
    if kind == "multiaddress":
        first, last = address.rsplit(".", 1)
        addresses += [f"{first}.{int(last) + extra}" for extra in (50, 100, 150)]
    return Nat(network, name, outside, inside, addresses, [insideAddress], **arguments)


class Plan:
    """
    The addresses of the n-th side, 1 and 2 being those of the kernel lab.
    """

    def __init__(self, number: int, private: int | None = None) -> None:
        net, last = ("198.51.100", 10) if number == 1 else ("192.0.2", 8 + number)
        self.public = f"{net}.{last}"
        self.open = f"{net}.{last + 120}"
        self.shared = f"100.64.{number}"
        self.private = f"192.168.{private or number}"
        self.six = f"2001:db8:{number + 9:x}:1::2"


def makeHost(
    network: Network,
    kind: str,
    name: str,
    *,
    private: int | None = None,
    **options: Any,
) -> Side:
    """
    Put a host of a kind into C{network}.

    @param kind: see L{kinds}.
    @param private: the third octet of its private addresses, by default
        another one for every host.
    @param options: arguments of its outermost L{Nat}.
    """
    number = 1 + sum(host.name != "rendezvous" for host in network.hosts.values())
    plan = Plan(number, private)
    internet = network.internet
    if kind == "open":
        return Side(network.addHost(name, plan.open), internet)
    lan = network.addSubnet(f"{name}-lan")
    gate, inside = f"{plan.private}.1", f"{plan.private}.2"
    if kind == "ipv6only":
        router = Firewall(network, f"{name}-router", internet, lan, **options)
        return Side(network.addHost(name, plan.six, subnet=lan), lan, [router])
    routers: list[Router] = []
    outer = lan
    if kind == "cgnat" or kind.startswith("cgnat-"):
        kind = kind.removeprefix("cgnat").removeprefix("-") or "portrestricted"
        outer = network.addSubnet(f"{name}-carrier")
        home = f"{plan.shared}.10"
        routers.append(
            makeNat(network, "portrestricted", f"{name}-router", outer, lan, home, gate)
        )
        gate = f"{plan.shared}.1"
    hosts = [inside]
    if kind in ("ipv6", "ipv6udpblocked"):
        hosts.append(plan.six)
        kind = "symmetric" if kind == "ipv6" else kind
    routers.append(
        makeNat(
            network,
            kind,
            f"{name}-carrier" if routers else f"{name}-router",
            internet,
            outer,
            plan.public,
            gate,
            **options,
        )
    )
    return Side(network.addHost(name, *hosts, subnet=lan), lan, routers)


class Scenario:
    """
    A rendezvous host and two sides.

    @ivar kinds: of A and of B.
    @ivar network: the network.
    @ivar rendezvous: the host of the rendezvous, with two public addresses.
    @ivar hostA: one host.
    @ivar hostB: the other.
    @ivar sideA: the host with its routers.
    @ivar sideB: the same for the other.
    """

    def __init__(
        self,
        kindA: str,
        kindB: str,
        seed: int = 0,
        delay: float = 0.025,
        loss: float = 0.0,
        *,
        udpLifetime: float | None = None,
        sameNat: bool = False,
        isolated: bool = False,
        overlap: bool = False,
        rendezvousNat: bool = False,
        link: Link | None = None,
        hops: int = 2,
        optionsA: dict[str, Any] | None = None,
        optionsB: dict[str, Any] | None = None,
    ) -> None:
        """
        @param kindA: see L{kinds}; C{"lan"} on both sides is C{"portrestricted"}
            with C{sameNat}.
        @param delay: seconds one way between any two public addresses.
        @param loss: the probability that a packet is lost there.
        @param udpLifetime: seconds that the outermost NATs keep a UDP flow.
        @param sameNat: both hosts are behind the NAT of C{kindA}.
        @param isolated: and the LAN keeps them from each other.
        @param overlap: both private networks have the same addresses.
        @param rendezvousNat: the rendezvous is behind a 1:1 NAT for IPv4.
        @param link: the public network, in place of C{delay} and C{loss}.
        @param hops: the public routers on the way.
        @param optionsA: arguments of the outermost NAT of that side, and
            C{foreign}; see L{makeNat}.
        """
        if sameNat or "lan" in (kindA, kindB):
            if kindA != kindB:
                raise ValueError(f"one NAT cannot be both {kindA} and {kindB}")
            sameNat = True
            kindA = kindB = "portrestricted" if kindA == "lan" else kindA
        self.kinds = (kindA, kindB)
        self.network = Network(seed, link or Link(delay, loss=loss), hops)
        self.clock = self.network.clock
        self.rendezvous = self._makeRendezvous(rendezvousNat)
        common: dict[str, Any] = {}
        if udpLifetime is not None:
            common["lifetimes"] = Lifetimes(udp=(udpLifetime, udpLifetime))
        self.sideA = makeHost(
            self.network, kindA, "hostA", **{**common, **(optionsA or {})}
        )
        if sameNat:
            self.sideB = self._neighbour(isolated)
        else:
            if overlap:
                common["private"] = 1
            self.sideB = makeHost(
                self.network, kindB, "hostB", **{**common, **(optionsB or {})}
            )
        self.hostA = self.sideA.host
        self.hostB = self.sideB.host

    def _makeRendezvous(self, behindNat: bool) -> Host:
        network = self.network
        if not behindNat:
            return network.addHost("rendezvous", *RENDEZVOUS_HOSTS)
        lan = network.addSubnet("rendezvous-lan")
        four = [host for host in RENDEZVOUS_HOSTS if familyOf(host) == 4]
        six = [host for host in RENDEZVOUS_HOSTS if familyOf(host) == 6]
        pairs = {host: f"10.9.0.{host.rpartition('.')[2]}" for host in four}
        OneToOne(
            network, "rendezvous-router", network.internet, lan, pairs, ["10.9.0.1"]
        )
        return network.addHost("rendezvous", *pairs.values(), *six, subnet=lan)

    def _neighbour(self, isolated: bool) -> Side:
        lan = self.sideA.lan
        lan.isolated = isolated
        addresses = [host.removesuffix("2") + "3" for host in self.sideA.host.addresses]
        host = self.network.addHost("hostB", *addresses, subnet=lan)
        return Side(host, lan, self.sideA.routers)
