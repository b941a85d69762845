"""
Streams over the control socket, as the running client has them.

Two requests turn a connection of the control socket into a
L{Tube<punchd.session.tube.Tube>}: C{open} leads it to a service of a peer, and
C{take} to a stream that a peer opened.  Of the latter a program is told on the
connection where it has said C{serve}: a line C{{"incoming": TOKEN, "peer": ID}}
for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from punchd.core import Entropy
from punchd.errors import ControlError, PunchError, ServiceFailed
from punchd.forward.serving import Offer, Serving
from punchd.forward.tcp import Half, join
from punchd.session.stream import Stream
from punchd.session.tube import Tube, reasonOf

#: Streams of programs at a time.
MAX_TUBES = 1000

#: How long a program may take to fetch a stream, in seconds.
FETCH = 30.0

#: Opens a stream to a service of a peer.
Open = Callable[[str, str], "Deferred[Stream]"]


class Client(Protocol):
    """
    What I need of a client; L{punchd.services.client.PunchClient}.
    """

    def open(self, peerId: str, service: str) -> Deferred[Stream]:
        """
        Open a stream to a service of a peer.
        """


class TubeHalf(Half):
    """
    The side of a program, joined to a stream of a session: it tells the program
    what broke that stream.
    """

    def __init__(self, tube: Tube) -> None:
        super().__init__()
        self._tube = tube

    def abort(self) -> None:
        """
        End the program's stream for the reason that ended the other one.
        """
        if self.lost is None:
            other = self._other
            reason = reasonOf(None if other is None else other.lost)
            if isinstance(reason, PunchError):
                self._tube.failWith(reason)
            else:
                self._tube.stream.abortConnection()


class Handover:
    """
    I join the streams of programs on this machine to those of sessions.

    @ivar tubes: the connections that are streams.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        entropy: Entropy,
        ownId: str,
        client: Client,
        serving: Serving,
    ) -> None:
        self.ownId = ownId
        self.tubes: set[Tube] = set()
        self._clock = clock
        self._entropy = entropy
        self._client = client
        self._serving = serving
        self._waiting: dict[str, tuple[str, str, Stream, IDelayedCall]] = {}

    # --- what programs ask; each of the first two gives the new protocol

    def open(self, peer: str) -> Tube:
        """
        A program wants a stream to a service of a peer, and names it in the
        stream's own head.
        """
        tube = self._tube(peer, None, lambda service, s: self._opened(tube, service))
        return tube

    def take(self, token: str) -> Tube:
        """
        A program fetches a stream that it was told of.

        @raise ControlError: it is gone.
        """
        found = self._waiting.pop(token, None)
        if found is None:
            raise ControlError("That stream is gone.")
        peer, service, stream, late = found
        late.cancel()
        tube = self._tube(peer, service)
        tube.stream.whenOpen().addCallbacks(
            lambda _: self._accept(tube, stream), lambda f: _refuse(stream, f)
        )

        def lost(failure: Failure) -> None:
            # Afterwards its half tells; what the program has yet to read is its.
            if tube.stream.protocol is None:
                tube.stream.abortConnection()

        # Who opened it may go before that.
        stream.whenOpen().addErrback(lost)
        return tube

    def serve(
        self, service: str, allow: Sequence[str], tell: Callable[[dict[str, str]], None]
    ) -> Offer:
        """
        A program offers a service.

        @param tell: called for each stream.

        @raise punchd.errors.InvalidOption: the name is taken.
        """

        def take(peerId: str, service: str, stream: Stream) -> None:
            token = self._entropy(12).hex()
            late = self._clock.callLater(FETCH, self._late, token)
            self._waiting[token] = peerId, service, stream, late
            tell({"incoming": token, "peer": peerId})

        return self._serving.serve(service, allow, take)

    def stop(self) -> None:
        """
        Cut off all programs.
        """
        for tube in list(self.tubes):
            tube.abort()
        for token in list(self._waiting):
            self._late(token)

    # --- inside

    def _tube(
        self,
        peer: str,
        service: str | None,
        incoming: Callable[[str, Stream], object] = lambda service, stream: None,
    ) -> Tube:
        if len(self.tubes) >= MAX_TUBES:
            raise ControlError("The client has too many connections.")
        tube = Tube(
            self._clock, self.ownId, peer, service, incoming, self.tubes.discard
        )
        self.tubes.add(tube)
        return tube

    def _opened(self, tube: Tube, service: str) -> None:
        opening = self._client.open(tube.peerId, service)
        # A program that leaves meanwhile.
        tube.stream.whenOpen().addErrback(lambda _: opening.cancel())
        opening.addCallbacks(
            lambda stream: self._connect(tube, stream),
            lambda failure: tube.failWith(failure.value),
        )
        opening.addErrback(self._bug, tube)

    def _connect(self, tube: Tube, stream: Stream) -> None:
        # What the program writes travels while the peer has yet to answer.
        stream.whenOpen().addCallbacks(
            lambda _: tube.stream.accept(), lambda failure: None
        )
        end, half = Half(), TubeHalf(tube)
        tube.stream.attach(half)
        stream.attach(end)
        join(half, end)

    def _accept(self, tube: Tube, stream: Stream) -> None:
        end, half = Half(), TubeHalf(tube)
        tube.stream.attach(half)
        stream.accept(end)
        join(half, end)

    def _late(self, token: str) -> None:
        _, service, stream, late = self._waiting.pop(token)
        if late.active():
            late.cancel()
        self.log.warn("Nobody fetched a stream to {service}", service=service)
        stream.refuse(ServiceFailed)

    def _bug(self, failure: Failure, tube: Tube) -> None:
        self.log.failure("A stream could not be joined", failure)
        tube.stream.abortConnection()


def _refuse(stream: Stream, failure: Failure) -> None:
    stream.refuse(ServiceFailed)
