"""
How much a stream may have under way, in bytes.

QUIC grants flow control credit as bytes arrive, not as they are used, so the
data for a slow reader would pile up at the receiver.  Therefore the receiver
tells how many bytes its user has taken, and the sender keeps what it sent and
what was taken within a window.  The window follows twice the product of the
round-trip time and the rate at which the user takes, so that neither a long
path nor a fast one waits for credit.
"""

from __future__ import annotations

#: The window of a new stream.
INITIAL_WINDOW = 1 << 20

#: The largest window of a stream; a receiver tolerates no sender that has more
#: under way.
MAX_WINDOW = 16 << 20

#: The receiver tells what was taken in steps of this size: a quarter of the
#: smallest window, for it does not know how large the sender's is.
STEP = INITIAL_WINDOW // 4

#: By how much all windows of one session together may outgrow their beginnings.
GROWTH = 48 << 20

#: A rate is not measured over less than this many seconds.
_SHORTEST = 0.005


class Growth:
    """
    What the windows of all streams of a session may still grow.
    """

    def __init__(self, left: int = GROWTH) -> None:
        self.left = left


class SendCredit:
    """
    The sender's half for one stream.

    @ivar window: how much may be under way.
    @ivar sent: bytes handed to QUIC since the stream began.
    @ivar taken: bytes the peer's user took, as far as the peer told.
    """

    __slots__ = ("_growth", "_since", "_sinceTaken", "sent", "taken", "window")

    def __init__(self, growth: Growth) -> None:
        self.window = INITIAL_WINDOW
        self.sent = 0
        self.taken = 0
        self._growth = growth
        self._since: float | None = None
        self._sinceTaken = 0

    @property
    def available(self) -> int:
        """
        How many bytes may be sent now.
        """
        return self.window - (self.sent - self.taken)

    def granted(self, taken: int, rtt: float | None, now: float) -> bool:
        """
        The peer tells that C{taken} bytes were taken.

        @param rtt: the smallest round-trip time lately, in seconds, if known.

        @return: whether that can be true; what was never sent cannot have been
            taken.
        """
        if taken > self.sent:
            return False
        if taken <= self.taken:
            return True
        self.taken = taken
        if self._since is None:
            self._since, self._sinceTaken = now, taken
        elif rtt is not None and now - self._since >= max(rtt, _SHORTEST):
            rate = (taken - self._sinceTaken) / (now - self._since)
            self._grow(int(2 * rate * rtt))
            self._since, self._sinceTaken = now, taken
        return True

    def released(self) -> None:
        """
        The stream is over: others may have what this one grew by.
        """
        self._growth.left += self.window - INITIAL_WINDOW
        self.window = INITIAL_WINDOW

    def _grow(self, wanted: int) -> None:
        more = min(wanted, MAX_WINDOW) - self.window
        if more > 0:
            more = min(more, self._growth.left)
            self._growth.left -= more
            self.window += more


class ReceiveCredit:
    """
    The receiver's half for one stream.

    @ivar received: bytes that arrived since the stream began.
    @ivar taken: bytes that the user took.
    """

    __slots__ = ("_told", "received", "taken")

    def __init__(self) -> None:
        self.received = 0
        self.taken = 0
        self._told = 0

    def came(self, count: int) -> bool:
        """
        C{count} more bytes arrived.

        @return: whether a sender within its rights can have sent them.
        """
        self.received += count
        return self.received - self.taken <= MAX_WINDOW

    def took(self, count: int) -> int | None:
        """
        The user took C{count} bytes.

        @return: what to tell the sender, if it is time to.
        """
        self.taken += count
        if self.taken - self._told < STEP:
            return None
        self._told = self.taken
        return self.taken
