"""
Two ends of a connection, with everything between them: programs at control sockets,
users and services at TCP sockets, or protocols right at the streams of a session.
"""

from __future__ import annotations

import select
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from punchd.errors import SessionLost
from punchd.forward.publish import Forwarder, Publisher
from punchd.forward.rules import Forward, Publication
from punchd.net.kernel import KernelNetwork

from .turns import Turns
from .world import World

#: How an end takes part.
KINDS = ("stream", "program", "tcp")


class Actor(Protocol):
    """
    One end.

    @ivar sent: what was written, unless a close came first.
    @ivar data: what came.
    @ivar did: what it did that ends the connection, or a part of it.
    @ivar ended: whether it was told that the other one ended its direction.
    @ivar reason: what it was told at last.
    """

    transport: Any

    def __init__(self, kind: str, reactor: Any) -> None:
        self.kind = kind
        self.sent = bytearray()
        self.data = bytearray()
        self.did: list[str] = []
        self.ended = False
        self.reason: BaseException | None = None
        self._reactor = reactor

    # --- what happens to it

    def dataReceived(self, data: bytes) -> None:
        """
        Keep it.
        """
        assert self.reason is None and not self.ended
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        """
        Keep why.
        """
        assert self.reason is None
        self.reason = reason.value

    # --- what it does

    @property
    def gone(self) -> bool:
        """
        Whether it hears nothing more.
        """
        return self.reason is not None or "die" in self.did

    @property
    def left(self) -> bool:
        """
        Whether it has ended the connection.
        """
        return any(each in ("close", "abort", "die") for each in self.did)

    @property
    def knows(self) -> bool:
        """
        Whether it was told that the other one has ended.
        """
        if self.gone or self.ended:
            return True
        if self.kind != "tcp":
            return False
        # Twisted does not ask for it once it has read the end.
        poll = select.poll()
        poll.register(self.transport.fileno(), 0)
        return bool(poll.poll(0))

    @property
    def breaks(self) -> bool:
        """
        Whether the other one is at the end, though it does nothing.
        """
        if self.kind == "tcp":
            # A reset behind an end is not asked for, and a process that has read
            # all leaves no more than an end.
            return self.did == ["abort"]
        return "abort" in self.did or "die" in self.did

    def insist(self) -> bool:
        """
        Write once more, when nothing else happens.

        @return: whether it hears nothing more.
        """
        if not (self._reactor.soon() or self.gone):
            self.transport.write(b"?")
        return self.gone

    def act(self, action: str, size: int) -> None:
        """
        Do something, if it still can be done.
        """
        if self.gone or (action == "die" and self.kind == "stream"):
            return
        if action == "write":
            if not (self.did or self.transport.disconnecting):
                data = bytes([len(self.sent) % 251]) * size
                self.sent += data
                self.transport.write(data)
        elif action == "pause":
            self.transport.pauseProducing()
        elif action == "resume":
            if not (self.left or self.ended):
                self.transport.resumeProducing()
        elif action not in self.did and (action != "end" or not self.did):
            self.did.append(action)
            getattr(self, f"_{action}")()

    def _end(self) -> None:
        self.transport.loseWriteConnection()

    def _close(self) -> None:
        self.transport.loseConnection()

    def _abort(self) -> None:
        self.transport.abortConnection()

    def _die(self) -> None:
        # As the kernel ends the process.
        transport = self.transport
        if self.kind == "program":
            tube = transport._carrier
            tube._open = False
            transport = tube.transport
        if not transport.connected:
            # It is closed, and was going to be told.
            return
        self._reactor.removeReader(transport)
        self._reactor.removeWriter(transport)
        transport.connected = 0
        transport.socket.close()


@implementer(IHalfCloseableProtocol)
class HalfActor(Actor):
    """
    One whose directions end one by one.
    """

    def readConnectionLost(self) -> None:
        """
        The other one has said all.
        """
        assert self.reason is None and not self.ended
        self.ended = True

    def writeConnectionLost(self) -> None:
        """
        We have said all.
        """


