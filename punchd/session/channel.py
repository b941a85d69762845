"""
The control stream of one session, and the admission of its two ends.
"""

from __future__ import annotations

from punchd.errors import AuthenticationFailed, ProtocolViolation
from punchd.identity import Identity

from . import auth
from .control import VERSION, Auth, Frame, Hello, Parser, Ping, Pong, pack
from .quic import QuicCore

#: A dialler has this many seconds from the end of the handshake for its proof.
PATIENCE = 30.0

#: Answers to pings are dropped while more bytes than this wait to be sent.
_BACKLOG = 65536


class Channel:
    """
    Sends and receives control frames.

    @ivar admitted: whether the other side has proven who it is, as far as it
        has to before bytes of streams may go there.
    @ivar greeted: the other side's L{Hello}; a listener sends it only to an
        admitted dialler.
    @ivar inbound: the id of the stream that the other side's frames come on.
    """

    def __init__(
        self, core: QuicCore, identity: Identity, peerId: str, incarnation: str
    ) -> None:
        self.admitted = False
        self.greeted: Hello | None = None
        self.inbound = 3 if core.isClient else 2
        self._core = core
        self._identity = identity
        self._peerId = peerId
        self._hello = Hello(VERSION, incarnation)
        self._dial: auth.Dial | None = None
        self._proof: Auth | None = None
        self._parser = Parser()
        self._out = bytearray()
        self._id: int | None = None
        self._secure = False
        self._deadline: float | None = None

    # --- admission ----------------------------------------------------------

    def authenticate(self, dial: auth.Dial) -> None:
        """
        The dial is known by now: the dialler may prove who it is, the listener
        may check that.

        @raise AuthenticationFailed: a proof came before, and is not valid.
        """
        self._dial = dial
        self._proceed()

    def secured(self, spki: bytes | None) -> None:
        """
        The handshake has completed.

        @param spki: the listener's key, for the dialler.

        @raise AuthenticationFailed: it is not that of the peer we dialled.
        """
        if self._core.isClient:
            auth.checkPeer(spki, self._peerId)
        else:
            self._deadline = self._core.now + PATIENCE
        self._secure = True
        self._proceed()

    def _proceed(self) -> None:
        if self.admitted or not self._secure or self._dial is None:
            return
        if self._core.isClient:
            proof = auth.prove(self._identity, self._dial)
            self._out[:0] = pack(proof) + pack(self._hello)
        elif self._proof is not None:
            auth.checkProof(self._proof, self._dial)
            self._out[:0] = pack(self._hello)
        else:
            return
        self._deadline = None
        self.admitted = True

    def deadline(self) -> float | None:
        """
        @return: when L{due} wants to be called.
        """
        return self._deadline

    def due(self, now: float) -> None:
        """
        @raise AuthenticationFailed: the dialler has not proven itself in time.
        """
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            raise AuthenticationFailed("The dialler has not said who it is.")

    # --- frames -------------------------------------------------------------

    def dataCame(self, data: bytes, end: bool) -> list[Frame]:
        """
        Bytes came on the other side's control stream.

        @return: the frames that are somebody else's business.

        @raise AuthenticationFailed: the dialler's proof is not valid.
        @raise ProtocolViolation: the peer broke the protocol.
        """
        frames: list[Frame] = []
        for frame in self._parser.feed(data):
            if not self._core.isClient and self._proof is None:
                if not isinstance(frame, Auth):
                    raise AuthenticationFailed("The dialler has not said who it is.")
                self._proof = frame
                self._proceed()
            elif isinstance(frame, Auth):
                raise ProtocolViolation("The peer proved itself out of turn.")
            elif isinstance(frame, Ping):
                if len(self._out) < _BACKLOG:
                    self.send(Pong(frame.data))
            else:
                if isinstance(frame, Hello):
                    self.greeted = frame
                frames.append(frame)
        if end:
            raise ProtocolViolation("The peer closed the control stream.")
        return frames

    def send(self, frame: Frame) -> None:
        """
        Queue a frame; it leaves once the other side is admitted.
        """
        self._out += pack(frame)

    @property
    def quiet(self) -> bool:
        """
        Whether nothing is queued.
        """
        return not self._out

    def flush(self) -> bool:
        """
        Hand what is queued to QUIC.

        @return: whether there was anything.
        """
        if not self.admitted or not self._out:
            return False
        if self._id is None:
            self._id = self._core.openControl()
        data = bytes(self._out)
        self._out.clear()
        return self._core.sendStream(self._id, data)
