"""
The kinds of NAT that the lab knows, as nftables rulesets.

A kind is an entry of L{KINDS}: its layers are functions, each of which gives the
rules of one router, the host's own router first.  Every router has the
interfaces C{lan} and C{wan}.  All but one drop what comes unasked in C{input}: a
packet that conntrack confirms there takes the mapping's tuple and moves our port.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gate:
    """
    What a ruleset may depend on.

    @ivar udpTimeout: the life of a UDP binding in seconds, or L{None} for the
        kernel's.
    @ivar address: the public address, of a router that has one.
    """

    udpTimeout: int | None = None
    address: str = ""


Rules = Callable[[Gate], str]

#: The life of a binding of the cones without a given one: the kernel's for a
#: stream, in seconds.
_CONE_TIMEOUT = 120

_FIREWALL = """
table inet filter {
  chain input {
    type filter hook input priority 0; policy %(unasked)s;
    iifname { "lo", "lan" } accept
    ct state established,related accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    %(forwarded)s
    iifname "lan" accept
    ct status dnat accept
  }
}
"""

_MASQUERADE = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan" %s
  }
}
"""

_PORTS = """meta l4proto { tcp, udp } masquerade to :%s
    oifname "wan" masquerade"""

#: The first port of NATs that give them in a row, and how many they have.
_FIRST, _ROW = 30000, 16384
#: The ports of the block.
_BLOCK = (40960, 41983)

# A mapping made by an outgoing packet lets others in: `mapped` says to whom an
# outside port belongs, `contacted` whom it may hear.  Conntrack gives its reply
# tuple for flows that began outside.
_MAPPED = """
table ip cone {
  map mapped {
    type inet_service : ipv4_addr . inet_service
    flags dynamic,timeout; timeout %(timeout)ds; size 65535;
  }
  set contacted {
    type ipv4_addr . inet_service
    flags dynamic,timeout; timeout %(timeout)ds; size 65535;
  }
  chain learn {
    type filter hook postrouting priority 300;
    oifname != "wan" accept
    meta l4proto != udp accept
    ct direction original update @mapped \
      { udp sport : ct original ip saddr . ct original proto-src }
    ct direction reply update @mapped \
      { udp sport : ct reply ip saddr . ct reply proto-src }
    update @contacted { ip daddr . udp sport }
  }
"""

_CONE = (
    _MAPPED
    + """
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "wan" %(who)s dnat ip to udp dport map @mapped
  }
}
"""
)

# What an inside host sends to an outside address goes back inside, from an
# outside address (RFC 4787, REQ-9).
_HAIRPIN = (
    _MAPPED
    + """
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "lan" ip daddr %(address)s dnat ip to udp dport map @mapped
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "lan" ct status dnat meta l4proto udp snat to %(address)s
  }
}
"""
)


def _router(
    nat: str = "masquerade", *, forwarded: str = "", unasked: str = "drop"
) -> str:
    firewall = _FIREWALL % {"forwarded": forwarded, "unasked": unasked}
    return firewall + _MASQUERADE % nat


def _cone(gate: Gate, who: str) -> str:
    timeout = gate.udpTimeout or _CONE_TIMEOUT
    return portRestricted(gate) + _CONE % {"timeout": timeout, "who": who}


def hairpin(gate: Gate) -> str:
    """
    As L{portRestricted}, but hosts inside reach each other by their outside
    addresses.
    """
    timeout = gate.udpTimeout or _CONE_TIMEOUT
    return portRestricted(gate) + _HAIRPIN % {
        "timeout": timeout,
        "address": gate.address,
    }


def noNAT(gate: Gate) -> str:
    """
    Forward everything, change nothing.
    """
    return ""


def portRestricted(gate: Gate) -> str:
    """
    Endpoint-independent mapping that preserves the port, address and
    port-dependent filtering: Linux's plain masquerade.
    """
    return _router()


def fullCone(gate: Gate) -> str:
    """
    Endpoint-independent mapping and filtering.
    """
    return _cone(gate, "")


def restricted(gate: Gate) -> str:
    """
    Endpoint-independent mapping, address-dependent filtering.
    """
    return _cone(gate, "ip saddr . udp dport @contacted")


def symmetric(gate: Gate) -> str:
    """
    Address and port-dependent mapping with random ports, and filtering.
    """
    return _router("masquerade fully-random")


def _inRow(step: int) -> str:
    ports = ", ".join(f"{i} : {_FIRST + i * step}" for i in range(_ROW))
    return _router(_PORTS % f"numgen inc mod {_ROW} map {{ {ports} }}")


def sequential(gate: Gate) -> str:
    """
    Address and port-dependent mapping: each new flow gets the next port.
    """
    return _inRow(1)


def sequential2(gate: Gate) -> str:
    """
    As L{sequential}, but the next port but one.
    """
    return _inRow(2)


def block1024(gate: Gate) -> str:
    """
    Address and port-dependent mapping with random ports of a block of 1024.
    """
    return _router(_PORTS % "{}-{} fully-random".format(*_BLOCK))


