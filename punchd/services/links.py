"""
The connections to the rendezvous, one each, as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NoReturn, Protocol

from twisted.application.service import MultiService
from twisted.internet.defer import (
    Deferred,
    DeferredList,
    TimeoutError,
    fail,
    succeed,
)
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.protocols.amp import UnhandledCommand
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.errors import PairingFailed, Replaced
from punchd.identity import Identity
from punchd.interfaces import INetwork
from punchd.net.proxy import ProxyFor, noProxy
from punchd.session.report import describe
from punchd.signaling import commands
from punchd.signaling.url import RendezvousURL

from .link import ANSWER, RendezvousLink
from .outcomes import Outcomes
from .registration import DialAnswer, Registration


class Owner(Protocol):
    """
    Who is told what comes; L{punchd.services.client.PunchClient}.
    """

    peers: Any

    def registered(self, registration: Registration) -> None:
        """
        A rendezvous knows us, the one whose turn it is to see us and to relay.
        """

    def rendezvousLeaves(self) -> None:
        """
        The rendezvous that sees us and relays will stop, and there is no other.
        """

    def incoming(
        self,
        dialler: str,
        dialId: str,
        offer: bytes,
        flight: Sequence[bytes],
        observed: Sequence[Address],
    ) -> Deferred[tuple[bytes, list[bytes]]]:
        """
        A peer dials.
        """

    def gaveUp(self, failure: Failure) -> object:
        """
        A rendezvous is the wrong one, or knows us from elsewhere: there is no
        point in trying again.
        """


#: Seconds that a rendezvous whose connection was lost has to come back before
#: another one takes its place: it may only have been started anew.
GRACE: Final = 3.0


class Links(MultiService):
    """
    I dial through the first rendezvous that knows us, and answer through the one that
    asked.  The first one, in the order that the user gave, is also the one that
    sees us and relays; when it is lost or says that it stops, the next one is.
    """

    log = Logger()

    def __init__(
        self,
        network: INetwork,
        urls: Sequence[RendezvousURL],
        identity: Identity,
        owner: Owner,
        proxyFor: ProxyFor = noProxy,
    ) -> None:
        """
        @param proxyFor: gives the proxy that may lead to a host.
        """
        super().__init__()
        self._proxyFor = proxyFor
        self._owner = owner
        self._clock = network.reactor
        self._dials: dict[str, RendezvousLink] = {}
        self._leases: set[str] = set()
        self._links: list[RendezvousLink] = []
        # The one that sees us and relays, and those that have said goodbye.
        self._serving: RendezvousLink | None = None
        self._leaving: set[RendezvousLink] = set()
        self._lost: set[RendezvousLink] = set()
        # Those that do not want to know what became of dials.
        self._incurious: set[RendezvousLink] = set()
        self._outcomes = Outcomes(self._clock, self._tellOutcome)
        self._change: IDelayedCall | None = None
        for url in urls:
            self._add(network, url, identity)

    def _add(self, network: INetwork, url: RendezvousURL, identity: Identity) -> None:
        owner = self._owner

        def incoming(
            dialler: str,
            dialId: str,
            offer: bytes,
            flight: Sequence[bytes],
            observed: Sequence[Address],
        ) -> Deferred[tuple[bytes, list[bytes]]]:
            self._remember(dialId, link)
            return owner.incoming(dialler, dialId, offer, flight, observed)

        link = RendezvousLink(
            network,
            url,
            identity,
            onIncoming=incoming,
            onTrickle=lambda *args: owner.peers.trickled(*args),
            onEnded=lambda *args: owner.peers.byeReceived(*args),
            onPeerGone=lambda peer: owner.peers.peerGone(peer),
            onPeerReturned=lambda peer: owner.peers.peerReturned(peer),
            onGaveUp=lambda failure: self._gaveUp(link, failure),
            onRegistered=lambda registration: self._registered(link),
            onDisconnected=lambda reason: self._disconnected(link),
            onGoodbye=lambda seconds: self._goodbye(link),
            proxy=self._proxyFor(url.host),
            urgent=lambda: owner.peers.urgent(),
        )
        self._links.append(link)
        link.setServiceParent(self)

    @property
    def current(self) -> RendezvousLink:
        """
        The link to the rendezvous in use.
        """
        # One that is on its way back may be there in a moment.
        return self._first() or self._links[0]

    @property
    def registered(self) -> bool:
        """
        Whether a rendezvous knows us now.
        """
        return self._first() is not None

    def _first(self) -> RendezvousLink | None:
        known = [link for link in self._links if link.registered]
        stay = [link for link in known if link not in self._leaving]
        return next(iter(stay or known), None)

    def whenRegistered(self, failAfterFailures: int | None = None) -> Deferred[Any]:
        """
        @return: fires when a rendezvous knows us; fails when all have failed, as the
            first one of the list did.
        """
        asked = [link.whenRegistered(failAfterFailures) for link in self._links]
        if len(asked) == 1:
            return asked[0]
        first = DeferredList(asked, fireOnOneCallback=True, consumeErrors=True)

        def found(result: Any) -> Any:
            if isinstance(result, tuple):
                for each in asked:
                    each.cancel()
                return result[0]
            return result[0][1]  # the failure of the first one

        return first.addCallback(found)

    # --- whose turn it is

    def _registered(self, link: RendezvousLink) -> None:
        self._leaving.discard(link)
        if link is self._first():
            self._serve(link)

    def _serve(self, link: RendezvousLink) -> None:
        self._stay()
        if len(self._links) > 1 and link is not self._serving:
            self.log.info(
                "{url} sees us and relays now", url=str(link.url), event="serving"
            )
        self._serving = link
        assert link.registration is not None
        self._owner.registered(link.registration)

    def _disconnected(self, link: RendezvousLink) -> None:
        self._leaving.discard(link)
        if link is self._serving and self._change is None:
            self._change = self._clock.callLater(GRACE, self._next)

    def _goodbye(self, link: RendezvousLink) -> None:
        self._leaving.add(link)
        if link is not self._serving:
            return
        if self._first() is link:
            self._owner.rendezvousLeaves()
        else:
            self._next()

    def _next(self) -> None:
        """
        Let another one have its turn, if there is one.
        """
        self._stay()
        link = self._first()
        if link is not None and link is not self._serving:
            self._serve(link)

    def _stay(self) -> None:
        change, self._change = self._change, None
        if change is not None and change.active():
            change.cancel()

    def _gaveUp(self, link: RendezvousLink, failure: Failure) -> None:
        """
        One that is the wrong one is no loss while there are others; who was replaced
        at one has to go from all.
        """
        self._lost.add(link)
        if failure.check(Replaced) or self._lost.issuperset(self._links):
            self._owner.gaveUp(failure)

    def stopService(self) -> Deferred[Any]:
        """
        Say goodbye everywhere.
        """
        self._stay()
        self._outcomes.stop()
        stopping: Deferred[Any] = super().stopService()
        return stopping

    def check(self) -> None:
        """
        Find out whether the connections are still there.
        """
        for link in self._links:
            link.check()

    # --- session.context.Link

    def dial(
        self, peer: str, dialId: str, offer: bytes, flight: Sequence[bytes]
    ) -> Deferred[DialAnswer]:
        """
        Bring the offer to the peer, and its answer back.
        """
        link = self.current
        self._remember(dialId, link)
        dialling = link.dial(peer, dialId, offer, flight)
        self._outcomes.dialled(dialId, peer)
        return dialling

    def _tellOutcome(self, dialId: str, peer: str) -> None:
        link, peers = self._dials.get(dialId), self._owner.peers
        session = peers.sessions.get(peer) or peers.ended.get(peer)
        if session is None or link is None or link in self._incurious:
            return
        if link.connection is None or not link.registered:
            return
        strategy = describe(session)["path"]["strategy"] or "none"
        told = link.connection.ask(
            commands.Outcome, ANSWER, dialId=dialId, strategy=strategy[:32]
        )

        def failed(failure: Failure) -> None:
            if failure.check(UnhandledCommand):
                self._incurious.add(link)

        told.addErrback(failed)

    def trickle(self, dialId: str, update: bytes, datagrams: Sequence[bytes]) -> None:
        """
        Send more to the other side of a dial.
        """
        link = self._dials.get(dialId)
        if link is not None and link.registered:
            link.trickle(dialId, update, datagrams)

    def bye(self, dialId: str, reason: str) -> None:
        """
        The dial is over.
        """
        self._outcomes.settled(dialId)
        link = self._dials.pop(dialId, None)
        if link is not None and link.registered:
            link.bye(dialId, reason)

    def renew(self) -> Deferred[Registration]:
        """
        Ask for relay credentials.
        """
        link = self._first() or self._links[0]
        return link.renew()

    def lease(self, name: str) -> Deferred[float]:
        """
        Ask whether we may spray.

        @return: fires with the seconds until it is worth asking again, 0.0 for yes.
        """
        link = self._first()
        if link is None or link.connection is None:
            return succeed(0.0)
        asked = link.connection.ask(commands.Lease, ANSWER, name=name)

        def answered(answer: dict[str, Any]) -> float:
            wait = float(answer["wait"])
            if not wait:
                self._leases.add(name)
            return wait

        return asked.addCallback(answered)

    def release(self, name: str) -> None:
        """
        We spray no more.
        """
        link = self._first()
        # Who does not know the one command does not know the other.
        known = name in self._leases
        self._leases.discard(name)
        if known and link is not None and link.connection is not None:
            link.connection.send(commands.Release, name=name)

    # --- pairing

    def invite(self) -> Deferred[dict[str, Any]]:
        """
        Get a nameplate.

        @return: fires with the response to L{commands.Invite}; fails with
            L{PairingFailed}.
        """
        return self._ask(commands.Invite, ANSWER)

    def exchange(
        self, nameplate: int, message: bytes, seconds: float
    ) -> Deferred[bytes]:
        """
        Bring a message to the other side of a nameplate, and wait for its next one.
        """
        asked = self._ask(
            commands.Exchange, seconds, nameplate=nameplate, message=message
        )
        return asked.addCallback(lambda answer: bytes(answer["message"]))

    def withdraw(self, nameplate: int) -> None:
        """
        The nameplate is not needed any more.
        """
        link = self._first()
        if link is not None and link.connection is not None:
            link.connection.send(commands.Withdraw, nameplate=nameplate)

    def _ask(self, command: Any, seconds: float, **words: Any) -> Deferred[Any]:
        link = self._first()
        if link is None or link.connection is None:
            return fail(PairingFailed("The rendezvous cannot be reached now."))
        asked = link.connection.ask(command, seconds, **words)

        def failed(failure: Failure) -> NoReturn:
            if failure.check(PairingFailed):
                failure.raiseException()
            if failure.check(TimeoutError):
                raise PairingFailed("Nobody came in time.")
            raise PairingFailed(
                "The rendezvous was lost, or it is older and knows no invitations."
            )

        return asked.addErrback(failed)

    def _remember(self, dialId: str, link: RendezvousLink) -> None:
        self._dials[dialId] = link
        while len(self._dials) > 4096:
            self._dials.pop(next(iter(self._dials)))
