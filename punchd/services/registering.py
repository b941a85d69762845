"""
An attempt to be registered, in the form in which L{ClientService} makes it: an
endpoint, whose connection is complete when the rendezvous has taken it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet import protocol
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from punchd.errors import PunchError, RendezvousUnreachable
from punchd.net.proxy import Proxy
from punchd.net.tls import ClientCredentials
from punchd.net.ways import Reached
from punchd.signaling.url import RendezvousURL

from .approach import Approach, Handshake, Way
from .linkconnection import LinkConnection, LinkOwner
from .registration import Registration

#: Seconds that the answer to a registration may take.
ANSWER: Final = 10.0


class Registered(protocol.Protocol):
    """
    What L{ClientService} sees of a connection that the rendezvous has taken.
    """


class RegistrationOwner(LinkOwner, Protocol):
    """
    Who wants to be registered; L{punchd.services.link.RendezvousLink}.
    """

    #: The handle of an earlier registration of this process.
    handle: str | None

    def taken(self, connection: LinkConnection, registration: Registration) -> None:
        """
        The rendezvous has taken us.
        """

    def attemptFailed(self, failure: Failure) -> None:
        """
        It has not.
        """


@implementer(IStreamClientEndpoint)
class RegisteringEndpoint:
    """
    I reach a rendezvous and register there.
    """

    def __init__(
        self,
        reactor: Any,
        url: RendezvousURL,
        credentials: ClientCredentials,
        agent: str,
        owner: RegistrationOwner,
        proxy: Proxy | None = None,
    ) -> None:
        """
        @param agent: our name and version.
        @param proxy: what may lead there, too.
        """
        self._proxy = proxy
        self._best: Way | None = None
        self._reactor = reactor
        self._url = url
        self._credentials = credentials
        self._agent = agent
        self._owner = owner

    def __repr__(self) -> str:
        return str(self._url)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Make one attempt.
        """
        approach = Approach(
            self._reactor, self._url, self._credentials, self._proxy, self._best
        )

        def reached(handshake: Handshake) -> Any:
            self._best = way = approach.way
            assert way is not None
            url = self._url
            how = Reached(
                url.host, url.ports, url.fingerprint, way.port, proxied=way.proxied
            )
            return self._register(handshake, protocolFactory, how)

        attempt: Deferred[Any] = approach.begin()
        attempt.addCallback(reached)
        return attempt.addErrback(self._failed)

    def _register(
        self, handshake: Handshake, factory: IProtocolFactory, how: Reached
    ) -> Any:
        connection = LinkConnection(self._reactor, self._owner)
        handshake.handOver(connection)

        def registered(response: dict[str, Any]) -> Any:
            self._owner.taken(connection, Registration.of(response, how))
            seen: Any = factory.buildProtocol(handshake.getAddress())
            connection.whenLost = seen.connectionLost
            seen.makeConnection(connection)
            return seen

        def failed(failure: Failure) -> Failure:
            connection.refuse("the registration failed")
            if failure.check(PunchError, CancelledError):
                return failure
            return Failure(
                RendezvousUnreachable(
                    f"The rendezvous at {self._url.host} does not take registrations."
                )
            )

        registering = connection.register(self._agent, self._owner.handle, ANSWER)
        return registering.addCallbacks(registered, failed)

    def _failed(self, failure: Failure) -> Failure:
        if not failure.check(CancelledError):
            self._owner.attemptFailed(failure)
        return failure


def patience(
    entropy: Callable[[int], bytes],
    failures: Callable[[], int],
    urgent: Callable[[], bool] = lambda: False,
) -> Callable[[int], float]:
    """
    @param failures: how many connections in a row were lost soon.
    @param urgent: whether a session has no path, and waits for us.

    @return: a retry policy: soon after a connection that lasted, since a
        rendezvous restarts within a second, then slower; always with chance in
        it, since all its clients come back at once.
    """

    def delay(attempt: int) -> float:
        attempt = max(attempt, failures())
        chance = int.from_bytes(entropy(2), "big") / 65536
        if attempt <= 1:
            return 0.1 + 0.5 * chance
        if urgent():
            return 0.75 + 0.5 * chance
        return min(30.0, 0.4 * float(1.6 ** min(attempt - 2, 50))) * (1 + chance)

    return delay