def noInputFilter(gate: Gate) -> str:
    """
    As L{portRestricted}, but what comes unasked is the router's own, so that a
    packet that comes before ours takes the port.
    """
    return _router(unasked="accept")


def udpBlocked(gate: Gate) -> str:
    """
    A port-restricted NAT that lets no UDP through, in neither direction.
    """
    return _router(forwarded="meta l4proto udp drop")


def symmetricNoUdp(gate: Gate) -> str:
    """
    As L{symmetric}, without any UDP.
    """
    return _router("masquerade fully-random", forwarded="meta l4proto udp drop")


def tcp443(gate: Gate) -> str:
    """
    A port-restricted NAT that lets nothing out but TCP to port 443.
    """
    return _router(
        forwarded="""meta l4proto udp drop
    tcp dport != 443 drop"""
    )


def proxyOnly(gate: Gate) -> str:
    """
    A router that forwards nothing: what runs on it has to help.
    """
    return _router(forwarded='iifname "lan" drop')


@dataclass(frozen=True)
class Kind:
    """
    One kind of connection to the public network.

    @ivar summary: one line for people.
    @ivar layers: the rules of its routers, the host's own first.
    @ivar mapping: RFC 4787's word for the mapping of the whole.
    @ivar filtering: RFC 4787's word for the filtering.
    @ivar publicHost: the host itself has the public address.
    @ivar ipv6: the host has a global IPv6 address, too.
    @ivar sameNat: both hosts are behind one router.
    @ivar udp: whether any UDP passes.
    """

    summary: str
    layers: tuple[Rules, ...]
    mapping: str = "endpoint-independent"
    filtering: str = "address and port-dependent"
    publicHost: bool = field(default=False, kw_only=True)
    ipv6: bool = field(default=False, kw_only=True)
    sameNat: bool = field(default=False, kw_only=True)
    udp: bool = field(default=True, kw_only=True)


KINDS: dict[str, Kind] = {
    "open": Kind(
        "a public address, no NAT and no firewall",
        (noNAT,),
        "endpoint-independent",
        "endpoint-independent",
        publicHost=True,
    ),
    "fullcone": Kind(
        "full cone", (fullCone,), "endpoint-independent", "endpoint-independent"
    ),
    "restricted": Kind(
        "address-restricted cone",
        (restricted,),
        "endpoint-independent",
        "address-dependent",
    ),
    "portrestricted": Kind("port-restricted cone", (portRestricted,)),
    "symmetric": Kind(
        "symmetric, random ports", (symmetric,), "address and port-dependent"
    ),
    "sequential": Kind(
        "symmetric, each flow gets the next port",
        (sequential,),
        "address and port-dependent",
    ),
    "sequential2": Kind(
        "symmetric, each flow gets the next port but one",
        (sequential2,),
        "address and port-dependent",
    ),
    "block1024": Kind(
        "symmetric, random ports of a block of 1024",
        (block1024,),
        "address and port-dependent",
    ),
    "noinputfilter": Kind(
        "port-restricted; a packet that comes too early takes the port",
        (noInputFilter,),
    ),
    "hairpin": Kind(
        "port-restricted; hosts inside reach each other by outside addresses",
        (hairpin,),
    ),
    "cgnat": Kind(
        "a port-restricted home router behind a carrier's port-restricted NAT",
        (portRestricted, portRestricted),
    ),
    "lan": Kind(
        "both hosts behind one port-restricted NAT", (portRestricted,), sameNat=True
    ),
    "ipv6": Kind(
        "global IPv6 behind a stateful firewall, IPv4 behind a symmetric NAT",
        (symmetric,),
        "address and port-dependent",
        ipv6=True,
    ),
    "ipv6udpblocked": Kind(
        "as ipv6, but no UDP at all", (symmetricNoUdp,), ipv6=True, udp=False
    ),
    "udpblocked": Kind(
        "port-restricted for TCP, no UDP at all", (udpBlocked,), udp=False
    ),
    "tcp443": Kind("nothing but TCP to port 443", (tcp443,), udp=False),
    "proxyonly": Kind(
        "nothing but what an HTTP proxy on the router lets through",
        (proxyOnly,),
        udp=False,
    ),
}

#: A NAT of these kinds at the carrier, a port-restricted one at home.
CARRIERS = (
    "fullcone",
    "restricted",
    "symmetric",
    "sequential",
    "sequential2",
    "block1024",
    "noinputfilter",
)
KINDS |= {
    f"cgnat-{name}": Kind(
        f"a port-restricted home router behind a carrier's NAT, {name}",
        (portRestricted, *KINDS[name].layers),
        KINDS[name].mapping,
    )
    for name in CARRIERS
}

#: Rules of a router that keeps the hosts of its own network from each other.
ISOLATED = """
table bridge isolated {
  chain forward {
    type filter hook forward priority 0; policy drop;
  }
}
"""

#: Rules of the router in front of a rendezvous behind a 1:1 NAT, as clouds have it.
ONE_TO_ONE = """
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "wan" dnat to ip daddr map { %s }
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan" snat to ip saddr map { %s }
  }
}
"""
