"""
Who is connected to whom in a lab, and with which addresses.

The public network is one router that knows the way to the documentation
networks of RFC 5737 and RFC 3849 and to nothing else.  Everything is inside the
lab's own namespaces, so every lab may use the same addresses and names.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .kinds import ISOLATED, KINDS, ONE_TO_ONE, Gate, Kind

#: The table of routes that leads what enters the public network into the line.
_LINE_TABLE = 100

RENDEZVOUS4 = ("203.0.113.10", "203.0.113.11")
RENDEZVOUS6 = ("2001:db8:c::10", "2001:db8:c::11")


@dataclass
class Plan:
    """
    What to build.

    @ivar spaces: the names of the namespaces.
    @ivar links: pairs of (namespace, interface).
    @ivar commands: lines for C{ip -batch} by namespace.
    @ivar commands6: lines for C{ip -6 -batch} by namespace.
    @ivar rules: nftables rulesets by namespace.
    @ivar addresses: by namespace, IPv4 first.
    @ivar public: the addresses that others see, by namespace.
    @ivar routers: the namespaces that are NATs or firewalls.
    """

    spaces: list[str] = field(default_factory=list)
    links: list[tuple[str, str, str, str]] = field(default_factory=list)
    commands: dict[str, list[str]] = field(default_factory=dict)
    commands6: dict[str, list[str]] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    public: dict[str, list[str]] = field(default_factory=dict)
    routers: list[str] = field(default_factory=list)

    def space(self, name: str) -> None:
        """
        Add a namespace.
        """
        self.spaces.append(name)
        self.commands[name] = ["link set lo up"]
        self.commands6[name] = []
        self.addresses[name] = []
        self.public[name] = []

    def link(self, a: str, aInterface: str, b: str, bInterface: str) -> None:
        """
        Connect two namespaces.
        """
        self.links.append((a, aInterface, b, bInterface))
        self.ip(a, f"link set {aInterface} up")
        self.ip(b, f"link set {bInterface} up")

    def ip(self, space: str, *lines: str) -> None:
        """
        Add commands.
        """
        self.commands[space].extend(lines)

    def address(self, space: str, interface: str, address: str) -> None:
        """
        Give an interface an address, written with its prefix length.
        """
        self.ip(space, f"address add {address} dev {interface} nodad")
        self.addresses[space].append(address.partition("/")[0])


@dataclass(frozen=True)
class _Side:
    """
    The networks of one of the two sides.
    """

    suffix: str
    public: str
    shared: str
    private: str
    six: str


_A = _Side("A", "198.51.100", "100.64.1", "192.168.1", "2001:db8:a")
_B = _Side("B", "192.0.2", "100.64.2", "192.168.2", "2001:db8:b")


def makePlan(
    kindA: str,
    kindB: str,
    *,
    sameNat: bool = False,
    isolated: bool = False,
    overlap: bool = False,
    rendezvousNat: bool = False,
    line: bool = False,
    udpTimeout: int | None = None,
) -> Plan:
    """
    @param kindA: the kind of the NAT of host A, a key of L{KINDS}.
    @param isolated: hosts behind one NAT do not reach each other in their network.
    @param overlap: both private networks have the same addresses.
    @param line: lead all that crosses the public network through the delay line.
    @raise ValueError: for unknown kinds, and such that do not go together.
    """
    first, second = _kind(kindA), _kind(kindB)
    sameNat = sameNat or first.sameNat or second.sameNat
    if sameNat and kindA != kindB:
        raise ValueError(f"one NAT cannot be both {kindA} and {kindB}")
    plan = Plan()
    plan.space("public")
    for side, kind in ((_A, first), (_B, second)):
        if side is _A or not sameNat:
            gate = Gate(udpTimeout, f"{side.public}.10")
            _connect(plan, side, kind, gate, _A.private if overlap else side.private)
    _host(plan, "hostA", "routerA", _A, first, 0, overlap)
    _host(
        plan,
        "hostB",
        "routerA" if sameNat else "routerB",
        _A if sameNat else _B,
        second,
        1 if sameNat else 0,
        overlap,
    )
    if sameNat:
        _switch(plan, isolated)
    _rendezvous(plan, rendezvousNat)
    if line:
        _line(plan)
    return plan


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise ValueError(f"unknown kind {name!r}; the kinds are {', '.join(KINDS)}")
    return KINDS[name]


def _connect(plan: Plan, side: _Side, kind: Kind, gate: Gate, private: str) -> None:
    """
    Connect a side's routers to the public network.
    """
    router = "router" + side.suffix
    plan.space(router)
    plan.routers.append(router)
    plan.rules[router] = kind.layers[0](gate)
    outer = router
    if len(kind.layers) > 1:
        outer = "carrier" + side.suffix
        plan.space(outer)
        plan.routers.append(outer)
        plan.rules[outer] = kind.layers[1](gate)
        plan.link(outer, "lan", router, "wan")
        plan.address(outer, "lan", f"{side.shared}.1/24")
        plan.address(router, "wan", f"{side.shared}.10/24")
        plan.ip(router, f"route add default via {side.shared}.1")
    plan.link("public", "to" + side.suffix, outer, "wan")
    # Half of the public network is between the routers, half is for hosts.
    plan.address("public", "to" + side.suffix, f"{side.public}.1/25")
    plan.address(outer, "wan", f"{side.public}.10/25")
    plan.ip(outer, f"route add default via {side.public}.1")
    plan.public[router] = plan.public[outer] = [f"{side.public}.10"]
    if kind.publicHost:
        plan.ip("public", f"route add {side.public}.128/25 via {side.public}.10")
    if kind.ipv6:
        plan.address("public", "to" + side.suffix, f"{side.six}:ffff::1/64")
        plan.address(outer, "wan", f"{side.six}:ffff::10/64")
        plan.ip(outer, f"route add default via {side.six}:ffff::1")
        plan.ip("public", f"route add {side.six}:1::/64 via {side.six}:ffff::10")


def _host(
    plan: Plan, host: str, router: str, side: _Side, kind: Kind, n: int, overlap: bool
) -> None:
    """
    Put the router's n-th host behind it.
    """
    private = _A.private if overlap else side.private
    network, first, bits = (
        (side.public, 129, 25) if kind.publicHost else (private, 1, 24)
    )
    plan.space(host)
    plan.link(router, "lan" if n == 0 else "lan1", host, "eth0")
    if n == 0:
        plan.address(router, "lan", f"{network}.{first}/{bits}")
    own = f"{network}.{first + 1 + n}"
    plan.address(host, "eth0", f"{own}/{bits}")
    plan.ip(host, f"route add default via {network}.{first}")
    plan.public[host] = [own] if kind.publicHost else list(plan.public[router])
    if kind.ipv6:
        if n == 0:
            plan.address(router, "lan", f"{side.six}:1::1/64")
        plan.address(host, "eth0", f"{side.six}:1::{2 + n}/64")
        plan.ip(host, f"route add default via {side.six}:1::1")
        plan.public[host].append(f"{side.six}:1::{2 + n}")


def _switch(plan: Plan, isolated: bool) -> None:
    """
    Make one network of the two hosts behind router A.
    """
    # The bridge takes the name lan and the addresses, the cables become its ports.
    plan.links = [
        (a, {"lan": "lan0"}.get(i, i) if b.startswith("host") else i, b, j)
        for a, i, b, j in plan.links
    ]
    plan.commands["routerA"] = [
        "link add lan type bridge forward_delay 0",
        "link set lan0 master lan",
        "link set lan1 master lan",
        "link set lan0 up",
        *plan.commands["routerA"],
    ]
    if isolated:
        plan.rules["routerA"] += ISOLATED


def _rendezvous(plan: Plan, behindNat: bool) -> None:
    plan.space("rendezvous")
    plan.public["rendezvous"] = [*RENDEZVOUS4, *RENDEZVOUS6]
    plan.address("public", "toR", "203.0.113.1/24")
    if not behindNat:
        plan.link("public", "toR", "rendezvous", "eth0")
        plan.address("public", "toR", "2001:db8:c::1/64")
        own4, gateway, bits = RENDEZVOUS4, "203.0.113.1", 24
    else:
        plan.space("rendezvousRouter")
        plan.link("public", "toR", "rendezvousRouter", "wan")
        plan.link("rendezvousRouter", "lan", "rendezvous", "eth0")
        own4, gateway, bits = ("10.9.0.10", "10.9.0.11"), "10.9.0.1", 24
        plan.address("rendezvousRouter", "wan", "203.0.113.2/24")
        plan.address("rendezvousRouter", "lan", "10.9.0.1/24")
        plan.ip("rendezvousRouter", "route add default via 203.0.113.1")
        plan.address("public", "toR", "2001:db8:c:ffff::1/64")
        plan.address("rendezvousRouter", "wan", "2001:db8:c:ffff::2/64")
        plan.address("rendezvousRouter", "lan", "2001:db8:c::1/64")
        plan.ip("rendezvousRouter", "route add default via 2001:db8:c:ffff::1")
        plan.ip("public", "route add 2001:db8:c::/64 via 2001:db8:c:ffff::2")
        for address in RENDEZVOUS4:
            plan.ip("public", f"route add {address} via 203.0.113.2")
        pairs = list(zip(RENDEZVOUS4, own4))
        plan.rules["rendezvousRouter"] = ONE_TO_ONE % (
            ", ".join(f"{public} : {own}" for public, own in pairs),
            ", ".join(f"{own} : {public}" for public, own in pairs),
        )
    for address in own4:
        plan.address("rendezvous", "eth0", f"{address}/{bits}")
    plan.ip("rendezvous", f"route add default via {gateway}")
    for address in RENDEZVOUS6:
        plan.address("rendezvous", "eth0", f"{address}/64")
    plan.ip("rendezvous", "route add default via 2001:db8:c::1")


def _line(plan: Plan) -> None:
    """
    Lead what comes in by a cable into the line; what comes out of the line goes
    where it belongs.
    """
    plan.ip("public", "link set line txqueuelen 20000 up")
    for space, interface, *_ in plan.links:
        if space == "public":
            rule = f"rule add iif {interface} lookup {_LINE_TABLE}"
            plan.ip("public", rule)
            plan.commands6["public"].append(rule)
    plan.ip("public", f"route add default dev line table {_LINE_TABLE}")
    plan.ip("public", f"route add ::/0 dev line table {_LINE_TABLE}")
