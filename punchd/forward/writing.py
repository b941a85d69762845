"""
Writing at once.

Twisted's TCP transport keeps what is written until the reactor has asked the kernel
whether there is room: a turn of the reactor and three system calls for each keystroke,
and one more copy of what is much.  Data for a connection that has sent everything finds
room nearly always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.tcp import Connection

#: The most bytes for which it is tried: what Twisted sends in one call.
ONCE: Final = 1 << 17


def writerOf(transport: Any) -> Callable[[bytes], object]:
    """
    @return: what writes to a transport, at once if it can.
    """
    if not isinstance(transport, Connection):
        write: Callable[[bytes], object] = transport.write
        return write

    def writeNow(data: bytes) -> None:
        if len(data) <= ONCE and _idle(transport):
            # What went wrong the reactor will find out, too.
            sent = transport.writeSomeData(data)
            if isinstance(sent, int) and sent > 0:
                if sent == len(data):
                    return
                data = data[sent:]
        transport.write(data)

    return writeNow


def _idle(transport: Any) -> bool:
    """
    @return: whether nothing waits in a transport and it is not about to end.  These
        are internal names in part; should they go away, we are merely slower.
    """
    return bool(
        transport.connected
        and not transport.disconnecting
        and not transport.dataBuffer
        and not getattr(transport, "_tempDataBuffer", True)
        and not getattr(transport, "_writeDisconnecting", True)
        and not getattr(transport, "_writeDisconnected", True)
        and not transport.TLS
    )
