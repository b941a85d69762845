"""
Two state folders on one reactor whose clients have a session: QUIC and the
control sockets are real, only the network between is not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from punchd.errors import NotAllowed, SessionLost
from punchd.forward.serving import Serving
from punchd.identity import Identity
from punchd.services.control import ControlService
from punchd.services.handover import Handover
from punchd.services.portal import Portal
from punchd.services.state import StateFolder
from punchd.session.auth import Dial
from punchd.session.backend import Qh3
from punchd.session.quic import QuicCore
from punchd.session.stream import Stream
from punchd.signaling.url import RendezvousURL
from tests.forward.ends import Link
from tests.session.pair import End

URL = RendezvousURL.parse("punch://192.0.2.1")

#: Keys take time, and are the same for all.
ALICE, BOB = Identity.create(), Identity.create()


class Side:
    """
    One of two clients; a L{punchd.services.portal.Door}.

    @ivar portal: what programs of its state folder use.
    """

    def __init__(
        self, reactor: Any, path: Path, identity: Identity, end: End, running: bool
    ) -> None:
        self.end = end
        self.identity = identity
        self.serving = Serving()
        self.stops: list[Any] = []
        self.started = False
        self.folder = StateFolder(str(path))
        self.folder.identity = lambda: identity  # type: ignore[method-assign]
        end.streams.onIncoming = self._incoming
        self.portal = Portal(reactor, self.folder, [URL], lambda *_: (self, self.gone))
        self.control: ControlService | None = None
        self.handover = Handover(
            reactor, os.urandom, identity.peerId, self, self.serving
        )
        if running:
            controlled: Any = self
            self.control = ControlService(
                reactor, self.folder, controlled, self.handover
            )
            self.control.startService()

    @property
    def busy(self) -> bool:
        """
        Whether a stream is open.
        """
        return self.end.streams.count > 0 or len(self.handover.tubes) > 0

    def _incoming(self, service: str, stream: Stream) -> None:
        peerId = stream.getPeer().peerId
        if self.serving.allows(peerId, service):
            self.serving(peerId, service, stream)
        else:
            stream.refuse(NotAllowed)

    def gone(self) -> Deferred[None]:
        """
        Stop.
        """
        return succeed(None)

    def status(self) -> Any:
        """
        How things are: fine.
        """
        return succeed({"sessions": []})

    def pair(self, command: str, **words: Any) -> Any:
        """
        Nobody pairs here.
        """
        raise NotImplementedError(command)

    def open(self, peerId: str, service: str) -> Deferred[Stream]:
        """
        Open a stream to the other side.
        """
        if not self.started:
            self.started = True
            self.end.driver.call(self.end.core.start)
        return succeed(self.end.streams.openStream(service))

    def serve(self, service: str, allow: Any, take: Any, onLost: Any) -> Deferred[Any]:
        """
        Offer a service.
        """
        return succeed(self.serving.serve(service, allow, take))


class World:
    """
    Alice, who dials, and Bob.

    @ivar a: Alice's side.
    @ivar b: Bob's.
    """

    def __init__(self, reactor: Any, path: Path, running: bool) -> None:
        """
        @param running: whether programs go through control sockets.
        """
        self.reactor = reactor
        self.links = there, back = Link(reactor), Link(reactor)
        one: Any = there
        other: Any = back
        ends = (
            End(reactor, QuicCore.client(Qh3()), ALICE, BOB.peerId, one),
            End(reactor, QuicCore.server(BOB, Qh3()), BOB, ALICE.peerId, other),
        )
        there.deliver, back.deliver = ends[1].receive, ends[0].receive
        dial = Dial(ALICE.peerId, BOB.peerId, "dial", b"a nonce")
        for end in ends:
            end.streams.authenticate(dial)
        self.a = Side(reactor, path / "a", ALICE, ends[0], running)
        self.b = Side(reactor, path / "b", BOB, ends[1], running)
        self.a.folder.petnames.add("bob", BOB.peerId)
        self.b.folder.petnames.add("alice", ALICE.peerId)

    async def stop(self, turns: int = 0) -> None:
        """
        End everything.

        @param turns: how often to look whether what is closing is closed.
        """
        for _ in range(turns):
            if not any(side.busy for side in (self.a, self.b)):
                break
            await deferLater(self.reactor, 0.01)
        for side in (self.a, self.b):
            await side.portal.stop()
            if side.control is not None:
                await side.control.stopService()
            side.end.streams.lose(SessionLost("The test is over."))
        await deferLater(self.reactor, 0.01)
        for side in (self.a, self.b):
            side.end.driver.stop()
        # What they sent at last arrives nowhere.
        for link in self.links:
            link.deliver = lambda datagrams: None
        await deferLater(self.reactor, 0.01)
