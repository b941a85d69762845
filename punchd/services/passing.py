"""
TCP connections for STUN and TURN that are passed on to workers.

The process with the directory lets connections in, and holds them to their limits,
until the first bytes tell what they are for.  What is for STUN beyond doubt goes to the
process that has the fewest such connections: its descriptor, and what was read.  Until
the worker says that it has ended, the connection is counted here; it is sent away from
here, too, when it has to make room.  Who wants signaling stays.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import count
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from punchd.net.hello import isWhole, offeredProtocols
from punchd.net.tls import SIGNALING

from .entrance import TLS, Entrance, EntranceFactory
from .workerpipe import pack
from .workerprocess import Child


class PassingEntrance(Entrance):
    """
    I am a new TCP connection, and when it is passed on, what is left of it here.
    """

    factory: PassingFactory
    #: The worker that has it, and the number that it is known by.
    child: Child | None = None
    number = 0
    _said = b""
    _kept = False

    def dataReceived(self, data: bytes) -> None:
        """
        Wait until it is clear what they want.
        """
        if self.successor is None:
            self._said += data
            if self._said[0] == TLS and not isWhole(self._said):
                return
            data, self._said = self._said, b""
            if isForStun(data):
                if self.factory.passing.passOn(self, data):
                    return
                self._kept = True
                self.factory.passing.kept += 1
        super().dataReceived(data)

    def leave(self) -> None:
        """
        @see: L{Entrance.leave}.
        """
        if self.child is None:
            super().leave()
        else:
            _tell(self.child, "leave", self.number)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass on, unless it only went elsewhere.
        """
        if self.child is None:
            self.factory.passing.kept -= self._kept
            super().connectionLost(reason)

    def send(self, child: Child, number: int, said: bytes) -> bool:
        """
        Let a worker have the connection.

        @param said: what was read.

        @return: whether it was taken.
        """
        transport: Any = self.transport
        left = self.patience()
        text = base64.b64encode(said).decode("ascii")
        message = next(pack([("stream", number, left, text)]))
        if not child.pipe.sendWith(message, transport.fileno()):
            return False
        self.child, self.number = child, number
        self.stopWaiting()
        transport.stopReading()
        transport.stopWriting()
        # Ours only: the connection goes on.
        transport.socket.close()
        self.transport = None
        return True

    def forget(self) -> None:
        """
        The worker has it no longer.
        """
        self.factory.connections.discard(self)
        self.count(False)


class Passing:
    """
    I choose, and know what has become of what was passed on.

    @ivar kept: connections for STUN that have stayed.
    """

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self.processes = len(children) + 1
        self._numbers = count(1)
        self.kept = 0

    def passOn(self, entrance: PassingEntrance, said: bytes) -> bool:
        """
        @param said: what was read.

        @return: whether a worker has the connection now.
        """
        able = [each for each in self._children if each.answers]
        child = min(able, key=lambda each: len(each.passed), default=None)
        if child is None or len(child.passed) > self.kept:
            return False
        number = next(self._numbers)
        if not entrance.send(child, number, said):
            return False
        child.passed[number] = entrance
        return True

    def proven(self, child: Child, number: int, proven: bool) -> None:
        """
        A worker says that somebody has proven who he is, or has nothing any more.
        """
        entrance = child.passed.get(number)
        if entrance is not None:
            entrance.count(not proven)

    def left(self, child: Child, number: int) -> None:
        """
        A worker says that a connection has ended.
        """
        entrance = child.passed.pop(number, None)
        if entrance is not None:
            entrance.forget()

    def show(self, pem: bytes) -> None:
        """
        Have all workers show another certificate.
        """
        for child in self._children:
            _tell(child, "shown", pem.decode("ascii"))

    def gone(self, child: Child) -> None:
        """
        A worker has died, and all that it had.
        """
        for number in list(child.passed):
            self.left(child, number)


class PassingFactory(EntranceFactory):
    """
    I let connections in, for all processes.
    """

    entrance = PassingEntrance

    def __init__(self, passing: Passing, *arguments: Any) -> None:
        """
        @param arguments: as for L{EntranceFactory}.
        """
        super().__init__(*arguments)
        self.passing = passing
        # What may wait for clients is shared by all processes.
        self.streams.budget.most //= passing.processes


def _tell(child: Child, *record: Any) -> None:
    if child.pipe is not None:
        child.pipe.send(next(pack([record])))


def isForStun(data: bytes) -> bool:
    """
    @param data: how a connection begins.

    @return: whether it is for STUN or TURN, and cannot be for anything else.
    """
    if data[0] != TLS:
        return data[0] < 0x40
    offered = offeredProtocols(data)
    return offered is not None and SIGNALING not in offered
