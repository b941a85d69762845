"""
Which of a peer's candidates may be sent to.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.signaling.admission import admissibleCandidates, isUnusable


def candidates(*addresses: tuple[str, int]) -> list[dict[str, Any]]:
    """
    @return: candidates with nothing but an address.
    """
    return [{"address": host, "port": port} for host, port in addresses]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.255.0.9",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.251",
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "ff02::1",
        "fe80::1",
        "fe80::1%eth0",
        "localhost",
        "",
        "1.2.3",
    ],
)
def test_neverSentTo(host: str) -> None:
    """
    Loopback, multicast, broadcast, unspecified and link-local addresses are
    taken from nobody, not even if the rendezvous says that it saw them.
    """
    assert isUnusable(host)
    claimed = candidates((host, 5000))
    assert admissibleCandidates(claimed, []) == []
    if host and host[0].isdigit() and host.count(".") == 3:
        assert admissibleCandidates(claimed, [(host, 5000)]) == []


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "203.0.113.1"]
)
def test_claimable(host: str) -> None:
    """
    Private addresses may be claimed: two hosts may be behind one NAT.
    """
    claimed = candidates((host, 5000))
    assert admissibleCandidates(claimed, []) == claimed


def test_publicClaimsAreFew() -> None:
    """
    Four public addresses may be claimed; those that were observed do not
    count.
    """
    seen = [("203.0.113.1", number) for number in range(2000, 2004)]
    others = [("203.0.113.2", number) for number in range(2000, 2009)]
    found = admissibleCandidates(candidates(*others, *seen), seen)
    assert found == candidates(*others[:4], *seen)


def test_claimsAreFew() -> None:
    """
    Twenty addresses may be claimed in all.
    """
    claimed = candidates(*((f"10.0.0.{number}", 5000) for number in range(30)))
    assert admissibleCandidates(claimed, []) == claimed[:20]
    assert admissibleCandidates(claimed, [], taken=15) == claimed[:5]


def test_trickledPublicClaims() -> None:
    """
    What was taken before counts.
    """
    claimed = candidates(*(("203.0.113.2", number) for number in range(2000, 2005)))
    assert admissibleCandidates(claimed, [], takenPublic=3) == claimed[:1]


def test_portsOfServices() -> None:
    """
    Nobody can have packets sent to port 53 of anybody, unless the rendezvous
    saw him there.
    """
    claimed = candidates(("203.0.113.1", 53), ("10.0.0.1", 1023), ("10.0.0.1", 1024))
    assert admissibleCandidates(claimed, []) == claimed[2:]
    observed = [("203.0.113.1", 53)]
    assert admissibleCandidates(claimed, observed) == [claimed[0], claimed[2]]


def test_sameAddressInAnotherForm() -> None:
    """
    An observed address is known in every form of writing it.
    """
    claimed = candidates(("2001:DB8:0:0::7", 500), ("::ffff:203.0.113.1", 500))
    observed = [("2001:db8::7", 500), ("203.0.113.1", 500)]
    assert admissibleCandidates(claimed, observed) == claimed


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=10),
            lambda inner: st.dictionaries(
                st.sampled_from(["address", "port", "x"]), inner, max_size=3
            ),
        ),
        max_size=5,
    )
)
def test_anything(claimed: list[Any]) -> None:
    """
    Whatever a peer claims, nothing is raised, and nothing is made up.
    """
    for each in admissibleCandidates(claimed, []):
        assert each in claimed
        assert 1024 <= each["port"] < 65536
