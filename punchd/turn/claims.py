"""
Reserved ports that another process has (RFC 8656, 7.2).

The kernel gives each 5-tuple to one of the processes that share a port, so who comes
with a RESERVATION-TOKEN may meet another one than gave it to him.  A token tells
which process that was.  It is asked for the port, and gives it up if it belongs to
the same user; the request is answered then, as if the port had been reserved here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from punchd.core import Address
from punchd.stun.attributes import Attribute
from punchd.stun.message import Message

from .authentication import Principal

#: Claims that were not answered yet, at most; and requests that wait for one.
CLAIMS: Final = 256
REQUESTS: Final = 4
#: Seconds after which an owner that has not answered may be asked again.
PATIENCE: Final = 2.0


class Reserved(NamedTuple):
    """
    What the owner of a token has given up.

    @ivar port: its number.
    @ivar seconds: for which it was still reserved.
    """

    family: int
    port: int
    seconds: float


class Claim(NamedTuple):
    """
    What the owner of a token is asked for.

    @ivar guard: the name of the guard of the user who has shown it.
    @ivar username: his.
    """

    token: bytes
    guard: str
    username: str


class Waiting(NamedTuple):
    """
    A request that cannot be answered yet.
    """

    request: Message
    who: Principal
    local: Address
    remote: Address

    @property
    def claim(self) -> Claim:
        """
        What it is about.
        """
        token = self.request.get(Attribute.RESERVATION_TOKEN)
        return Claim(token, self.who.guard.name, self.who.username)


class Claims:
    """
    I keep the requests whose answer another process has.
    """

    def __init__(
        self, number: int, processes: int, ask: Callable[[Claim], None]
    ) -> None:
        """
        @param number: of this process, from 0 on.
        @param processes: how many there are.
        @param ask: asks the owner of the token; L{take} is called then.
        """
        self._number = number
        self._processes = processes
        self._ask = ask
        # When each was asked for, and the requests by their 5-tuple.
        self._waiting: dict[
            Claim, tuple[float, dict[tuple[Address, Address], Waiting]]
        ] = {}
        self._settled: Claim | None = None

    def mark(self, token: bytes) -> bytes:
        """
        @param token: at random.

        @return: as much at random, and of this process.
        """
        rest = token[0] % (256 // self._processes)
        return bytes((rest * self._processes + self._number,)) + token[1:]

    def holds(self, waiting: Waiting, now: float) -> bool:
        """
        @param waiting: shows a token that is not known here.

        @return: whether it is left unanswered for now.
        """
        claim = waiting.claim
        if (
            claim == self._settled
            or ownerOf(claim.token, self._processes) == self._number
            or not waiting.who.guard.mayAllocate(claim.username, waiting.remote)
        ):
            return False
        since, requests = self._waiting.get(claim, (-PATIENCE, {}))
        if len(requests) < REQUESTS:
            requests[waiting.local, waiting.remote] = waiting
        if now - since >= PATIENCE:
            self._makeRoom(now)
            if len(self._waiting) < CLAIMS:
                self._waiting[claim] = now, requests
                self._ask(claim)
        return True

    def take(self, claim: Claim) -> list[Waiting]:
        """
        The owner has answered.

        @return: the requests that were waiting for that.  Until L{settle} no further
            one waits for it.
        """
        self._settled = claim
        _, requests = self._waiting.pop(claim, (0.0, {}))
        return list(requests.values())

    def forget(self, local: Address, remote: Address) -> None:
        """
        Nobody waits there any more.
        """
        for _, requests in self._waiting.values():
            requests.pop((local, remote), None)

    def settle(self) -> None:
        """
        What L{take} has given was answered.
        """
        self._settled = None

    def _makeRoom(self, now: float) -> None:
        if len(self._waiting) >= CLAIMS:
            for claim, (since, _) in list(self._waiting.items()):
                if now - since >= PATIENCE:
                    del self._waiting[claim]


def ownerOf(token: bytes, processes: int) -> int:
    """
    @return: the number of the process that has made the token, if any has.
    """
    return token[0] % processes
