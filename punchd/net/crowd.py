"""
Many sockets that are one to the reactor.

A relay has a socket for each allocation, and each has little to read at a time.
What a reactor does around every call of C{doRead} would cost more than reading;
so the kernel is asked here which of them have something (an epoll descriptor
can be waited for like a socket), and what they had is delivered together.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import ILoggingContext, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from .lanes import Lane
from .udp import Run

#: Sockets that are read from before what they had is delivered.
READY = 64
#: How often the kernel is asked, and the seconds that this may take, before others
#: on the reactor have their turn.
TURNS = 16
LONGEST = 0.002


@implementer(IReadDescriptor, ILoggingContext)
class Crowd:
    """
    I am a reactor to L{punchd.net.carrying.Carrier}s.

    @ivar now: monotonic seconds, when the ports began to be read.
    @ivar turn: how often ports have been read so far, and more.
    @ivar waiting: lanes that have something to send.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        """
        @param reactor: with a monotonic clock.
        """
        self._reactor = reactor
        self._seconds: Callable[[], float] = reactor.seconds
        self.now = self._seconds()
        self.turn = 0
        self.waiting: list[Lane] = []
        self._poll: Any = None
        self._members: dict[int, Any] = {}

    # --- what ports need of a reactor

    def addReader(self, port: Any) -> None:
        """
        Read from the port whenever there is something.
        """
        number = port.fileno()
        if number in self._members:
            return
        if self._poll is None:
            self._poll = select.epoll()
            self._reactor.addReader(self)
        self._poll.register(number, select.EPOLLIN)
        self._members[number] = port

    def removeReader(self, port: Any) -> None:
        """
        The port is about to be closed.
        """
        number = port.fileno()
        if self._members.pop(number, None) is None:
            return
        self._poll.unregister(number)
        if not self._members:
            self._reactor.removeReader(self)
            self._poll.close()
            self._poll = None

    def addWriter(self, port: Any) -> None:
        """
        Have the port write when there is room.
        """
        self._poll.modify(port.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def removeWriter(self, port: Any) -> None:
        """
        The port has nothing more to write.
        """
        if port.fileno() in self._members:
            self._poll.modify(port.fileno(), select.EPOLLIN)

    # --- IReadDescriptor

    def fileno(self) -> int:
        """
        @return: the descriptor that is readable when one of the sockets is; -1
            when there are none.
        """
        return -1 if self._poll is None else self._poll.fileno()

    def logPrefix(self) -> str:
        """
        @return: what the log calls us.
        """
        return type(self).__name__

    def connectionLost(self, reason: Any) -> None:
        """
        The reactor ends.
        """
        for port in list(self._members.values()):
            port.connectionLost(reason)

    def doRead(self) -> None:
        """
        Read from those that have something.
        """
        self.turn += 2
        self.now = began = self._seconds()
        for _ in range(TURNS):
            ready = self._poll.poll(0, READY)
            if not ready:
                return
            well = self._take(ready)
            if not well or self._poll is None or self.now - began > LONGEST:
                return
            self.turn += 1

    def _take(self, ready: list[tuple[int, int]]) -> bool:
        """
        @param ready: descriptors and what is the matter with them.

        @return: whether no port has failed.
        """
        well = True
        self.now = self._seconds()
        left: list[tuple[Any, list[Run]]] = []
        for number, event in ready:
            port = self._members.get(number)
            if port is None:
                continue
            try:
                if event & select.EPOLLOUT:
                    port.doWrite()
                if event & ~select.EPOLLOUT:
                    # News of errors are there, too.
                    runs = port.read()
                    if runs:
                        left.append((port, runs))
            except Exception:
                well = False
                self._log.failure("{port} failed", port=port.logPrefix())
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for lane in waiting:
                lane.depart()
        if left:
            self._deliver(left)
        return well

    def _deliver(self, left: list[tuple[Any, list[Run]]]) -> None:
        """
        Bring to the receivers what no lane has taken.
        """
        together: dict[Any, list[Run]] = {}
        for port, runs in left:
            together.setdefault(port.receiver, []).extend(runs)
        for receiver, runs in together.items():
            try:
                receiver.runsReceived(runs)
            except Exception:
                self._log.failure("A receiver of datagrams failed")
        for port, runs in left:
            try:
                port.learn(runs)
            except Exception:
                self._log.failure("{port} failed", port=port.logPrefix())
