"""
How the streams of a session are tied to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from punchd.errors import SessionLost
from punchd.signaling.commands import FLIGHT_BUDGET

from .auth import Dial
from .context import Context
from .mux import Streams
from .quic import QuicCore
from .stream import Stream

if TYPE_CHECKING:
    from .session import Session


def makeQuic(context: Context, role: str) -> QuicCore:
    """
    @return: our end of the connection.
    """
    if role == "dialler":
        return QuicCore.client()
    return QuicCore.server(context.identity)


def makeStreams(session: Session, quic: QuicCore) -> Streams:
    """
    @return: the streams of C{session}, whose news go to it and its machine.
    """
    context, driver, life = session.context, session.carrier.quic, session.life
    # The rest of what the rendezvous carries is for handshakes and repetitions.
    streams = Streams(
        quic,
        clock=driver.now,
        wake=driver.wake,
        identity=context.identity,
        peerId=session.peerId,
        incarnation=context.incarnation,
        allowance=FLIGHT_BUDGET // 2,
    )

    def incoming(service: str, stream: Stream) -> None:
        session.onStream(session, service, stream)

    def byeReceived(reason: str) -> None:
        text = f"The peer ended the session: {reason}"
        life.peerClosed(Failure(SessionLost(text)))

    def lost(error: Exception) -> None:
        life.failed(Failure(error))

    streams.onIncoming = incoming
    streams.onAdmitted = session.admitted
    streams.onCandidate = session.exchange.candidateReceived
    streams.onCount = life.streamsChanged
    streams.onPong = session.pinging.answered
    streams.onArrived = session.attempts.traversal.haste.arrived
    streams.onBye = byeReceived
    streams.onLost = lost
    return streams


def dialOf(session: Session, nonce: bytes) -> Dial:
    """
    @param nonce: of the listener's signed answer.

    @return: what the dialler has to sign.
    """
    ours, theirs = session.context.identity.peerId, session.peerId
    if session.role == "listener":
        ours, theirs = theirs, ours
    return Dial(ours, theirs, session.dialId, nonce)