class Chain:
    """
    All kinds of ends, on two sides.

    @ivar left: the end that connects.
    @ivar right: the end that it reaches, once it has.
    """

    def __init__(self, path: Path) -> None:
        self.reactor = reactor = Turns()
        self.world = world = World(reactor, path, True)
        self.forwarders: dict[str, Forwarder] = {}
        self.left: Actor | None = None
        self.right: Actor | None = None
        self._halves = (True, True)
        listening: Any = reactor.result(
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(_Ends(self, 1))
        )
        self._port = listening.getHost().port
        where = f"tcp:127.0.0.1:{self._port}"
        publisher = Publisher(KernelNetwork(reactor), [Publication("tcp", where)])
        allow = [world.a.identity.peerId]
        world.b.serving.serve("stream", allow, self._take)
        world.b.serving.serve("tcp", allow, publisher)
        self._offering = world.b.portal.serve("program", allow, self._take)
        reactor.result(self._offering.ready)
        bob = world.b.identity.peerId
        for kind in KINDS:
            rule = Forward("tcp:0:interface=127.0.0.1", "bob", kind)
            forwarder = Forwarder(reactor, rule, bob, world.a.open)
            forwarder.startService()
            self.forwarders[kind] = forwarder
        self._ports = [listening, *(each.port for each in self.forwarders.values())]
        self._idle = self._open()

    def connect(self, left: str, right: str, halves: tuple[bool, bool]) -> None:
        """
        Have an end connect to one of another kind, or the same.

        @param halves: whether each can end one direction alone.
        """
        self._halves = halves
        self.right = None
        actor = self.left = self.actor(0, left)
        if left == "stream":
            stream = self.world.a.end.streams.openStream(right)
            if not self.world.a.started:
                self.world.a.started = True
                self.world.a.end.driver.call(self.world.a.end.core.start)
            stream.attach(actor)
        elif left == "program":
            bob = self.world.b.identity.peerId
            opening = Deferred.fromCoroutine(self.world.a.portal.open(bob, right))
            self.reactor.result(opening).attach(actor)
        else:
            port: Any = self.forwarders[right].port
            self.reactor.result(
                TCP4ClientEndpoint(
                    self.reactor, "127.0.0.1", port.getHost().port
                ).connect(_Ends(self, 0, actor))
            )

    def actor(self, side: int, kind: str) -> Actor:
        """
        @return: an end for one side.
        """
        make = HalfActor if self._halves[side] else Actor
        return make(kind, self.reactor)

    @property
    def ends(self) -> list[Actor]:
        """
        Those that are connected.
        """
        both = self.left, self.right
        return [end for end in both if end is not None and end.transport is not None]

    @property
    def over(self) -> bool:
        """
        Whether nothing is left once those that are still there have closed.
        """
        for end in self.ends:
            if not end.left:
                end.act("close", 0)
        return self.empty

    @property
    def empty(self) -> bool:
        """
        Whether nothing of a connection is left.
        """
        world = self.world
        return not (
            world.a.busy
            or world.b.busy
            or world.b.handover._waiting
            or any(forwarder._users for forwarder in self.forwarders.values())
            or self._open() - self._idle
            or select.select(self._ports, [], [], 0)[0]
        )

    def lose(self) -> None:
        """
        The session is lost.
        """
        for side in (self.world.a, self.world.b):
            side.end.streams.lose(SessionLost("The moon is in the way."))

    def leave(self) -> None:
        """
        Programs lose the client that they connect by.
        """
        control = self.world.a.control
        assert control is not None
        self.reactor.result(control.stopService())

    def describe(self) -> str:
        """
        @return: what is left.
        """
        world = self.world
        lines = []
        for name, side in (("a", world.a), ("b", world.b)):
            table = side.end.streams._table
            for stream in [*table._streams.values(), *table._waiting]:
                lines.append(f"{name} session {_flow(stream)}")
            for tube in side.handover.tubes:
                lines.append(f"{name} tube {_flow(tube.stream)}")
        for end in (self.left, self.right):
            if end is not None:
                lines.append(
                    f"{end.kind} did {end.did} ended={end.ended} "
                    f"reason={end.reason!r} sent={len(end.sent)} got={len(end.data)}"
                )
        lines += [str(each) for each in self._open() - self._idle]
        return "\n".join(lines)

    def stop(self) -> None:
        """
        End everything.
        """
        self._offering.stop()
        for forwarder in self.forwarders.values():
            forwarder.stopService()
        self._ports[0].stopListening()
        self.reactor.result(Deferred.fromCoroutine(self.world.stop()))
        self.reactor.end()

    def _take(self, peerId: str, service: str, stream: Any) -> None:
        self.right = self.actor(1, service)
        stream.accept(self.right)

    def _open(self) -> set[Any]:
        reactor = self.reactor
        return {*reactor.getReaders(), *reactor.getWriters()}


class _Ends(Factory):
    """
    I make the end at a TCP socket.
    """

    noisy = False

    def __init__(self, chain: Chain, side: int, actor: Actor | None = None) -> None:
        self._chain = chain
        self._side = side
        self._actor = actor

    def buildProtocol(self, addr: Any) -> Actor:
        if self._actor is not None:
            return self._actor
        actor = self._chain.right = self._chain.actor(1, "tcp")
        return actor


def _flow(flow: Any) -> str:
    out, come = flow.outgoing, flow.incoming
    return (
        f"{flow.id} {flow.service} {type(flow.protocol).__name__} over={flow._over!r} "
        f"accepted={flow.accepted} paused={flow._paused} closing={flow._closing} "
        f"out(size={out.size} ending={out.ending} done={out.done} "
        f"credit={out.credit.available}) in(size={come.size} ended={come.ended} "
        f"done={come.done} discarding={come.discarding})"
    )
