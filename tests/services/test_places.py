"""
Where a rendezvous listens, and how its clients know it.
"""

from __future__ import annotations

import pytest

from punchd.errors import InvalidOption
from punchd.services.places import (
    DEFAULT_PLACES,
    Place,
    parsePlace,
    parsePublic,
    publicHosts,
)
from punchd.services.rendezvous import Settings

WILDCARD = [Place("0.0.0.0", 3478), Place("::", 3478)]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("0.0.0.0:3478", Place("0.0.0.0", 3478)),
        ("[::]:443/tcp", Place("::", 443, udp=False)),
        ("[2001:DB8::1]:0", Place("2001:db8::1", 0)),
        ("127.0.0.1:99/udp", Place("127.0.0.1", 99, tcp=False)),
    ],
)
def test_listen(value: str, place: Place) -> None:
    """
    Address, port and transports.
    """
    assert parsePlace(value) == place


@pytest.mark.parametrize(
    "value",
    ["", "3478", "0.0.0.0", "::1:99", "host:99", "1.2.3.4:65536", "1.2.3.4:9/sctp"],
)
def test_listenRefused(value: str) -> None:
    """
    One sentence names the option, the value and what was expected.
    """
    with pytest.raises(InvalidOption) as caught:
        parsePlace(value)
    assert str(caught.value).startswith(f"--listen={value}: ")


@pytest.mark.parametrize(
    ("value", "public"),
    [
        ("203.0.113.1", ("203.0.113.1", None)),
        ("203.0.113.1=10.0.0.1", ("203.0.113.1", "10.0.0.1")),
        ("[2001:db8::1]=fd00::1", ("2001:db8::1", "fd00::1")),
    ],
)
def test_public(value: str, public: tuple[str, str | None]) -> None:
    """
    The outside address, and maybe the one behind it.
    """
    assert parsePublic(value) == public


@pytest.mark.parametrize(
    "value",
    [
        "",
        "name",
        "203.0.113.1=",
        "203.0.113.1=2001:db8::1",
        "0.0.0.0",
        "::",
        "1.2.3.4:9",
    ],
)
def test_publicRefused(value: str) -> None:
    """
    The same for this option.
    """
    with pytest.raises(InvalidOption) as caught:
        parsePublic(value)
    assert str(caught.value).startswith(f"--public={value}: ")


@pytest.mark.parametrize(
    ("places", "publics", "local", "expected"),
    [
        # A wildcard is known by what is public, in the machine's order.
        (
            WILDCARD,
            [],
            ["10.0.0.1", "203.0.113.2", "203.0.113.1", "2001:db8::1", "fd00::1"],
            {h: h for h in ("203.0.113.2", "203.0.113.1", "2001:db8::1")},
        ),
        (
            WILDCARD[:1],
            [],
            ["203.0.113.2", "2001:db8::1"],
            {"203.0.113.2": "203.0.113.2"},
        ),
        # Behind a 1:1 NAT, the private address is found.
        (WILDCARD, [("203.0.113.1", None)], ["10.0.0.5"], {"10.0.0.5": "203.0.113.1"}),
        (
            WILDCARD,
            [("203.0.113.1", None), ("203.0.113.2", None)],
            ["10.0.0.5", "10.0.0.6", "2001:db8::1"],
            {
                "10.0.0.5": "203.0.113.1",
                "10.0.0.6": "203.0.113.2",
                "2001:db8::1": "2001:db8::1",
            },
        ),
        (
            WILDCARD,
            [("203.0.113.1", "10.0.0.6")],
            ["10.0.0.5", "10.0.0.6"],
            {"10.0.0.6": "203.0.113.1"},
        ),
        # An address of this machine is nothing to be mapped, but comes first.
        (
            WILDCARD,
            [("203.0.113.2", None)],
            ["203.0.113.1", "203.0.113.2"],
            {"203.0.113.2": "203.0.113.2", "203.0.113.1": "203.0.113.1"},
        ),
        # What is listened on by name is what clients are told, loopback too.
        ([Place("127.0.0.1", 9)], [], ["203.0.113.1"], {"127.0.0.1": "127.0.0.1"}),
        (
            [Place("10.0.0.5", 9)],
            [("203.0.113.1", None)],
            ["10.0.0.5"],
            {"10.0.0.5": "203.0.113.1"},
        ),
    ],
)
def test_publicHosts(
    places: list[Place],
    publics: list[tuple[str, str | None]],
    local: list[str],
    expected: dict[str, str],
) -> None:
    """
    Public addresses by local ones, the best first.
    """
    assert list(publicHosts(places, publics, local).items()) == list(expected.items())


@pytest.mark.parametrize(
    ("publics", "local", "complaint"),
    [
        ([], ["10.0.0.1", "fd00::1"], "No address of this machine is public"),
        ([], [], "with --public=ADDR, or listen on one address"),
        ([("203.0.113.1", "10.9.9.9")], ["10.0.0.1"], "nothing listens on 10.9.9.9"),
        ([("2001:db8::1", None)], ["10.0.0.1"], "no address of this machine"),
    ],
)
def test_noPublicHosts(
    publics: list[tuple[str, str | None]], local: list[str], complaint: str
) -> None:
    """
    One sentence says what is missing, and which option mends it.
    """
    with pytest.raises(InvalidOption, match=complaint):
        publicHosts(WILDCARD, publics, local)


def test_bothTransports() -> None:
    """
    Signaling needs TCP, and observation UDP.
    """
    for place in (Place("0.0.0.0", 1, udp=False), Place("0.0.0.0", 1, tcp=False)):
        with pytest.raises(InvalidOption, match="nothing listens on (UDP|TCP)"):
            Settings(places=[place]).check(["203.0.113.1"])
    assert Settings(places=DEFAULT_PLACES).check(["203.0.113.1"])
