"""
Word from the Linux kernel that addresses or routes of this machine have changed
(rtnetlink(7)).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

#: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR and
#: RTMGRP_IPV6_ROUTE of linux/rtnetlink.h.
GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400

_NETLINK_ROUTE = 0
_SIZE = 65536


@implementer(IReadDescriptor)
class AddressWatch:
    """
    I call somebody when the kernel says that something has changed; what it was,
    the caller finds out.
    """

    def __init__(self, reactor: Any, changed: Callable[[], None]) -> None:
        """
        @raise OSError: this kernel does not tell.
        """
        family = getattr(socket, "AF_NETLINK", None)
        if family is None:
            raise OSError("there is no netlink here")
        self._reactor = reactor
        self._changed = changed
        self._socket = socket.socket(
            family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
        )
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, GROUPS))
        except OSError:
            self._socket.close()
            raise
        reactor.addReader(self)

    def fileno(self) -> int:
        """
        @return: the descriptor.
        """
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """
        @return: what the log calls us.
        """
        return "AddressWatch"

    def doRead(self) -> None:
        """
        The kernel has something to say.
        """
        try:
            while self._socket.recv(_SIZE):
                pass
        except BlockingIOError:
            pass
        except OSError:
            # ENOBUFS: we missed some of many changes, but there were some.
            pass
        self._changed()

    def connectionLost(self, reason: Any) -> None:
        """
        The reactor gave the descriptor up.
        """
        self.stop()

    def stop(self) -> None:
        """
        Do not watch any more.
        """
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()
