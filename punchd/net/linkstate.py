"""
Whether a network interface can carry anything now (netdevice(7)).
"""

from __future__ import annotations

import socket
import struct
import sys

_SIOCGIFFLAGS = 0x8913
_IFF_UP = 0x1
_IFF_RUNNING = 0x40
_REQUEST = struct.Struct("16sH22x")


def isUp(name: str) -> bool:
    """
    @return: whether the interface is up and its cable is plugged in; true where
        the system does not tell.
    """
    if not sys.platform.startswith("linux"):
        return True
    import fcntl

    request = _REQUEST.pack(name.encode()[:15], 0)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            answer = fcntl.ioctl(asked, _SIOCGIFFLAGS, request)
    except OSError:
        return True
    flags: int = _REQUEST.unpack(answer)[1]
    return flags & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING
