"""
A UDP socket that is told what the network has to complain about, and that can
send datagrams which no router may cut.

Linux keeps such news in a queue beside the data (IP_RECVERR, ip(7)).  While
something is in there, poll reports an error, which reactors take for the end of
a connection: they forget the socket and call C{connectionLost}.  We read the
queue and ask to be remembered, which costs something only when there is news.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet
from zope.interface import implementer

from punchd.core import Datagram
from punchd.interfaces import IErrorReceiver, IRelayPort

from . import ancillary
from .udp import UDPPort

#: linux/in.h and linux/in6.h: have the kernel tell.
_RECVERR: Final = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}

#: The same: how the DF bit is set; "don't" and "do" are the
#: same for both families.
_MTU_DISCOVER: Final = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
_DONT: Final = 0
_DO: Final = 2

#: linux/errqueue.h, struct sock_extended_err: errno, origin, type, code, info.
_ERROR: Final = struct.Struct("=IBBBxI")
_LOCAL: Final = 1
_ICMP: Final = 2
_ICMP6: Final = 3
#: "Too big", which the kernel says by itself when it knows the path.
_TOO_BIG: Final = {4: (3, 4), 6: (2, 0)}

#: What a send may fail with on account of an earlier datagram.
_REPORTS: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPROTO,
        errno.EACCES,
    }
)

_SPACE: Final = socket.CMSG_SPACE(_ERROR.size + 4 + 28) + ancillary.SPACE
#: News that one readiness may take.
_READS: Final = 32


@implementer(IRelayPort)
class ReportingPort(UDPPort):
    """
    I am such a socket.
    """

    __slots__ = ()

    def __init__(
        self,
        reactor: IReactorFDSet,
        receiver: IErrorReceiver,
        family: int,
        host: str = "",
        port: int = 0,
        *,
        offload: bool = True,
    ) -> None:
        """
        @see: L{UDPPort}.
        """
        super().__init__(reactor, receiver, family, host, port, offload=offload)
        self._socket.setsockopt(*_RECVERR[family], 1)
        # Large datagrams may be cut on their way unless the sender forbids it.
        self._socket.setsockopt(*_MTU_DISCOVER[family], _DONT)
        self.sender.reports = _REPORTS

    def sendWhole(self, datagram: Datagram) -> None:
        """
        Send one datagram that is dropped rather than cut.
        """
        if self._closed:
            return
        option = _MTU_DISCOVER[self.family]
        self._socket.setsockopt(*option, _DO)
        try:
            self.sender.sendOne(datagram)
        finally:
            self._socket.setsockopt(*option, _DONT)

    def connectionLost(self, reason: Any) -> None:
        """
        There is news, or the reactor ends.
        """
        if self._closed or not reason.check(ConnectionDone):
            super().connectionLost(reason)
            return
        self._idle()
        if not self._closed:
            self._reactor.addReader(self)
            if self._queue:
                self._reactor.addWriter(self)

    def _idle(self) -> None:
        for _ in range(_READS):
            if self._closed:
                return
            try:
                _, controls, _, remote = self._socket.recvmsg(
                    1, _SPACE, socket.MSG_ERRQUEUE
                )
            except OSError:
                return
            for level, kind, value in controls:
                if (level, kind) == _RECVERR[self.family]:
                    self._report(value, remote)

    def _report(self, value: bytes, remote: Any) -> None:
        number, origin, kind, code, info = _ERROR.unpack_from(value)
        if origin == _LOCAL and number == errno.EMSGSIZE:
            kind, code = _TOO_BIG[self.family]
        elif origin not in (_ICMP, _ICMP6):
            return
        self.counters["reported " + errno.errorcode.get(number, "?")] += 1
        try:
            self._receiver.errorReported(self._host, remote[:2], kind, code, info)
        except Exception:
            self._log.failure("A receiver of errors failed")
