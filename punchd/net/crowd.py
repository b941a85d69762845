"""
Many sockets that are one to the reactor.

A relay has a socket for each allocation, and each has little to read at a time.
What a reactor does around every call of C{doRead} would cost more than reading;
so the kernel is asked here which of them have something (an epoll descriptor
can be waited for like a socket), and what they had is delivered together.
"""

from __future__ import annotations

import select
from typing import Any

from twisted.internet.interfaces import ILoggingContext, IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from punchd.interfaces import IRunReceiver

#: Sockets that one readiness may take before others on the reactor have their turn.
READY = 64


@implementer(IReadDescriptor, ILoggingContext)
class Crowd:
    """
    I am a reactor to L{punchd.net.udp.UDPPort}s that have one receiver.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFDSet, receiver: IRunReceiver) -> None:
        """
        @param receiver: takes what came to all of them.
        """
        self._reactor = reactor
        self._receiver: Any = receiver
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
        runs: list[Any] = []
        for number, event in self._poll.poll(0, READY):
            port = self._members.get(number)
            if port is None:
                continue
            try:
                if event & select.EPOLLOUT:
                    port.doWrite()
                if event & ~select.EPOLLOUT:
                    # News of errors are there, too.
                    runs += port.read()
            except Exception:
                self._log.failure("{port} failed", port=port.logPrefix())
        if runs:
            try:
                self._receiver.runsReceived(runs)
            except Exception:
                self._log.failure("A receiver of datagrams failed")
