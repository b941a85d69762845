"""
Candidates, credentials, pairs and reports as values.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.ice.candidate import (
    Candidate,
    CandidateType,
    candidatePriority,
    checkPriority,
    foundation,
    hostCandidate,
    isPairable,
    localPreference,
    reflexiveCandidate,
    relayedCandidate,
)
from punchd.ice.credentials import Credentials, makeCredentials
from punchd.ice.pair import CandidatePair, pairPriority
from punchd.ice.report import Report

HOST = hostCandidate(("192.0.2.1", 5000))
SRFLX = reflexiveCandidate(("203.0.113.1", 6000), ("192.0.2.1", 5000), server="s")
RELAY = relayedCandidate(("203.0.113.9", 7000), server="s", mapped=("203.0.113.1", 1))


def test_priorities() -> None:
    """
    RFC 8445, 5.1.2.1: an only host candidate, and the order of types.
    """
    assert candidatePriority(CandidateType.HOST, 65535) == 2130706431
    assert HOST.priority > checkPriority(SRFLX) > SRFLX.priority > RELAY.priority
    assert localPreference(6) > localPreference(4) > localPreference(6, 1)
    assert localPreference(4, 100_000) == 0


def test_checkPriority() -> None:
    """
    Checks announce a peer-reflexive candidate, but relays stay relays.
    """
    assert checkPriority(HOST) >> 24 == 110
    assert checkPriority(HOST) & 0xFFFFFF == HOST.priority & 0xFFFFFF
    assert checkPriority(RELAY) >> 24 == 0


def test_foundations() -> None:
    """
    Equal for one type, base and server, different when one differs.
    """
    kind = CandidateType.SRFLX
    assert foundation(kind, "192.0.2.1", "s") == SRFLX.foundation
    others = {
        foundation(kind, "192.0.2.2", "s"),
        foundation(kind, "192.0.2.1", "t"),
        foundation(CandidateType.RELAY, "192.0.2.1", "s"),
        HOST.foundation,
    }
    assert len(others | {SRFLX.foundation}) == 5


@pytest.mark.parametrize("candidate", [HOST, SRFLX, RELAY])
def test_roundTrip(candidate: Candidate) -> None:
    """
    Signaling carries all but the base.
    """
    copy = Candidate.fromDict(candidate.toDict())
    assert copy.toDict() == candidate.toDict()
    assert copy.base == copy.address == candidate.address
    assert copy.type is candidate.type


def test_unknownKeysAreIgnored() -> None:
    """
    A newer peer may say more.
    """
    data = {**HOST.toDict(), "colour": "green"}
    assert Candidate.fromDict(data).address == HOST.address


def test_addressesAreCanonical() -> None:
    """
    One address has one spelling.
    """
    data = {**HOST.toDict(), "address": "2001:DB8:0:0::1"}
    assert Candidate.fromDict(data).address == ("2001:db8::1", 5000)


@pytest.mark.parametrize(
    "change",
    [
        {"address": "example.org"},
        {"address": "fe80::1%eth0"},
        {"address": 3232235777},
        {"address": "1" * 1000},
        {"port": 0},
        {"port": 65536},
        {"port": True},
        {"port": "5000"},
        {"type": "peer"},
        {"type": ["host"]},
        {"priority": -1},
        {"priority": 1 << 31},
        {"priority": 1.5},
        {"foundation": ""},
        {"foundation": "a b"},
        {"foundation": "x" * 33},
        {"transport": "sctp"},
        {"transport": []},
        {"component": 0},
        {"component": 257},
        {"related": "192.0.2.1"},
        {"related": ["192.0.2.1"]},
        {"related": ["nowhere", 1]},
        {"source": "Host"},
        {"source": "x" * 17},
    ],
)
def test_oddCandidates(change: dict[str, Any]) -> None:
    """
    Anything odd is a ValueError.
    """
    with pytest.raises(ValueError):
        Candidate.fromDict({**HOST.toDict(), **change})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_fromDictRaisesNothingElse(data: Any) -> None:
    """
    Whatever JSON can carry is refused by ValueError.
    """
    with pytest.raises(ValueError):
        Candidate.fromDict(data)


@given(
    st.fixed_dictionaries(
        {
            key: st.just(value) | st.text() | st.integers() | st.lists(st.text())
            for key, value in RELAY.toDict().items()
        }
    )
)
def test_fromDictOfNearlyGood(data: dict[str, Any]) -> None:
    """
    What is nearly a candidate is one, or a ValueError.
    """
    try:
        candidate = Candidate.fromDict(data)
    except ValueError:
        return
    assert Candidate.fromDict(candidate.toDict()) == candidate


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("192.168.1.2", True),
        ("169.254.3.4", True),
        ("2001:db8::1", True),
        ("fd00::1", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("0.1.2.3", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("nowhere", False),
    ],
)
def test_pairable(host: str, good: bool) -> None:
    """
    Which addresses may be checked.
    """
    assert isPairable((host, 5000)) is good
    assert not isPairable((host, 0))


def test_credentials() -> None:
    """
    Made from entropy, of ice-chars, and the password is not shown.
    """
    made = makeCredentials(lambda count: bytes(range(count)))
    assert (made.ufrag, len(made.password)) == ("abcdefgh", 24)
    assert made.password not in repr(made)
    assert makeCredentials(lambda count: b"\xff" * count).ufrag == "/" * 8


@pytest.mark.parametrize(
    ("ufrag", "password"),
    [
        ("abc", "x" * 22),
        ("abcd", "x" * 21),
        ("ab:d", "x" * 22),
        ("abcd", "x" * 257),
        ("ab\u00e9d", "x" * 22),
    ],
)
def test_oddCredentials(ufrag: str, password: str) -> None:
    """
    RFC 8445, 5.3 and RFC 8839, 5.4 set the limits.
    """
    with pytest.raises(ValueError):
        Credentials(ufrag, password)


def test_pairPriority() -> None:
    """
    RFC 8445, 6.1.2.3: the same for both agents.
    """
    assert pairPriority(2, 1) == (1 << 32) + 4 + 1
    assert pairPriority(1, 2) == (1 << 32) + 4
    ours = CandidatePair(HOST, SRFLX).priority(True)
    assert ours == CandidatePair(SRFLX, HOST).priority(False)


def test_strategies() -> None:
    """
    The one word for a path.
    """

    def strategy(local: Candidate, remote: Candidate, **more: Any) -> str:
        return CandidatePair(local, remote, **more).strategy

    six = hostCandidate(("2001:db8::1", 5000))
    mapped = reflexiveCandidate(("203.0.113.1", 6000), HOST.base, source="mapped")
    other = hostCandidate(("192.0.2.7", 5000))
    assert strategy(HOST, other, mapped=HOST.base) == "host"
    assert strategy(HOST, other, mapped=("203.0.113.5", 1)) == "srflx"
    assert strategy(HOST, SRFLX) == "srflx"
    assert strategy(HOST, mapped) == strategy(mapped, other) == "mapped"
    assert strategy(HOST, RELAY) == strategy(RELAY, mapped) == "relay"
    assert strategy(six, six) == "ipv6"
    assert CandidatePair(RELAY, HOST).kind == "relayed"
    assert CandidatePair(HOST, SRFLX).kind == "direct"


def test_reports() -> None:
    """
    Reports count modulo 2**32, cap sizes, and know which of two is newer.
    """
    report = Report(count=(1 << 32) - 1)
    report.note(70_000)
    report.note(5)
    assert report.value == (1, 65535)
    assert Report((1 << 32) - 1, 9).newer((0, 9))
    assert not Report(0, 9).newer(((1 << 32) - 1, 9))
    assert Report(5, 9).newer((5, 10))
    assert not Report(5, 9).newer((5, 9))
    assert not Report(5, 9).newer((4, 1200))


def test_smoothing() -> None:
    """
    The first round trip counts whole, the others for a quarter.
    """
    pair = CandidatePair(HOST, SRFLX)
    pair.measured(0.1)
    assert pair.rtt == 0.1
    pair.measured(0.2)
    assert pair.rtt == pytest.approx(0.125)
    pair.measured(-1.0)
    assert pair.rtt == pytest.approx(0.09375)
