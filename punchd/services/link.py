"""
A client's link to its rendezvous: it is there, or on its way back.

Rules.

  1. There is one connection, kept by Twisted's L{ClientService}.  An attempt
     has succeeded when the rendezvous has taken the registration.
  2. What is asked while there is no connection waits for the next one, but not
     for long.
  3. Two things end the link for good: a newer registration of the same
     identity, and a rendezvous that proves, before the first registration, to
     be another one than its URL says.  Everything else is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.application.internet import ClientService
from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    fail,
    maybeDeferred,
    succeed,
)
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.errors import (
    CertificateRejected,
    FingerprintMismatch,
    PunchError,
    RendezvousUnreachable,
    Replaced,
)
from punchd.identity import Identity
from punchd.net.proxy import Proxy
from punchd.net.tls import ClientCredentials
from punchd.signaling import commands
from punchd.signaling.url import RendezvousURL

from .linkconnection import LinkConnection
from .registering import Registered, RegisteringEndpoint, patience
from .registration import DialAnswer, Incoming, Registration, Waiters, blamed

__all__ = ["DialAnswer", "Registration", "RendezvousLink"]

#: Seconds that a question to the rendezvous may take; an answer to a dial has
#: ten seconds there, and some on the way.
ANSWER: Final = 10.0
DIAL: Final = 13.0
#: Seconds that a connection has to last before a loss of it is not taken for
#: one more failed attempt.
STABLE: Final = 10.0
#: Byes that wait for the connection.
MAX_BYES: Final = 256
#: Seconds that the goodbye of TLS may take.
CLOSING: Final = 1.0


def _ignore(*arguments: object) -> None: ...


class RendezvousLink(Service):
    """
    I keep a client registered with its rendezvous.

    @ivar url: where the rendezvous is, and C{proxy} what may lead there, too.
    @ivar registration: what it gave us, L{None} while it does not know us.
    @ivar handle: that of the last registration, L{None} before the first one.
    @ivar lastFailure: why the last attempt failed, or the connection was lost.
    """

    log = Logger()
    name: Any = None

    def __init__(
        self,
        network: Any,
        url: RendezvousURL,
        identity: Identity,
        *,
        onIncoming: Incoming,
        onTrickle: Callable[[str, str, bytes, Sequence[bytes]], object] = _ignore,
        onEnded: Callable[[str, str, str], object] = _ignore,
        onPeerGone: Callable[[str], object] = _ignore,
        onPeerReturned: Callable[[str], object] = _ignore,
        onRegistered: Callable[[Registration], object] = _ignore,
        onDisconnected: Callable[[Failure], object] = _ignore,
        onReplaced: Callable[[], object] = _ignore,
        onGoodbye: Callable[[float], object] = _ignore,
        onGaveUp: Callable[[Failure], object] = _ignore,
        agent: str = "punchd",
        authorities: str | None = None,
        proxy: Proxy | None = None,
        urgent: Callable[[], bool] = bool,
    ) -> None:
        """
        @param onIncoming: a peer dials: L{Incoming}; of a failure the peer learns
            no more than L{PeerUnavailable}.
        @param onTrickle: called with peer, dial id, sealed update and datagrams.
        @param onEnded: the peer ended a dial: called with peer, dial id and reason.
        @param onPeerGone: the connection of the peer of an accepted dial closed.
        @param onPeerReturned: it is back, as the same process.
        @param onRegistered: the rendezvous has taken us, first or again.
        @param onDisconnected: it has lost us; the link is on its way back.
        @param onReplaced: a newer registration has taken our place.
        @param onGoodbye: the rendezvous stops in so many seconds.
        @param onGaveUp: the link has ended for good; the failure says why.
        @param agent: our name and version.
        @param authorities: a PEM file to use instead of the machine's.
        @param proxy: what may lead there, too.
        @param urgent: whether a session waits for the connection.
        """
        self.url = url
        self.registration: Registration | None = None
        self.lastFailure: Failure | None = None
        self.proxy = proxy
        self._network, self._clock = network, network.reactor
        self.onIncoming = onIncoming
        self._callbacks: dict[str, Callable[..., object]] = {
            "onTrickle": onTrickle,
            "onEnded": onEnded,
            "onPeerGone": onPeerGone,
            "onPeerReturned": onPeerReturned,
            "onRegistered": onRegistered,
            "onDisconnected": onDisconnected,
            "onReplaced": onReplaced,
            "onGoodbye": onGoodbye,
            "onGaveUp": onGaveUp,
        }
        self.connection: LinkConnection | None = None
        self.handle: str | None = None
        self._since, self._failures = 0.0, 0
        self._gaveUp: Failure | None = None
        self._announcing: IDelayedCall | None = None
        self._waiters = Waiters()
        self._byes: dict[str, str] = {}
        shown = ClientCredentials(identity, url.fingerprint, url.host, authorities)
        self._client = ClientService(
            RegisteringEndpoint(self._clock, url, shown, agent, self, proxy),
            Factory.forProtocol(Registered),
            retryPolicy=patience(network.entropy, lambda: self._failures, urgent),
            clock=self._clock,
        )

    # --- the service

    def startService(self) -> None:
        """
        Begin to look for the rendezvous.
        """
        super().startService()
        self._client.startService()

    def stopService(self) -> Deferred[None]:
        """
        @return: fires when the connection is closed.
        """
        super().stopService()
        self._waiters.fail(Failure(CancelledError()))
        if not self._client.running:
            return succeed(None)
        connection = self.connection
        if connection is not None:
            # A rendezvous that does not answer any more must not hold us up.
            late = self._clock.callLater(CLOSING, connection.refuse, "closing")
            stopping = maybeDeferred(self._client.stopService)
            return stopping.addBoth(lambda _: late.cancel() if late.active() else None)
        return maybeDeferred(self._client.stopService)

    @property
    def registered(self) -> bool:
        """
        Whether the rendezvous knows us now.
        """
        return self.registration is not None

    def whenRegistered(
        self, failAfterFailures: int | None = None
    ) -> Deferred[Registration]:
        """
        @param failAfterFailures: give up waiting after so many failed attempts;
            L{None} to wait forever.

        @return: fires with the registration; fails with L{FingerprintMismatch},
            L{CertificateRejected}, L{RendezvousUnreachable},
            L{punchd.errors.RendezvousRefused} or L{Replaced}.
        """
        if self._gaveUp is not None:
            return fail(self._gaveUp)
        if self.registration is not None:
            return succeed(self.registration)
        return self._waiters.add(failAfterFailures)

    def check(self) -> None:
        """
        The machine has slept, or its addresses have changed: find out whether
        the connection is still there, or look for the rendezvous at once.
        """
        if self.connection is not None:
            self.connection.check({host for host, _ in self._network.localHosts()})
        elif self._client.running:
            # The pause that is going on was meant for another network.
            self._client.stopService()
            self._client.startService()

    # --- what a client can say

    def dial(
        self, peer: str, dialId: str, offer: bytes, flight: Sequence[bytes] = ()
    ) -> Deferred[DialAnswer]:
        """
        Bring a sealed offer to a peer.  Cancelling takes it back.

        @return: fires with the answer; fails with L{PeerUnavailable} or with
            what L{whenRegistered} fails with.
        """

        def failed(failure: Failure) -> Failure:
            if failure.check(CancelledError):
                self.bye(dialId, "cancelled")
            if failure.check(CancelledError, PunchError):
                return blamed(failure, self.registration)
            return Failure(
                RendezvousUnreachable(
                    "The connection to the rendezvous broke before the peer answered."
                )
            )

        dialling = self._ask(
            commands.Dial, DIAL, peer=peer, dialId=dialId, offer=offer, flight=flight
        )
        return dialling.addCallbacks(lambda found: DialAnswer(**found), failed)

    def renew(self) -> Deferred[Registration]:
        """
        @return: fires with the registration and fresh credentials in it.
        """

        def renewed(response: dict[str, Any]) -> Registration:
            if self.registration is None:
                raise RendezvousUnreachable()
            self.registration = self.registration.renewed(response)
            return self.registration

        return self._ask(commands.Renew, ANSWER).addCallback(renewed)

    def trickle(
        self, dialId: str, update: bytes, datagrams: Sequence[bytes] = ()
    ) -> None:
        """
        Send more to the other side of a dial; nothing when there is no link.
        """
        if self.connection is not None and self.registration is not None:
            self.connection.send(
                commands.Trickle, dialId=dialId, update=update, datagrams=datagrams
            )

    def bye(self, dialId: str, reason: str) -> None:
        """
        A dial is over; said later when there is no link.
        """
        reason = reason[: commands.MAX_REASON // 4]
        if self.connection is not None and self.registration is not None:
            self.connection.send(commands.Bye, dialId=dialId, reason=reason)
        elif len(self._byes) < MAX_BYES:
            self._byes[dialId] = reason

    def _ask(
        self, command: Any, seconds: float, **arguments: Any
    ) -> Deferred[dict[str, Any]]:
        def late(result: Any, seconds: float) -> Any:
            silent = f"The rendezvous at {self.url.host} does not answer."
            raise getattr(self.lastFailure, "value", RendezvousUnreachable(silent))

        def registered(registration: object) -> Deferred[dict[str, Any]]:
            assert self.connection is not None
            return self.connection.ask(command, seconds, **arguments)

        waiting: Deferred[Any] = self.whenRegistered(failAfterFailures=2)
        waiting.addTimeout(ANSWER, self._clock, onTimeoutCancel=late)
        return waiting.addCallback(registered)

    # --- attempts

    def taken(self, connection: LinkConnection, registration: Registration) -> None:
        """
        @see: L{.registering.RegistrationOwner.taken}.
        """
        self.connection = connection
        self._since = self._clock.seconds()
        self.registration = registration.received(self._network.wallClock())
        self.handle = registration.handle
        # Once the machine of ClientService knows of it too.
        self._announcing = self._clock.callLater(0, self._announce)

    def _announce(self) -> None:
        """
        Tell of the registration, when the machine of L{ClientService} has
        settled, or as the first word of the rendezvous comes in.
        """
        announcing, self._announcing = self._announcing, None
        if announcing is None or self.registration is None:
            return
        if announcing.active():
            announcing.cancel()
        byes, self._byes = self._byes, {}
        for dialId, reason in byes.items():
            self.bye(dialId, reason)
        self.log.info(
            "registered with {url}", url=str(self.url), event="link-registered"
        )
        self._call("onRegistered", self.registration)
        self._waiters.succeed(self.registration)

    def attemptFailed(self, failure: Failure) -> None:
        """
        @see: L{.registering.RegistrationOwner.attemptFailed}.
        """
        if self.lastFailure is None or str(self.lastFailure.value) != str(
            failure.value
        ):
            # Once a cause, not once an attempt.
            self.log.warn("{reason}", reason=str(failure.value), event="link-failed")
        self.lastFailure = failure
        if self.handle is None and failure.check(
            FingerprintMismatch, CertificateRejected
        ):
            self._clock.callLater(0, self._giveUp, failure)
        self._waiters.attemptFailed(failure)

    def _giveUp(self, failure: Failure) -> None:
        if self._gaveUp is not None:
            return
        self._gaveUp = self.lastFailure = failure
        self.log.error("{reason}", reason=str(failure.value), event="link-gave-up")
        self._waiters.fail(failure)
        if self._client.running:
            self._client.stopService()
        if failure.check(Replaced):
            self._call("onReplaced")
        self._call("onGaveUp", failure)

    # --- what a connection says

    def incoming(
        self,
        dialler: str,
        dialId: str,
        offer: bytes,
        flight: Sequence[bytes],
        observed: Sequence[Address],
    ) -> Deferred[tuple[bytes, list[bytes]]]:
        """
        @see: L{.linkconnection.LinkOwner.incoming}.
        """
        self._announce()
        return self.onIncoming(dialler, dialId, offer, flight, observed)

    def happened(self, name: str, *arguments: object) -> None:
        """
        @see: L{.linkconnection.LinkOwner.happened}.
        """
        self._announce()
        self._call(name, *arguments)

    def _call(self, name: str, *arguments: object) -> None:
        with self.log.failuresHandled("calling {name}", name=name):
            self._callbacks[name](*arguments)

    def replaced(self) -> None:
        """
        @see: L{.linkconnection.LinkOwner.replaced}.
        """
        self._clock.callLater(0, self._giveUp, Failure(Replaced()))

    def disconnected(self, connection: LinkConnection, reason: Failure) -> None:
        """
        @see: L{.linkconnection.LinkOwner.disconnected}.
        """
        if connection is not self.connection:
            return
        lasted = self._clock.seconds() - self._since
        self._failures = 0 if lasted >= STABLE else self._failures + 1
        self.connection = self.registration = None
        self.lastFailure = Failure(
            RendezvousUnreachable("The connection to the rendezvous was lost.")
        )
        if self._announcing is not None:
            self._announcing.cancel()
            self._announcing = None
        else:
            self._call("onDisconnected", reason)
