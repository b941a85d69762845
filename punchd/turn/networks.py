"""
What the operator allows and denies the relay's users beyond what holds anyway.

The built-in deny list keeps them from what is nobody's, and from the networks
around the relay.  An operator can take networks out of the second part, to relay
within his own network, never out of the first.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Final

from punchd.errors import InvalidOption
from punchd.stun.address import embeddedHosts, isForbiddenPeer

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What nothing takes off the deny list: unspecified, loopback, link-local,
#: multicast, reserved and broadcast.
_NEVER: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/127",
        "fe80::/10",
        "ff00::/8",
    )
)


def parseNetwork(option: str, value: str) -> Network:
    """
    @param option: what the sentence of an error names.

    @raise InvalidOption: C{value} is no network, nor an address.
    """
    try:
        return ipaddress.ip_network(value)
    except ValueError as e:
        raise InvalidOption(
            f"{option}={value}: expected a network, such as 203.0.113.0/24 or "
            "2001:db8::/32, or an address."
        ) from e


class PeerNetworks:
    """
    I am a deny list.
    """

    def __init__(
        self,
        allowed: Iterable[Network] = (),
        denied: Iterable[Network] = (),
        forbidden: Callable[[str], bool] = isForbiddenPeer,
    ) -> None:
        """
        @param allowed: networks that are not denied, whatever else says so.
        @param denied: networks that are denied as well.
        @param forbidden: the built-in deny list.
        """
        self._allowed = tuple(allowed)
        self._denied = tuple(denied)
        self._forbidden = forbidden

    def __call__(self, host: str) -> bool:
        """
        @return: whether nobody may be relayed to C{host}, nor to what it leads to.
        """
        try:
            hosts = (host, *embeddedHosts(host))
        except ValueError:
            return True
        return any(self._isDenied(each) for each in hosts)

    def _isDenied(self, host: str) -> bool:
        address = ipaddress.ip_address(host)
        if _isIn(address, _NEVER):
            return True
        if _isIn(address, self._allowed):
            return False
        return _isIn(address, self._denied) or self._forbidden(host)


def _isIn(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    networks: Iterable[Network],
) -> bool:
    return any(address in each for each in networks)
