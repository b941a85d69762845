"""
What becomes of the session's datagrams on one pair: how many arrive, how late
and how fast.

Each check carries our peer's count of what arrived (SESSION_REPORT).  What left
before a check has arrived or is lost when its answer leaves, for a path keeps the
order of what goes over it, by and large.  So the two counts of an answer, ours when
its check left and the peer's, say exactly what was lost between two answers.
"""

from __future__ import annotations

from dataclasses import dataclass

_MODULUS = 1 << 32
#: Answers that are not farther apart, in seconds, are not compared.
_SHORTEST = 0.1
#: A rate is not measured over less.
_STEADY = 0.5
#: As many datagrams make what was known before forgotten.
_MEMORY = 64.0
#: After so many seconds without news half of it is.
_HALF = 10.0
#: A loss is not told of fewer datagrams.
_LEAST = 12.0
#: So many datagrams in a row do not get lost by chance.
_NEVER = 3
#: Seconds until what was sent first after the last news should have arrived, at
#: the least.
_PATIENCE = 0.4
#: Of so many datagrams one can tell how fast they passed, if hardly any is lost.
_TRAIN = 4
_WHOLE = 0.9


@dataclass(slots=True)
class Mark:
    """
    What had left when a check did.
    """

    delivery: Delivery
    time: float
    count: int = 0
    size: int = 0

    def set(self) -> None:
        """
        Now it leaves.
        """
        self.count, self.size = self.delivery.count, self.delivery.size


class Delivery:
    """
    I keep the books of one pair.

    @ivar count: datagrams of the session that have left, C{size} their bytes.
    @ivar least: the shortest round trip of a check, in seconds, L{None} without.
    @ivar delay: the round trip lately.
    @ivar goodput: bytes a second that arrived between two answers, and C{measured}
        when it was found, L{None} so far.
    @ivar carried: the same over a shorter time, and C{carriedAt} likewise.
    @ivar limit: bytes a second that the path carried when more was waiting, the
        last time that was so, or L{None}.
    @ivar undelivered: whether nothing arrives at the peer any more.
    """

    __slots__ = (
        "_at",
        "_last",
        "_lost",
        "_peer",
        "_since",
        "_weight",
        "carried",
        "carriedAt",
        "count",
        "delay",
        "goodput",
        "least",
        "limit",
        "measured",
        "size",
        "undelivered",
    )

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self.least: float | None = None
        self.delay: float | None = None
        self.goodput = 0.0
        self.measured: float | None = None
        self.carried = 0.0
        self.carriedAt: float | None = None
        self.limit: float | None = None
        self.undelivered = False
        self._last: Mark | None = None
        self._peer = 0
        self._at = 0.0
        self._lost = 0.0
        self._weight = 0.0
        # The count and the time of what left first since the last news.
        self._since: tuple[int, float] | None = None

    def restart(self) -> None:
        """
        The path works anew: what was lost before says nothing of it.
        """
        self.delay = self.limit = self.carriedAt = self._last = self._since = None
        self.undelivered = False
        self._lost = self._weight = 0.0

    def left(self, count: int, size: int, now: float) -> None:
        """
        C{count} datagrams of C{size} bytes in all have left.
        """
        if self._since is None:
            self._since = (self.count, now)
        self.count += count
        self.size += size

    def mark(self, now: float) -> Mark:
        """
        A check is about to leave.
        """
        made = Mark(self, now)
        made.set()
        return made

    def loss(self, now: float) -> float | None:
        """
        @return: the part of the last datagrams that was lost, L{None} when too
            few are known of.
        """
        if self.known(now) < _LEAST:
            return None
        return self._lost / self._weight

    def known(self, now: float) -> float:
        """
        @return: of how many datagrams that is known, those of long ago counted less.
        """
        return self._weight * self._fade(now)

    def answered(self, mark: Mark, peer: int, now: float) -> None:
        """
        The answer to a check has come.

        @param mark: what had left before the check.
        @param peer: how many datagrams the peer says it has received.
        """
        seconds = max(0.0, now - mark.time)
        self.least = seconds if self.least is None else min(self.least, seconds)
        self.delay = seconds if self.delay is None else (self.delay + seconds) / 2
        last = self._last
        if last is None:
            self._last, self._peer = mark, peer
            return
        if mark.time - last.time < _SHORTEST or mark.count < last.count:
            return
        arrived = (peer - self._peer) % _MODULUS
        sent, size = mark.count - last.count, mark.size - last.size
        self._last, self._peer = mark, peer
        if arrived >= _MODULUS // 2 or not sent:
            # Nothing to learn, or the peer has begun to count anew.
            return
        self._learn(sent, max(0, sent - arrived), now)
        if arrived:
            self.undelivered = False
        elif sent >= _NEVER:
            self.undelivered = True
        part = min(1.0, arrived / sent)
        self.carried = size * part / (mark.time - last.time)
        self.carriedAt = now
        if mark.time - last.time >= _STEADY:
            self.goodput = self.carried
            self.measured = now
        if sent >= _TRAIN and part >= _WHOLE and self.limit is not None:
            passed = size / max(seconds - self.least, 0.001)
            if passed > 2 * self.limit:
                self.limit = None

    def reported(self, news: bool, now: float) -> None:
        """
        A check or an answer of the peer has come.

        @param news: whether it says that something has arrived since the last.
        """
        since = self._since
        if news:
            self._since, self.undelivered = None, False
        elif since is not None:
            patience = max(_PATIENCE, 3 * (self.delay or 0.0))
            if now - since[1] >= patience and self.count - since[0] >= _NEVER:
                self.undelivered = True

    def _learn(self, sent: int, lost: int, now: float) -> None:
        fade = self._fade(now) * max(0.0, 1.0 - sent / _MEMORY)
        self._weight = self._weight * fade + sent
        self._lost = self._lost * fade + lost
        self._at = now

    def _fade(self, now: float) -> float:
        return float(0.5 ** max(0.0, (now - self._at) / _HALF))
