"""
Services that programs offer for as long as they run, beside those that
C{--publish} names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from punchd.errors import InvalidOption, NoSuchService

from .rules import checkName

#: Called with the peer's id, the service, and a stream that waits to be accepted
#: or refused: L{punchd.session.stream.Stream}.
TakeStream = Callable[[str, str, Any], None]


class Permissions(Protocol):
    """
    Who may do what; L{punchd.forward.rules.Allowances}.
    """

    def allowsPeer(self, peerId: str) -> bool:
        """
        Whether the peer may have a session.
        """

    def allows(self, peerId: str, service: str) -> bool:
        """
        Whether the peer may open the service.
        """


class Nobody:
    """
    I permit nothing.
    """

    def allowsPeer(self, peerId: str) -> bool:
        """
        @return: C{False}.
        """
        return False

    def allows(self, peerId: str, service: str) -> bool:
        """
        @return: C{False}.
        """
        return False


class Offer:
    """
    One service, until L{stop}.
    """

    def __init__(
        self,
        serving: Serving,
        service: str,
        allowed: Iterable[str],
        take: TakeStream,
    ) -> None:
        self.service = service
        self.allowed = frozenset(allowed)
        self.take = take
        self._serving = serving

    def stop(self) -> None:
        """
        Offer it no more.  Who is connected stays so.
        """
        offers = self._serving.offers
        if offers.get(self.service) is self:
            del offers[self.service]


class Serving:
    """
    I am the permissions and the publisher of a client: my own offers, and behind
    them what was given to me.

    @ivar offers: by the name of the service.
    """

    def __init__(
        self,
        permissions: Permissions | None = None,
        publish: TakeStream | None = None,
        published: Callable[[str], bool] = lambda service: False,
    ) -> None:
        """
        @param published: whether C{publish} has a service of that name.
        """
        self.offers: dict[str, Offer] = {}
        self._permissions = permissions or Nobody()
        self._publish = publish
        self._published = published

    def serve(self, service: str, allowed: Iterable[str], take: TakeStream) -> Offer:
        """
        Offer a service.

        @param allowed: the ids of peers that may use it, beside those that may
            use all services, or this one, anyway.

        @raise InvalidOption: the name is no name, or taken.
        """
        checkName(service)
        if service in self.offers or self._published(service):
            raise InvalidOption(f"The service {service!r} is published already.")
        offer = self.offers[service] = Offer(self, service, allowed, take)
        return offer

    # --- Permissions

    def allowsPeer(self, peerId: str) -> bool:
        """
        Whether the peer may have a session.
        """
        return self._permissions.allowsPeer(peerId) or any(
            peerId in offer.allowed for offer in self.offers.values()
        )

    def allows(self, peerId: str, service: str) -> bool:
        """
        Whether the peer may open the service.
        """
        offer = self.offers.get(service)
        if offer is not None and peerId in offer.allowed:
            return True
        return self._permissions.allows(peerId, service)

    # --- TakeStream

    def __call__(self, peerId: str, service: str, stream: Any) -> None:
        """
        A peer that is allowed to opens a stream.
        """
        offer = self.offers.get(service)
        if offer is not None:
            offer.take(peerId, service, stream)
        elif self._publish is not None:
            self._publish(peerId, service, stream)
        else:
            stream.refuse(NoSuchService)
