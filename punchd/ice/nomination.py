"""
Who is controlling, and which pair it chose (RFC 8445, 5.2, 6.1.1, 7.3.1.1, 8).
"""

from __future__ import annotations

from enum import Enum

from punchd.core import Entropy
from punchd.stun.attributes import Attribute
from punchd.stun.message import Message

from .pair import CandidatePair

_TIE_BREAKER = 8


class Verdict(Enum):
    """
    What a request's role attribute means to us.
    """

    FINE = "fine"
    #: We have changed roles; the request is answered.
    SWITCHED = "switched"
    #: The peer is to change roles; the request is answered with 487.
    REFUSED = "refused"


class Roles:
    """
    Our role, and the number that decides who keeps the one both claim.

    @ivar controlling: whether we are.
    @ivar tieBreaker: 64 random bits.
    """

    def __init__(self, controlling: bool, tieBreaker: int, entropy: Entropy) -> None:
        self.controlling = controlling
        self.tieBreaker = tieBreaker & (1 << 64) - 1
        self._entropy = entropy

    @property
    def attribute(self) -> tuple[int, int]:
        """
        What our checks say about our role (RFC 8445, 7.1.3).
        """
        if self.controlling:
            return (Attribute.ICE_CONTROLLING, self.tieBreaker)
        return (Attribute.ICE_CONTROLLED, self.tieBreaker)

    def judge(self, request: Message) -> Verdict:
        """
        Compare the role in a request with ours (RFC 8445, 7.3.1.1).
        """
        claim = (
            Attribute.ICE_CONTROLLING if self.controlling else Attribute.ICE_CONTROLLED
        )
        theirs = request.get(claim)
        if theirs is None:
            return Verdict.FINE
        # The larger number ends up controlling; ours wins a draw.
        if (self.tieBreaker >= theirs) is self.controlling:
            return Verdict.REFUSED
        self.controlling = not self.controlling
        return Verdict.SWITCHED

    def refused(self, controlling: bool) -> bool:
        """
        A check that claimed C{controlling} was answered with 487 (RFC 8445,
        7.2.5.1).

        @return: whether that changed our role; not, when we had changed it
            while the check was on its way.
        """
        if controlling is not self.controlling:
            return False
        self.controlling = not controlling
        self.tieBreaker = int.from_bytes(self._entropy(_TIE_BREAKER), "big")
        return True


class Nomination:
    """
    Regular nomination, which may be repeated for a better pair: the last word
    of the controlling agent counts.

    @ivar chosen: what we, controlling, are telling the peer to use.
    """

    def __init__(self) -> None:
        self.chosen: CandidatePair | None = None
        self._nominated: CandidatePair | None = None
        self._expected: CandidatePair | None = None

    @property
    def nominated(self) -> CandidatePair | None:
        """
        The pair both agents agree on, as long as it is valid.
        """
        return self._nominated

    def agreed(self, pair: CandidatePair) -> bool:
        """
        Both agents know of C{pair}.

        @return: whether that is new.
        """
        self._expect(None)
        if self._nominated is pair:
            return False
        self.withdraw(self._nominated)
        self._nominated = pair
        pair.nominated = True
        return True

    def asked(self, pair: CandidatePair) -> bool:
        """
        The controlling peer has sent USE-CANDIDATE on C{pair}, to us
        (RFC 8445, 7.3.1.5).

        @return: whether that makes a new nominated pair; not yet, when our
            own check of it has not succeeded.
        """
        if pair.valid:
            return self.agreed(pair)
        self._expect(pair)
        return False

    def succeeded(self, pair: CandidatePair) -> bool:
        """
        C{pair} has become valid.

        @return: whether that makes a new nominated pair.
        """
        return pair.nominateOnSuccess and self.agreed(pair)

    def withdraw(self, pair: CandidatePair | None) -> None:
        """
        C{pair} is not the nominated one any longer.
        """
        if pair is not None and pair is self._nominated:
            pair.nominated = False
            self._nominated = None

    def forget(self, pair: CandidatePair) -> None:
        """
        C{pair} was removed.
        """
        self.withdraw(pair)
        if self.chosen is pair:
            self.chosen = None
        if self._expected is pair:
            self._expect(None)

    def _expect(self, pair: CandidatePair | None) -> None:
        if self._expected is not None:
            self._expected.nominateOnSuccess = False
        if pair is not None:
            pair.nominateOnSuccess = True
        self._expected = pair
