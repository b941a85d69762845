"""
The kinds of NAT that the lab knows, as nftables rulesets.

A kind is an entry of L{KINDS}: its layers are functions, each of which gives the
rules of one router, the host's own router first.  Every router has the
interfaces C{lan} and C{wan}.  All drop what comes unasked in C{input}: a packet
that conntrack confirms there would take the mapping's tuple and move our port.
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
    """

    udpTimeout: int | None = None


Rules = Callable[[Gate], str]

#: The life of a binding of the cones without a given one: the kernel's for a
#: stream, in seconds.
_CONE_TIMEOUT = 120

_FIREWALL = """
table inet filter {
  chain input {
    type filter hook input priority 0; policy drop;
    iifname { "lo", "lan" } accept
    ct state established,related accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    %s
    iifname "lan" accept
    ct status dnat accept
  }
}
"""

_MASQUERADE = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan" masquerade %s
  }
}
"""

# A mapping made by an outgoing packet lets others in: `mapped` says to whom an
# outside port belongs, `contacted` whom it may hear.  Conntrack gives its reply
# tuple for flows that began outside.
_CONE = """
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
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "wan" %(who)s dnat ip to udp dport map @mapped
  }
}
"""


def _cone(gate: Gate, who: str) -> str:
    timeout = gate.udpTimeout or _CONE_TIMEOUT
    return portRestricted(gate) + _CONE % {"timeout": timeout, "who": who}


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
    return _FIREWALL % "" + _MASQUERADE % ""


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
    return _FIREWALL % "" + _MASQUERADE % "fully-random"


def udpBlocked(gate: Gate) -> str:
    """
    A port-restricted NAT that lets no UDP through, in neither direction.
    """
    return _FIREWALL % "meta l4proto udp drop" + _MASQUERADE % ""


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
    """

    summary: str
    layers: tuple[Rules, ...]
    mapping: str = "endpoint-independent"
    filtering: str = "address and port-dependent"
    publicHost: bool = field(default=False, kw_only=True)
    ipv6: bool = field(default=False, kw_only=True)
    sameNat: bool = field(default=False, kw_only=True)


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
    "udpblocked": Kind("port-restricted for TCP, no UDP at all", (udpBlocked,)),
}

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
