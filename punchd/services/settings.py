"""
What a rendezvous is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from punchd.errors import InvalidOption
from punchd.signaling.directory import Limits
from punchd.stun.address import isForbiddenPeer
from punchd.turn.limits import Limits as RelayLimits

from .places import DEFAULT_PLACES, Place, publicHosts

Publics = Sequence[tuple[str, str | None]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    @ivar places: where to listen.
    @ivar publics: public addresses, each with the local one behind it, or
        L{None} to find that.
    @ivar alternatePort: a second UDP port (RFC 5780), or L{None}.
    @ivar relay: whether to relay.
    @ivar relayPorts: the lowest and the highest port of relayed addresses.
    @ivar realm: of the relay's credentials.
    @ivar guards: who else may use the relay, and who may not register or dial:
        L{punchd.interfaces.IGuard}s.
    @ivar relayLimits: how much may be relayed.
    @ivar peers: the deny list of the relay.
    @ivar directory: an empty L{punchd.interfaces.IPresences}, if not one in memory.
    @ivar drain: seconds for which what is relayed goes on when we stop.
    @ivar processes: how many share the UDP ports.
    @ivar admissions: what C{guards} were made of, for the other ones.
    """

    places: Sequence[Place] = DEFAULT_PLACES
    publics: Publics = ()
    alternatePort: int | None = None
    relay: bool = True
    relayPorts: tuple[int, int] = (49152, 65535)
    realm: str = "punchd"
    guards: Sequence[Any] = ()
    relayLimits: RelayLimits = field(default_factory=RelayLimits)
    peers: Callable[[str], bool] = isForbiddenPeer
    limits: Limits = field(default_factory=Limits)
    directory: Any = None
    drain: float = 5.0
    processes: int = 1
    admissions: Sequence[tuple[str, str]] = ()

    def check(self, localHosts: Sequence[str]) -> dict[str, str]:
        """
        @param localHosts: the addresses of this machine.

        @return: public addresses by local ones.

        @raise InvalidOption: the settings do not fit together.
        """
        for transport in ("tcp", "udp"):
            if not any(getattr(place, transport) for place in self.places):
                raise InvalidOption(
                    f"--listen: nothing listens on {transport.upper()}; "
                    "expected at least one ADDR:PORT without /tcp or /udp."
                )
        udp = [place for place in self.places if place.udp]
        return publicHosts(udp, self.publics, localHosts)
