"""
A UDP socket that is told of datagrams which died on their way.

Linux gives such news to whoever sent the datagram, without any privilege
(IP_RECVERR, see ip(7)): the report waits in a queue of the socket.  An epoll of
our own watches that queue, because reactors take it for a broken connection.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from contextlib import suppress
from typing import Any, Final

from twisted.internet.interfaces import ILoggingContext, IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from punchd.core import Address, Datagram
from punchd.interfaces import IDatagramPort, IHopReceiver

from . import ancillary

#: linux/in.h and linux/in6.h.
IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25

#: linux/errqueue.h, struct sock_extended_err: errno, origin, type, code.
_ERROR: Final = struct.Struct("=IBBBxII")
#: Where the error comes from, and the types of "time exceeded" (RFC 792, RFC 4443).
_EXCEEDED: Final = ((2, 11), (3, 3))

_SPACE: Final = socket.CMSG_SPACE(_ERROR.size + 28) + ancillary.SPACE
_READS: Final = 16


@implementer(IDatagramPort, IReadDescriptor, ILoggingContext)
class HopPort:
    """
    I am such a socket.
    """

    _log = Logger()

    def __init__(
        self, reactor: IReactorFDSet, receiver: IHopReceiver, family: int
    ) -> None:
        """
        @param family: 4 or 6.

        @raise OSError: this system tells nobody, or lacks the family.
        """
        if not ancillary.LINUX:
            raise OSError("only Linux tells which datagrams died")
        self.family = family
        self._reactor = reactor
        self._receiver: Any = receiver
        sock = self._socket = socket.socket(
            ancillary.addressFamily(family), socket.SOCK_DGRAM
        )
        try:
            sock.setblocking(False)
            if family == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            sock.bind(("::" if family == 6 else "0.0.0.0", 0))
            self._poll = select.epoll()
        except BaseException:
            sock.close()
            raise
        self._poll.register(sock.fileno(), select.EPOLLIN)
        self._closed = False
        reactor.addReader(self)

    # --- IDatagramPort -------------------------------------------------------

    def getHost(self) -> Address:
        """
        @return: the bound (host, port).
        """
        bound = self._socket.getsockname()
        return (bound[0], bound[1])

    def send(self, datagram: Datagram) -> None:
        """
        Send a datagram; one that cannot leave is as good as one that died.
        """
        controls = []
        if datagram.ttl is not None:
            controls = ancillary.hopLimitControl(self.family, datagram.ttl)
        # The first error may be an old one, of which we are told besides.
        for _ in range(2):
            with suppress(OSError):
                self._socket.sendmsg([datagram.data], controls, 0, datagram.remote)
                return

    def sendMany(self, datagrams: Any) -> None:
        """
        Send several.
        """
        for each in datagrams:
            self.send(each)

    def close(self) -> None:
        """
        Close the socket.
        """
        if not self._closed:
            self._closed = True
            self._reactor.removeReader(self)
            self._poll.close()
            self._socket.close()

    # --- IReadDescriptor -----------------------------------------------------

    def fileno(self) -> int:
        """
        @return: that of the watch over the socket.
        """
        return -1 if self._closed else self._poll.fileno()

    def logPrefix(self) -> str:
        """
        @return: what the log calls us.
        """
        return type(self).__name__

    def connectionLost(self, reason: Any) -> None:
        """
        The reactor gave it up.
        """
        self.close()

    def doRead(self) -> None:
        """
        Read what came, and what is told of what died.
        """
        for flags in (socket.MSG_ERRQUEUE, 0):
            for _ in range(_READS):
                if self._closed:
                    return
                try:
                    data, controls, _, remote = self._socket.recvmsg(
                        2048, _SPACE, flags
                    )
                except BlockingIOError:
                    break
                except OSError:
                    # An error of which the queue tells more.
                    continue
                try:
                    self._deliver(data, controls, remote[:2], bool(flags))
                except Exception:
                    self._log.failure("A receiver of datagrams failed")

    def _deliver(self, data: bytes, controls: Any, remote: Address, died: bool) -> None:
        if not died:
            self._receiver.datagramReceived(data, self.getHost(), remote)
            return
        for level, kind, value in controls:
            if (level, kind) in (
                (socket.IPPROTO_IP, IP_RECVERR),
                (socket.IPPROTO_IPV6, IPV6_RECVERR),
            ):
                host = _whoDropped(value)
                if host is not None:
                    self._receiver.hopReported(data, host)


def _whoDropped(value: bytes) -> str | None:
    """
    @param value: a C{struct sock_extended_err}, and the address of the offender.

    @return: who found the hop limit used up, L{None} if it is about other things.
    """
    if len(value) < _ERROR.size + 8:
        return None
    _, origin, kind, *_ = _ERROR.unpack_from(value)
    if (origin, kind) not in _EXCEEDED:
        return None
    offender = value[_ERROR.size :]
    # struct sockaddr_in, struct sockaddr_in6.
    if int.from_bytes(offender[:2], sys.byteorder) == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, offender[4:8])
    if len(offender) < 24:
        return None
    return socket.inet_ntop(socket.AF_INET6, offender[8:24])
