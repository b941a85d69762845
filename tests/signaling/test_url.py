"""
The URL of a rendezvous.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punchd.errors import InvalidURL
from punchd.signaling.url import RendezvousURL

FINGERPRINT = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst"


@pytest.mark.parametrize(
    ("text", "host", "ports", "fingerprint"),
    [
        ("punch://203.0.113.10:3478,443", "203.0.113.10", (3478, 443), None),
        ("punch://203.0.113.10", "203.0.113.10", (3478, 443), None),
        ("punch://Meet.Example.org:99/", "meet.example.org", (99,), None),
        ("punch://[2001:DB8:0::1]:1", "2001:db8::1", (1,), None),
        ("punch://[2001:db8::1]", "2001:db8::1", (3478, 443), None),
        (f"punch://h:5#{FINGERPRINT.upper()}", "h", (5,), FINGERPRINT),
        ("punch://h:5,5,6", "h", (5, 6), None),
    ],
)
def test_parsed(
    text: str, host: str, ports: tuple[int, ...], fingerprint: str | None
) -> None:
    """
    Host, ports in their order, and the pin; without ports the usual ones.
    """
    url = RendezvousURL.parse(text)
    assert (url.host, url.ports, url.fingerprint) == (host, ports, fingerprint)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("http://h", "does not begin with punch://"),
        ("203.0.113.10:3478", "does not begin with punch://"),
        ("punch://", "'' is not a host"),
        ("punch://256.1.1.1", "'256.1.1.1' is not a host"),
        ("punch://a b", "'a b' is not a host"),
        ("punch://-a", "'-a' is not a host"),
        ("punch://h:", "'' is not a port"),
        ("punch://h:0", "'0' is not a port"),
        ("punch://h:65536", "'65536' is not a port"),
        ("punch://h:1,", "'' is not a port"),
        ("punch://h:1,2,3,4,5,6,7,8,9", "more than 8 ports"),
        ("punch://2001:db8::1", "needs brackets"),
        ("punch://[2001:db8::1", "brackets"),
        ("punch://[2001:db8::1]443", "brackets"),
        ("punch://[203.0.113.1]", "not an IPv6 address"),
        ("punch://h#short", "not a fingerprint"),
        (f"punch://h#{FINGERPRINT[:-1]}1", "not a fingerprint"),
    ],
)
def test_refused(text: str, complaint: str) -> None:
    """
    One sentence that names the URL, what is wrong with it, and the right form.
    """
    with pytest.raises(InvalidURL) as caught:
        RendezvousURL.parse(text)
    sentence = str(caught.value)
    assert repr(text) in sentence
    assert complaint in sentence
    assert "expected punch://HOST" in sentence


@given(
    st.sampled_from(["a.example", "203.0.113.9", "2001:db8::7"]),
    st.lists(st.integers(1, 65535), min_size=1, max_size=8, unique=True),
    st.sampled_from([None, FINGERPRINT]),
)
def test_printedAndParsed(host: str, ports: list[int], pin: str | None) -> None:
    """
    What is printed can be parsed again.
    """
    url = RendezvousURL(host, tuple(ports), pin)
    assert RendezvousURL.parse(str(url)) == url


@given(st.text(max_size=80))
def test_anyText(text: str) -> None:
    """
    Nothing but the one declared error is ever raised, and what was taken can
    be printed and parsed.
    """
    try:
        url = RendezvousURL.parse("punch://" + text)
    except InvalidURL:
        return
    assert RendezvousURL.parse(str(url)) == url
