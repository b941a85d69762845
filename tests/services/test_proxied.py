"""
A client to whom nothing is open but an HTTP proxy.
"""

from __future__ import annotations

import pytest

from punchd.net.proxy import Proxy
from punchd.testing.pair import Pair
from punchd.testing.proxy import HOST as PROXY
from punchd.testing.proxy import startProxy
from punchd.testing.scenario import Scenario
from tests.services.meeting import Client, Meeting
from tests.services.test_approach import refusalOf


def join(meeting: Meeting, proxy: Proxy) -> Client:
    """
    @return: a client behind nothing but the proxy.
    """
    return meeting.addClient(1, kind="proxyonly", proxy=proxy)


def test_registered(meeting: Meeting) -> None:
    """
    The two ports have their head starts, then the proxy leads to 443; that way is
    the first the next time.
    """
    alice = join(meeting, startProxy(meeting.network))
    meeting.network.runUntil(alice.link.whenRegistered())
    assert meeting.network.clock.seconds() == pytest.approx(0.6 + 0.35, abs=0.01)
    registration = alice.link.registration
    assert registration is not None
    assert registration.reached is not None
    assert (registration.reached.port, registration.reached.proxied) == (443, True)
    meeting.network.runUntil(meeting.rendezvous.stopService())
    meeting.network.advance(0.5)
    meeting.rendezvous.startService()
    meeting.network.runUntil(alice.link.whenRegistered(), 30.0)
    assert alice.link.registration is not None
    assert alice.link.registration.reached == registration.reached


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        (Proxy(PROXY, 3128), f"The proxy at {PROXY}:3128 asks for user name and"),
        (
            Proxy(PROXY, 3128, ("me", "sesame")),
            f"The proxy at {PROXY}:3128 does not accept the user name and password",
        ),
        (
            Proxy(PROXY, 3129),
            f"The proxy at {PROXY}:3129 cannot be reached: no answer.",
        ),
    ],
)
def test_failures(meeting: Meeting, proxy: Proxy, why: str) -> None:
    """
    What is wrong with the proxy is said behind what the ports say, and how to get
    past it is not.
    """
    startProxy(meeting.network, b"Basic b3BlbjpzZXNhbWU=")
    sentence = refusalOf(meeting, join(meeting, proxy))
    assert "TCP port 3478 and 443, cannot be reached: no answer." in sentence
    assert why in sentence
    assert "sesame" not in sentence


def test_session() -> None:
    """
    A session runs over the relay, through the proxy.
    """
    scenario = Scenario("proxyonly", "portrestricted", 1)
    pair = Pair(scenario)
    for client in (pair.a, pair.b):
        pair.network.runUntil(client.whenRegistered(), 10.0)
    pair.network.advance(2.0)
    began = pair.clock.seconds()
    stream, collector = pair.open()
    stream.write(bytes(1_000_000))
    pair.network.runUntil(collector.whenReceived(1_000_000), 30.0)
    assert pair.clock.seconds() - began < 5.0
    (session,) = pair.a.status()["sessions"]
    assert (session["path"]["kind"], session["path"]["transport"]) == ("relayed", "tls")
    way = pair.a.context.relay.way if pair.a.context.relay is not None else None
    assert way is not None
    assert way.proxied
    found = pair.a.status()["rendezvous"]
    assert (found["proxied"], found["proxy"]) == (True, f"{PROXY}:3128")
    pair.stop()
