"""
What the log says of the relay: for whom which address, and how much passed.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from punchd.turn.credentials import handleOf
from punchd.turn.events import AllocationClosed, AllocationOpened

from .places import textOf


class RelayLog:
    """
    I tell of relayed addresses, here or in another process.
    """

    log = Logger()

    def __init__(self, directory: Any) -> None:
        """
        @param directory: an L{IPresences<punchd.interfaces.IPresences>}.
        """
        self._directory = directory

    def opened(self, event: AllocationOpened) -> None:
        """
        There is one more.
        """
        self.log.info(
            "relaying at {relayed} for {user}",
            relayed=textOf(event.relayed),
            user=self._userOf(event.username),
            handle=handleOf(event.username),
            transport=event.transport,
            event="allocation-opened",
        )

    def closed(self, event: AllocationClosed) -> None:
        """
        There is one less.
        """
        self.log.info(
            "relayed at {relayed} for {user}: {bytes} bytes ({reason})",
            relayed=textOf(event.relayed),
            user=self._userOf(event.username),
            handle=handleOf(event.username),
            transport=event.transport,
            reason=event.reason,
            bytes=event.sentBytes + event.receivedBytes,
            sentPackets=event.sentPackets,
            sentBytes=event.sentBytes,
            receivedPackets=event.receivedPackets,
            receivedBytes=event.receivedBytes,
            event="allocation-closed",
        )

    def _userOf(self, username: str) -> str:
        """
        @return: the peer id of a client that is here, or the name of a user.
        """
        handle = handleOf(username)
        presence = self._directory.presenceOf(handle)
        return handle if presence is None else str(presence.peer)
