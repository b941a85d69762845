"""
The client's side of one connection to the rendezvous.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Address
from punchd.errors import PeerUnavailable, PunchError
from punchd.signaling import commands
from punchd.signaling.admission import isUnusable
from punchd.signaling.boxes import BoundedAMP

#: Seconds between two questions whether the connection is alive, and seconds
#: that the answer may take.
KEEPALIVE: Final = 60.0
PATIENCE: Final = 10.0


class LinkOwner(Protocol):
    """
    Who wants to know; L{punchd.services.link.RendezvousLink}.
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

    def happened(self, name: str, *arguments: object) -> None:
        """
        The rendezvous tells something; C{name} is that of a callback.
        """

    def replaced(self) -> None:
        """
        A newer registration has taken the place of ours.
        """

    def disconnected(self, connection: LinkConnection, reason: Failure) -> None:
        """
        The connection was lost.
        """


class LinkConnection(BoundedAMP):
    """
    I am one connection to the rendezvous, whose key has been checked.

    @ivar whenLost: called with the reason, once, after L{LinkOwner.disconnected}.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, owner: LinkOwner) -> None:
        super().__init__(
            clock,
            {
                commands.Incoming: self.incoming,
                commands.Trickled: self.trickled,
                commands.Ended: self.ended,
                commands.PeerGone: self.peerGone,
                commands.PeerReturned: self.peerReturned,
                commands.Replaced: self.replaced,
                commands.Goodbye: self.goodbye,
                commands.Ping: self.ping,
            },
            trusted=True,
        )
        self._owner = owner
        self._keepalive: IDelayedCall | None = None
        self._asking = False
        self.whenLost: Callable[[Failure], object] = lambda reason: None

    def register(
        self, agent: str, resume: str | None, seconds: float
    ) -> Deferred[dict[str, Any]]:
        """
        @return: the response to L{commands.Register}.
        """
        registering = self.ask(
            commands.Register,
            seconds,
            version=commands.VERSION,
            agent=agent,
            resume=resume,
        )

        def registered(response: dict[str, Any]) -> dict[str, Any]:
            self._scheduleKeepalive()
            return response

        return registering.addCallback(registered)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell who waits.
        """
        if self._keepalive is not None and self._keepalive.active():
            self._keepalive.cancel()
        super().connectionLost(reason)
        self._owner.disconnected(self, reason)
        self.whenLost(reason)

    # --- keepalive

    def _scheduleKeepalive(self) -> None:
        if self.transport is not None:
            self._keepalive = self._clock.callLater(KEEPALIVE, self.check)

    def check(self, hosts: Collection[str] | None = None) -> None:
        """
        Find out whether the connection is alive: a NAT on the way may have
        forgotten it without a word.

        @param hosts: the addresses of this machine; a connection from one that is
            gone needs no question.
        """
        if self._keepalive is not None and self._keepalive.active():
            self._keepalive.cancel()
        if self.transport is None:
            return
        ours = getattr(self.transport.getHost(), "host", None)
        # Loopback is not among them, and stays whatever happens.
        if hosts is not None and ours is not None and not isUnusable(ours):
            if ours not in hosts:
                self.refuse("our address is gone")
                return

        if self._asking:
            return

        def answered(_: object) -> None:
            self._asking = False
            self._scheduleKeepalive()

        def failed(failure: Failure) -> None:
            self.refuse("the rendezvous does not answer")

        self._asking = True
        self.ask(commands.Ping, PATIENCE).addCallbacks(answered, failed)

    # --- commands of the rendezvous

    def incoming(
        self,
        dialler: str,
        dialId: str,
        offer: bytes,
        flight: list[bytes],
        observed: list[Address],
    ) -> Deferred[dict[str, Any]]:
        """
        @see: L{commands.Incoming}.
        """

        def failed(failure: Failure) -> dict[str, Any]:
            if not failure.check(PunchError):
                self.log.failure("answering the dial of {peer}", failure, peer=dialler)
            # Whatever it was, a stranger is told nothing else.
            raise PeerUnavailable()

        answering = maybeDeferred(
            self._owner.incoming, dialler, dialId, offer, flight, observed
        )
        return answering.addCallbacks(
            lambda result: {"answer": result[0], "flight": result[1]}, failed
        )

    def trickled(
        self, peer: str, dialId: str, update: bytes, datagrams: list[bytes]
    ) -> dict[str, Any]:
        """
        @see: L{commands.Trickled}.
        """
        self._owner.happened("onTrickle", peer, dialId, update, datagrams)
        return {}

    def ended(self, peer: str, dialId: str, reason: str) -> dict[str, Any]:
        """
        @see: L{commands.Ended}.
        """
        self._owner.happened("onEnded", peer, dialId, reason)
        return {}

    def peerGone(self, peer: str) -> dict[str, Any]:
        """
        @see: L{commands.PeerGone}.
        """
        self._owner.happened("onPeerGone", peer)
        return {}

    def peerReturned(self, peer: str) -> dict[str, Any]:
        """
        @see: L{commands.PeerReturned}.
        """
        self._owner.happened("onPeerReturned", peer)
        return {}

    def replaced(self) -> dict[str, Any]:
        """
        @see: L{commands.Replaced}.
        """
        self._owner.replaced()
        return {}

    def goodbye(self, seconds: float) -> dict[str, Any]:
        """
        @see: L{commands.Goodbye}.
        """
        self.log.info(
            "the rendezvous stops in {seconds} s", seconds=seconds, event="goodbye"
        )
        self._owner.happened("onGoodbye", seconds)
        return {}

    def ping(self) -> dict[str, Any]:
        """
        @see: L{commands.Ping}.
        """
        return {}
