"""
How a NAT behaves, in the words of RFC 4787, and in plain ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Mapping(StrEnum):
    """
    Towards which destinations a NAT uses one mapping again (RFC 4787, 4.1).
    """

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    UNKNOWN = "unknown"


class Filtering(StrEnum):
    """
    From whom a mapping lets packets in (RFC 4787, 5).
    """

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NatBehavior:
    """
    What was found out.

    @ivar mapping: see L{Mapping}.
    @ivar filtering: see L{Filtering}.
    @ivar hairpin: whether two inside hosts reach each other by their outside
        addresses (RFC 4787, 6); L{None} when it could not be tested.
    @ivar publicAddresses: the outside hosts that were seen, in order.
    @ivar translated: whether the outside address differs from our own.
    @ivar assumed: of C{"mapping"} and C{"filtering"} those where the server had
        too few addresses to tell the two dependent kinds apart, so that the
        stricter is assumed.
    """

    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN
    hairpin: bool | None = None
    publicAddresses: tuple[str, ...] = ()
    translated: bool = True
    assumed: tuple[str, ...] = ()

    def toDict(self) -> dict[str, Any]:
        """
        @return: the fields of C{nat} in C{punchd status --json} that are known
            here.
        """
        return {
            "mapping": self.mapping.value,
            "filtering": self.filtering.value,
            "hairpin": self.hairpin,
            "publicAddresses": list(self.publicAddresses),
        }

    def sentences(self) -> list[str]:
        """
        @return: the same for somebody who has not read the RFC.
        """
        if not self.publicAddresses:
            return ["The rendezvous does not see any UDP packet of ours."]
        lines = []
        if not self.translated:
            lines.append("There is no NAT: others see our own address.")
        else:
            lines.append(_MAPPINGS[self.mapping])
        lines.append(_FILTERINGS[self.filtering])
        for each in self.assumed:
            lines.append(
                f"(The rendezvous has too few addresses to be sure of the {each};"
                " the stricter kind is assumed.)"
            )
        if self.translated and self.hairpin is not None:
            lines.append(_HAIRPINS[self.hairpin])
        return lines


_MAPPINGS = {
    Mapping.ENDPOINT_INDEPENDENT: (
        "The NAT keeps one outside port for a socket, whomever it talks to: the"
        " port that the rendezvous sees is the one that peers can send to."
    ),
    Mapping.ADDRESS_DEPENDENT: (
        "The NAT gives a socket another outside port for each host that it talks"
        " to: the port that the rendezvous sees is of no use to peers."
    ),
    Mapping.ADDRESS_AND_PORT_DEPENDENT: (
        "The NAT gives a socket another outside port for each address and port"
        " that it talks to: the port that the rendezvous sees is of no use to"
        " peers."
    ),
    Mapping.UNKNOWN: "How the NAT chooses outside ports is not known.",
}

_FILTERINGS = {
    Filtering.ENDPOINT_INDEPENDENT: (
        "Once a port is open, packets from anybody get in."
    ),
    Filtering.ADDRESS_DEPENDENT: (
        "Packets get in from hosts that we have sent something to, from any port"
        " of theirs."
    ),
    Filtering.ADDRESS_AND_PORT_DEPENDENT: (
        "Packets get in only from the very address and port that we have sent"
        " something to."
    ),
    Filtering.UNKNOWN: "Whose packets get in is not known.",
}

_HAIRPINS = {
    True: "Machines behind this NAT reach each other by its outside addresses.",
    False: (
        "Machines behind this NAT do not reach each other by its outside"
        " addresses, only by their own."
    ),
}
