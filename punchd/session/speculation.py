"""
Copies of session datagrams on pairs that have not answered a check yet: what
arrives spares a round trip, and what does not costs little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from punchd.ice.pair import CandidatePair, Key

#: Copies that may go to pairs that have not answered a check yet.
SPECULATION = 64
#: Direct and relayed pairs that get copies.
_DIRECT, _RELAYED = 3, 1


class Speculation:
    """
    I say which pairs get copies.
    """

    def __init__(self) -> None:
        self._plausible: list[CandidatePair] = []
        self._copies = 0
        self._samples: set[tuple[Key, bool]] = set()

    @property
    def begun(self) -> bool:
        """
        Whether there were copies.
        """
        return self._copies > 0

    def forget(self) -> None:
        """
        Begin anew, with other pairs.
        """
        self._plausible.clear()
        self._samples.clear()
        self._copies = 0

    def restart(self) -> None:
        """
        There may be as many copies again.
        """
        self._copies = 0

    def tried(self, pairs: Iterable[CandidatePair]) -> None:
        """
        Checks are on their way on these pairs, the most promising first.
        """
        for pair in pairs:
            if pair not in self._plausible:
                self._plausible.append(pair)

    def heard(self, pair: CandidatePair) -> bool:
        """
        The peer reached us on this pair: nothing is more plausible.

        @return: whether the pair is a new one.
        """
        isNew = pair not in self._plausible
        if not isNew:
            self._plausible.remove(pair)
        self._plausible.insert(0, pair)
        return isNew

    def routes(self, count: int) -> Sequence[CandidatePair]:
        """
        @return: the pairs on which copies of C{count} datagrams go.
        """
        if self._copies >= SPECULATION:
            return ()
        pairs = self._best()
        self._copies += count * len(pairs)
        return pairs

    def sample(self, pair: CandidatePair) -> bool:
        """
        A check is about to leave on this pair.

        @return: whether a full-size datagram is to go ahead of it: with the first
            check, and with the first one after the peer has reached us, for the one
            before may have come too early for its NAT.
        """
        once = (pair.key, pair.checksReceived > 0)
        if pair.valid or pair.kind != "direct" or once in self._samples:
            return False
        if self._copies >= SPECULATION or pair not in self._best():
            return False
        self._samples.add(once)
        self._copies += 1
        return True

    def _best(self) -> list[CandidatePair]:
        """
        A relayed pair, which has the longer way, and three direct ones: the relay's
        checks come through whatever the NATs are, and must not crowd out the
        others.
        """
        direct = [pair for pair in self._plausible if pair.kind == "direct"]
        relayed = [pair for pair in self._plausible if pair.kind != "direct"]
        return relayed[:_RELAYED] + direct[:_DIRECT]
