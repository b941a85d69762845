"""
The words in which C{punchd why} answers.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from .verdict import Reason


class Cause(Enum):
    """
    What decides about a path; the value is its name in C{punchd why --json}.
    """

    DIRECT = "direct"
    ENDED = "ended"
    PEER_OFFLINE = "peer-offline"
    PEER_LEFT = "peer-left"
    RENDEZVOUS_DOWN = "rendezvous-unreachable"
    RELAY_WANTED = "relay-wanted"
    PROXY_ONLY = "proxy-only"
    UDP_BLOCKED_BOTH = "udp-blocked-on-both-sides"
    UDP_BLOCKED_HERE = "udp-blocked-here"
    UDP_BLOCKED_THERE = "udp-blocked-at-the-peer"
    NO_HAIRPIN = "no-hairpin"
    BUSY = "busy"
    NO_SPRAY = "no-spray"
    OUT_OF_REACH = "out-of-reach"
    NOT_HIT = "not-hit"
    PEER_SILENT = "peer-silent"
    ONE_WAY = "one-way"
    NO_CANDIDATES = "no-common-addresses"
    NO_RELAY = "no-relay"
    NOT_MEASURED = "not-measured"
    UNANSWERED = "unanswered"
    TRYING = "trying"


STRATEGIES: Final = {
    "host": "both sides reach each other without any NAT in between",
    "srflx": "through a hole that both sides punched",
    "prflx": "through a hole that both sides punched",
    "mapped": "through a port that a router opened on request",
    "ipv6": "over IPv6, past the firewalls",
    "opener": "through a hole, after a packet that only our own router saw",
    "reversal": "one side lets everybody in, and the other came to it",
    "fresh": "through a hole, from fresh sockets in place of one that was stuck",
    "predicted": "through a hole at a port that was predicted",
    "spray": "through a hole found by trying many ports",
    "optimistic": "through a hole at the port that a NAT was hoped to keep",
    "tcp": "over TCP, opened from both sides at once",
    "relay": "through the relay",
}

REASONS: Final = {
    Cause.PEER_OFFLINE: "",
    Cause.PEER_LEFT: "The rendezvous saw the peer leave.",
    Cause.RENDEZVOUS_DOWN: "The rendezvous cannot be reached.",
    Cause.RELAY_WANTED: "You asked for that with --path=relay.",
    Cause.PROXY_ONLY: (
        "Your network lets nothing out but what goes through its HTTP proxy, and"
        " proxies carry no direct paths."
    ),
    Cause.UDP_BLOCKED_BOTH: "Both your network and the peer's block UDP.",
    Cause.UDP_BLOCKED_HERE: (
        "Your network blocks UDP: the rendezvous does not answer over it."
    ),
    Cause.UDP_BLOCKED_THERE: (
        "The peer's network blocks UDP: the rendezvous never saw a packet of it."
    ),
    Cause.NO_HAIRPIN: (
        "You and the peer are behind one NAT, whose own network keeps you apart, and"
        " it does not lead back inside what is sent to its outside address"
        " (hairpinning)."
    ),
    Cause.BUSY: (
        "Somebody else behind the same public address, or another session of yours,"
        " was trying many ports, and only one at a time may."
    ),
    Cause.NO_SPRAY: (
        "Only trying many ports could get through, and --no-spray rules that out on"
        " one of the sides."
    ),
    Cause.OUT_OF_REACH: "",
    Cause.NOT_HIT: "",
    Cause.PEER_SILENT: (
        "The peer took no part in more than plain checks: it runs with --path=relay,"
        " or an older version."
    ),
    Cause.ONE_WAY: (
        "Small packets get through directly, full-size ones do not: a firewall, or a"
        " link that carries small packets only (MTU)."
    ),
    Cause.NO_CANDIDATES: "The two sides have no kind of address in common.",
    Cause.NO_RELAY: "The rendezvous offers no relay, and no direct path was found.",
    Cause.NOT_MEASURED: (
        "How the NATs choose ports could not be measured, so there was nothing to aim"
        " at."
    ),
    Cause.UNANSWERED: "",
    Cause.TRYING: "",
}

#: Why TCP from both sides did not help.
TCP: Final[dict[Reason | None, str]] = {
    Reason.OUT_OF_REACH: (
        " Over TCP there is no way either, because both NATs give every connection"
        " another port."
    ),
    Reason.NOT_CONNECTED: (
        " Connections over TCP did not come through either: a firewall lets out only"
        " what goes to known ports, or refuses what comes from the other side."
    ),
    Reason.NOT_POSSIBLE: (
        " TCP was of no use, because one of the two machines cannot share a port"
        " between connections."
    ),
}

PORTS: Final = {
    "endpoint-independent": "keeps one outside port for all destinations",
    "preserving": "keeps the port of the socket",
    "sequential": "gives every destination the next port",
    "parity": "gives every destination another port at random",
    "random": "gives every destination another port at random",
    "block": "gives every destination another port of a block, at random",
}

ATTEMPTS: Final = {
    "checks": "Direct path",
    "relay": "Relay",
    "restart": "Asking the peer for new paths",
    "traversal": "Getting through both NATs",
    "reversal": "Coming to the side that lets everybody in",
    "fresh": "Fresh sockets on both sides",
    "predicted": "Predicting the NATs' next ports",
    "spray": "Trying many ports",
    "optimistic": "Trying the socket's own port",
    "tcp": "TCP opened from both sides",
}

OPENED: Final = (
    "A port forwarding to a fixed --port, UPnP on the router, or IPv6 {where} would"
    " make a direct path possible."
)

#: Where both NATs keep their ports, and still nothing comes through.
FIREWALL: Final = (
    " Such NATs are no obstacle, so it is probable that a firewall on one of the two"
    " sides lets UDP pass to the rendezvous and not between them."
)
BETWEEN: Final = "Let UDP out to all addresses, here and at the peer."

ADVICE: Final = {
    Cause.PEER_OFFLINE: (
        "See there whether the client runs and is connected (`punchd status`), uses"
        " the same rendezvous, and lets you in with --allow."
    ),
    Cause.RELAY_WANTED: "Start the client without it to have direct paths tried.",
    Cause.PROXY_ONLY: "Ask your administrator to let UDP out, or TCP to any port.",
    Cause.UDP_BLOCKED_HERE: "Let UDP out of your network.",
    Cause.UDP_BLOCKED_THERE: "Let UDP out of the peer's network.",
    Cause.UDP_BLOCKED_BOTH: "Let UDP out of both networks.",
    Cause.NO_HAIRPIN: (
        "Bring both machines into one network, such as the same Wi-Fi and not one for"
        " guests, or switch on hairpinning (NAT loopback) in the router."
    ),
    Cause.NO_SPRAY: "Start the clients without --no-spray, or:",
    Cause.PEER_SILENT: "See there how the client was started.",
    Cause.NO_CANDIDATES: "IPv4 on both sides, or IPv6 on both sides, would help.",
    Cause.NO_RELAY: "Start the rendezvous without --no-relay.",
}
