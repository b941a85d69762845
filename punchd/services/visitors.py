"""
TCP connections that a worker was passed.
"""

from __future__ import annotations

import base64
import os
import socket
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from punchd.net.tls import ServerCredentials

from .entrance import Entrance, EntranceFactory
from .streams import Streams
from .workercopy import Tell


class Visitor(Entrance):
    """
    I am one of them.
    """

    factory: Visitors

    def __init__(self, factory: Visitors, number: int, left: float) -> None:
        """
        @param number: what the process that has let it in knows it by.
        @param left: the seconds that are left until it has to have said enough.
        """
        super().__init__(factory, "")
        self.number = number
        self.allowed = left
        self._unsettled = True

    def count(self, unsettled: bool) -> None:
        """
        Tell who counts them all.
        """
        if unsettled is not self._unsettled:
            self._unsettled = unsettled
            self.factory.tell("proven", self.number, not unsettled)

    def connectionMade(self) -> None:
        """
        Be known by the number.
        """
        super().connectionMade()
        self.factory.visitors[self.number] = self

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell, and pass on.
        """
        # Who has left is counted no longer whatever he has proven.
        self._unsettled = False
        self.factory.left(self.number)
        super().connectionLost(reason)


class Visitors(EntranceFactory):
    """
    I take them in.

    @ivar visitors: those that are here, by number.
    """

    def __init__(
        self,
        clock: IReactorTime,
        credentials: ServerCredentials,
        streams: Streams,
        tell: Tell,
        processes: int,
    ) -> None:
        """
        @param tell: sends a record to the rendezvous.
        @param processes: how many share what may wait for clients.
        """
        super().__init__(clock, credentials, None, streams)
        streams.budget.most //= processes
        self.tell = tell
        self.visitors: dict[int, Visitor] = {}

    def take(
        self, reactor: Any, descriptor: int, number: int, left: float, said: str
    ) -> None:
        """
        A connection was passed to us.

        @param descriptor: its, which is ours to close.
        @param said: what was read of it, in base64.
        """
        visitor = Visitor(self, number, left)
        try:
            with socket.socket(fileno=os.dup(descriptor)) as passed:
                reactor.adoptStreamConnection(
                    passed.fileno(), passed.family, _Ready(visitor)
                )
        except OSError:
            # It has ended on its way, or we may not have as many files.
            self.counters["not adopted"] += 1
            self.left(number)
            return
        finally:
            os.close(descriptor)
        visitor.dataReceived(base64.b64decode(said))

    def left(self, number: int) -> None:
        """
        It is not here any more, or never was.
        """
        self.visitors.pop(number, None)
        self.tell("left", number)

    def leave(self, number: int) -> None:
        """
        It has to make room.
        """
        visitor = self.visitors.get(number)
        if visitor is not None:
            visitor.leave()


class _Ready(Factory):
    """
    I have one protocol to give.
    """

    noisy = False

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor

    def buildProtocol(  # type: ignore[override]
        self, address: IAddress | None
    ) -> Visitor:
        """
        @return: that one.
        """
        return self._visitor
