"""
Tests for L{punchd.net.gathering}.
"""

from __future__ import annotations

from punchd.core import Address
from punchd.ice.candidate import Candidate, CandidateType
from punchd.net.gathering import MAX_HOSTS, Gathering

MAPPED = ("198.51.100.10", 40000)
RELAYED = ("203.0.113.10", 50000)


class FakeSocket:
    """
    A punching socket that has addresses.
    """

    def __init__(self, *bases: Address) -> None:
        self.found = list(bases)

    def bases(self) -> list[Address]:
        return self.found


class Subscriber:
    """
    Writes down what it is told.
    """

    def __init__(self, gathering: Gathering) -> None:
        self.learned: list[Candidate] = []
        self.lost: list[Candidate] = []
        self.callbacks = (self.learned.append, self.lost.append)
        gathering.subscribe(*self.callbacks)


def make(*bases: Address) -> Gathering:
    """
    Gathering from these addresses.
    """
    return Gathering(FakeSocket(*bases))  # type: ignore[arg-type]


def kinds(gathering: Gathering) -> list[CandidateType]:
    """
    @return: the types of the candidates, in order.
    """
    return [candidate.type for candidate in gathering.candidates()]


def test_order() -> None:
    """
    Host candidates come first, then the mapped address, then the relay.
    """
    gathering = make(("192.168.1.2", 4000), ("2001:db8::2", 4000))
    gathering.relayChanged(RELAYED)
    gathering.mappedLearned(MAPPED)
    host, srflx = CandidateType.HOST, CandidateType.SRFLX
    assert kinds(gathering) == [host, host, srflx, CandidateType.RELAY]
    priorities = [each.priority for each in gathering.candidates()]
    assert priorities == sorted(priorities, reverse=True)


def test_noNat() -> None:
    """
    A mapped address that is our own is no candidate of its own.
    """
    gathering = make(MAPPED)
    subscriber = Subscriber(gathering)
    gathering.mappedLearned(MAPPED)
    assert kinds(gathering) == [CandidateType.HOST]
    assert subscriber.learned == []


def test_otherFamily() -> None:
    """
    A mapped address needs a base of its family.
    """
    gathering = make(("2001:db8::2", 4000))
    gathering.mappedLearned(MAPPED)
    assert kinds(gathering) == [CandidateType.HOST]


def test_limits() -> None:
    """
    Neither addresses that nobody can pair nor dozens of them are offered.
    """
    bases = [(f"192.168.{n}.2", 4000) for n in range(20)]
    gathering = make(("127.0.0.1", 4000), ("::1", 4000), *bases)
    hosts = gathering.hosts()
    assert hosts == bases[:MAX_HOSTS]


def test_news() -> None:
    """
    Who subscribes is told of each address once, of a relayed one that is lost
    too, and of nothing any more after unsubscribing.
    """
    gathering = make(("192.168.1.2", 4000))
    subscriber = Subscriber(gathering)
    for _ in range(2):
        gathering.mappedLearned(MAPPED)
        gathering.relayChanged(RELAYED)
    assert [each.address for each in subscriber.learned] == [MAPPED, RELAYED]
    assert subscriber.lost == []
    other = ("203.0.113.10", 50001)
    gathering.relayChanged(other)
    gathering.relayChanged(None)
    gathering.relayChanged(None)
    assert [each.address for each in subscriber.lost] == [RELAYED, other]
    assert subscriber.learned[-1].address == other
    gathering.unsubscribe(*subscriber.callbacks)
    gathering.mappedLearned(("198.51.100.10", 40001))
    gathering.relayChanged(RELAYED)
    assert len(subscriber.learned) == 3


def test_theMappingChanges() -> None:
    """
    Another mapped address takes the place of the last.
    """
    gathering = make(("192.168.1.2", 4000))
    gathering.mappedLearned(MAPPED)
    later = ("198.51.100.10", 41000)
    gathering.mappedLearned(later)
    assert [each.address for each in gathering.candidates()][1:] == [later]
