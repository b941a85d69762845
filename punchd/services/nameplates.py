"""
Where two clients that do not know each other yet exchange a few messages: the
rendezvous' part of pairing.

It learns nothing from them: they are those of SPAKE2 (RFC 9382), by which the two
prove to each other that they know the same short code, and what is sealed with the key
that comes out of it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from punchd.core import Entropy
from punchd.errors import PairingFailed
from punchd.signaling.commands import MAX_PAIRING
from punchd.stun.limit import PrefixLimit

#: Seconds for which a nameplate lasts.
TERM: Final = 600.0
#: Nameplates of one client, and in all.
MOST: Final = 4
MOST_TOTAL: Final = 10_000
#: Messages of one side of one nameplate.
MOST_MESSAGES: Final = 8
#: Nameplates that one network may try a second in the long run, and at once.
RATE: Final = 0.1
BURST: Final = 10.0

_NONE: Final = "There is no such invitation, or it has been used."


class _Side:
    """
    One of the two.

    @ivar messages: what it has not fetched yet.
    @ivar early: what it said when it was alone.
    @ivar waiting: fires with its next message.
    """

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.messages: deque[bytes] = deque()
        self.early: list[bytes] = []
        self.sent = 0
        self.waiting: Deferred[bytes] | None = None

    def put(self, message: bytes) -> None:
        """
        The other side says something.
        """
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            self.messages.append(message)
        else:
            waiting.callback(message)

    def fail(self, text: str) -> None:
        """
        The other side is gone.
        """
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.errback(PairingFailed(text))


class Nameplates:
    """
    I keep the nameplates.  An owner is whatever stands for a connection.
    """

    def __init__(self, clock: IReactorTime, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._plates: dict[int, tuple[list[_Side], IDelayedCall]] = {}
        self._limit = PrefixLimit(RATE, BURST)

    def __len__(self) -> int:
        return len(self._plates)

    def make(self, owner: object) -> int:
        """
        @return: a number that nobody has, as short as possible.

        @raise PairingFailed: there are too many.
        """
        mine = sum(sides[0].owner is owner for sides, _ in self._plates.values())
        if mine >= MOST or len(self._plates) >= MOST_TOTAL:
            raise PairingFailed("There are too many invitations; wait for some to end.")
        size = 10
        while size <= 2 * len(self._plates) + 10:
            size *= 10
        number = 1 + int.from_bytes(self._entropy(4), "big") % (size - 1)
        while number in self._plates:
            number = number % (size - 1) + 1
        expiry = self._clock.callLater(
            TERM, self._end, number, "The invitation is over."
        )
        self._plates[number] = [_Side(owner)], expiry
        return number

    def exchange(
        self, owner: object, host: str, number: int, message: bytes
    ) -> Deferred[bytes]:
        """
        Bring a message to the other side, and wait for its next one.

        @param host: where the owner is.
        """
        found = self._plates.get(number)
        mine = found and next((side for side in found[0] if side.owner is owner), None)
        if mine is None:
            if not self._limit.allows(host, self._clock.seconds()):
                return fail(PairingFailed("Too many codes were tried; wait a minute."))
            if found is None or len(found[0]) > 1:
                return fail(PairingFailed(_NONE))
            mine = _Side(owner)
            mine.messages.extend(found[0][0].early)
            found[0].append(mine)
        assert found is not None
        other = next((side for side in found[0] if side is not mine), None)
        if mine.waiting is not None or len(message) > MAX_PAIRING:
            return fail(PairingFailed("One thing after the other."))
        if message:
            mine.sent += 1
            if mine.sent > MOST_MESSAGES:
                self._end(number, "One side says too much.")
                return fail(PairingFailed("That was too much."))
            if other is None:
                # Kept until there is somebody to have it.
                mine.early.append(message)
            else:
                other.put(message)
        if mine.messages:
            return succeed(mine.messages.popleft())
        mine.waiting = Deferred()
        return mine.waiting

    def withdraw(self, owner: object, number: int) -> None:
        """
        One side does not need it any more.
        """
        found = self._plates.get(number)
        if found is not None and any(side.owner is owner for side in found[0]):
            self._end(number, "The other side has gone.")

    def gone(self, owner: object) -> None:
        """
        A connection was lost.
        """
        for number in list(self._plates):
            self.withdraw(owner, number)

    def stop(self) -> None:
        """
        End all of them.
        """
        for number in list(self._plates):
            self._end(number, "The rendezvous stops.")

    def _end(self, number: int, text: str) -> None:
        found = self._plates.pop(number, None)
        if found is None:
            return
        sides, expiry = found
        if expiry.active():
            expiry.cancel()
        for side in sides:
            side.fail(text)
