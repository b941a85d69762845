"""
The sessions of a client, one a peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from punchd.core import Address
from punchd.errors import (
    NotAllowed,
    OfferError,
    PeerRestarted,
    PeerUnavailable,
    SessionLost,
)
from punchd.forward.serving import Permissions, TakeStream
from punchd.session.context import Context
from punchd.session.negotiation import credentialsOf, makeAnswer
from punchd.session.session import Session
from punchd.session.stream import Stream
from punchd.signaling.offer import Offer, Role
from punchd.signaling.replay import ReplayGuard


class Peers:
    """
    I have the sessions.

    @ivar sessions: those that are not over, by peer id.
    @ivar ended: the last session of each peer that has none now, to answer
        why.
    """

    log = Logger()

    def __init__(
        self, context: Context, permissions: Permissions, publish: TakeStream
    ) -> None:
        self.context = context
        self.permissions = permissions
        self.publish = publish
        self.sessions: dict[str, Session] = {}
        self.ended: dict[str, Session] = {}
        self._replays = ReplayGuard()
        self._admitted: WeakKeyDictionary[Stream, tuple[str, str]] = WeakKeyDictionary()

    # --- ours

    def session(self, peerId: str) -> Session:
        """
        @return: the session with the peer; it is dialled if there is none.
        """
        session = self.sessions.get(peerId)
        if session is None or session.isOver:
            dialId = self.context.entropy(12).hex()
            session = self._make(peerId, dialId, "dialler")
            session.dial()
        return session

    def open(
        self, peerId: str, service: str, datagrams: bool = False
    ) -> Deferred[Stream]:
        """
        Open a stream to a service of a peer.

        @param datagrams: whether it is there for datagrams.

        @return: fires as soon as data may be written; whether the peer lets us
            in is told by the stream.
        """
        ready = self.session(peerId).whenReady()
        return ready.addCallback(lambda session: session.openStream(service, datagrams))

    def _make(self, peerId: str, dialId: str, role: Role) -> Session:
        session = Session(
            self.context,
            peerId,
            dialId,
            role,
            self._streamOpened,
            self._closed,
        )
        self.sessions[peerId] = session
        self.ended.pop(peerId, None)
        return session

    def _closed(self, session: Session) -> None:
        if self.sessions.get(session.peerId) is session:
            del self.sessions[session.peerId]
            self.ended[session.peerId] = session
            while len(self.ended) > 100:
                self.ended.pop(next(iter(self.ended)))

    def _streamOpened(self, session: Session, service: str, stream: Stream) -> None:
        if self.permissions.allows(session.peerId, service):
            self._admitted[stream] = (session.peerId, service)
            self.publish(session.peerId, service, stream)
        else:
            self.log.info(
                "{peer} may not use {service}", peer=session.name, service=service
            )
            stream.refuse(NotAllowed)

    def busy(self) -> bool:
        """
        @return: whether a session is looking for a path.
        """
        return any(
            session.state not in ("direct", "relayed")
            or session.attempts.traversal.running
            for session in self.sessions.values()
        )

    def urgent(self) -> bool:
        """
        @return: whether a session has lost all paths, and hopes for new ones.
        """
        return any(each.state == "recovering" for each in self.sessions.values())

    def reachable(self) -> None:
        """
        A rendezvous knows us again: who waits for a path need not wait longer.
        """
        for session in list(self.sessions.values()):
            if session.state == "recovering" and not session.exchange.offering:
                session.life.networkChanged()

    def keepAlive(self) -> None:
        """
        Bindings end sooner than was thought.
        """
        for session in list(self.sessions.values()):
            session.life.keepaliveElapsed()

    def permissionsChanged(self) -> None:
        """
        End what is not permitted any more.
        """
        for stream, (peerId, service) in list(self._admitted.items()):
            if not self.permissions.allows(peerId, service):
                stream.abortConnection()
        for session in list(self.sessions.values()):
            if session.role == "listener" and not self.permissions.allowsPeer(
                session.peerId
            ):
                session.stop(NotAllowed())

    # --- theirs

    def incoming(
        self,
        dialler: str,
        dialId: str,
        sealed: bytes,
        flight: Sequence[bytes],
        observed: Sequence[Address],
    ) -> tuple[bytes, list[bytes]]:
        """
        A peer dials.

        @return: the sealed answer and our first datagrams.

        @raise PeerUnavailable: it gets no answer.
        """
        try:
            offer = Offer.open(
                sealed,
                expectedSender=dialler,
                expectedRecipient=self.context.identity.peerId,
                wallTime=self.context.wallClock(),
            )
            # Before a session is made of it, or the one that there is ends.
            credentialsOf(offer)
            self._replays.check(dialler, dialId, self.context.clock.seconds())
        except (OfferError, ValueError) as e:
            self.log.info(
                "An offer of {peer} was refused: {error}",
                peer=self.context.nameOf(dialler),
                error=str(e),
            )
            raise PeerUnavailable() from e
        if offer.dialId != dialId:
            raise PeerUnavailable()
        session = self.sessions.get(dialler)
        if session is not None and session.isOver:
            session = None
        if not self.permissions.allowsPeer(dialler) and session is None:
            self.log.info(
                "{peer} dials and is not allowed", peer=self.context.nameOf(dialler)
            )
            raise PeerUnavailable()
        # Strangers, who may be many, get no memory.
        self._replays.remember(dialler, dialId, self.context.clock.seconds())
        if offer.resume:
            return self._resume(session, offer, sealed, observed)
        return self._accept(session, offer, sealed, flight, observed)

    def _resume(
        self,
        session: Session | None,
        offer: Offer,
        sealed: bytes,
        observed: Sequence[Address],
    ) -> tuple[bytes, list[bytes]]:
        if session is None or session.dialId != offer.resume:
            refusal = makeAnswer(
                self.context,
                offer.sender,
                offer.dialId,
                None,
                sealed,
                self.context.entropy(16),
            )
            return refusal, []
        if session.exchange.offering and self._wins(offer.sender):
            raise PeerUnavailable()
        return session.resumed(offer, sealed, observed), []

    def _accept(
        self,
        session: Session | None,
        offer: Offer,
        sealed: bytes,
        flight: Sequence[bytes],
        observed: Sequence[Address],
    ) -> tuple[bytes, list[bytes]]:
        peerId = offer.sender
        if not self.permissions.allowsPeer(peerId) and (
            session is None or session.state != "signaling"
        ):
            raise PeerUnavailable()
        if session is not None and session.state == "signaling":
            # Both dial at once: the lower id's dial wins.
            if self._wins(peerId):
                raise PeerUnavailable()
        heir = self._make(peerId, offer.dialId, "listener")
        if session is not None:
            restarted = session.exchange.peerIncarnation not in (
                None,
                offer.incarnation,
            )
            dialling = session.state == "signaling"
            session.superseded(
                PeerRestarted() if restarted else SessionLost("The peer dialled anew."),
                heir if dialling else None,
            )
        return heir.accept(offer, sealed, flight, observed)

    def _wins(self, peerId: str) -> bool:
        return self.context.identity.peerId < peerId

    def trickled(
        self, peer: str, dialId: str, update: bytes, datagrams: Sequence[bytes]
    ) -> None:
        """
        A peer sent more through the rendezvous.
        """
        session = self.sessions.get(peer)
        if session is not None and session.exchange.dialId == dialId:
            session.trickled(update, datagrams)

    def byeReceived(self, peer: str, dialId: str, reason: str) -> None:
        """
        A peer ended the dial; it tells inside the session too, so this counts
        only for a session that has no path.
        """
        session = self.sessions.get(peer)
        if session is not None and session.dialId == dialId:
            session.saidGoodbye(reason)

    def peerGone(self, peer: str) -> None:
        """
        The rendezvous saw the peer's connection close.
        """
        session = self.sessions.get(peer)
        if session is not None:
            session.life.peerGone()

    def peerReturned(self, peer: str) -> None:
        """
        The rendezvous sees the peer again, as the same process.
        """
        session = self.sessions.get(peer)
        if session is not None:
            session.life.peerReturned()

    def networkChanged(self) -> None:
        """
        Our addresses changed, or the machine slept.
        """
        for session in list(self.sessions.values()):
            session.life.networkChanged()

    def stop(self) -> None:
        """
        Say goodbye to all.
        """
        for session in list(self.sessions.values()):
            session.stop(SessionLost("The client stopped."))
