"""
Relayed addresses of other processes that we have not heard of yet.

A process tells the others of a relayed address before it tells the client.  But what it
tells waits until they look, and passes one more process on its way; a client that is
quick to bind a channel to such an address may be here before.  It is answered when the
news is here, or when it is clear that there is none.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from punchd.core import Address
from punchd.stun.message import Message

#: Seconds that news may take.
PATIENCE: Final = 0.5
#: Requests that wait for some, at most.
REQUESTS: Final = 256


class Early(NamedTuple):
    """
    A request that came before the news.

    @ivar peer: that it is about.
    @ivar until: when it is to be answered in any case.
    """

    peer: Address
    request: Message
    local: Address
    remote: Address
    until: float


class Unheard:
    """
    I keep such requests.

    @ivar due: when the first of them has to be answered, in monotonic seconds; infinite
        when there are none.
    @ivar late: whether those that are answered now are.
    """

    def __init__(self) -> None:
        self.due = math.inf
        self.late = False
        # In order; a request that is sent again is one.
        self._waiting: dict[tuple[Address, Address, bytes], Early] = {}

    def holds(
        self,
        peer: Address,
        request: Message,
        local: Address,
        remote: Address,
        now: float,
    ) -> bool:
        """
        @param peer: a relayed address that nobody has, as far as is known.

        @return: whether the request is left unanswered for now.
        """
        key = local, remote, request.transactionId
        if self.late or len(self._waiting) >= REQUESTS:
            return False
        early = Early(peer, request, local, remote, now + PATIENCE)
        self._waiting.setdefault(key, early)
        self._count()
        return True

    def heard(self, peer: Address) -> list[Early]:
        """
        Somebody has this address.

        @return: the requests about it.
        """
        return self._take([k for k, e in self._waiting.items() if e.peer == peer])

    def overdue(self, now: float) -> list[Early]:
        """
        @return: the requests that have waited long enough.
        """
        return self._take([k for k, e in self._waiting.items() if e.until <= now])

    def forget(self, local: Address, remote: Address) -> None:
        """
        Nobody waits there any more.
        """
        self._take([key for key in self._waiting if key[:2] == (local, remote)])

    def _take(self, keys: list[tuple[Address, Address, bytes]]) -> list[Early]:
        taken = [self._waiting.pop(key) for key in keys]
        self._count()
        return taken

    def _count(self) -> None:
        first = next(iter(self._waiting.values()), None)
        self.due = math.inf if first is None else first.until
