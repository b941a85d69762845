"""
Tests for L{punchd.session.report}.
"""

from __future__ import annotations

import json

from punchd.session.report import describe, textOf, why
from punchd.testing.pair import Pair
from punchd.testing.scenario import Scenario

#: What other programs read.
FIELDS = {
    "peer",
    "state",
    "path",
    "secondsToFirstByte",
    "secondsToDirect",
    "probesSent",
    "bindingsUsed",
    "keepaliveInterval",
    "bytesSent",
    "bytesReceived",
    "pathChanges",
    "pathChangeReason",
    "verdicts",
}
PATH = {"kind", "transport", "strategy", "local", "remote", "rtt"}


def test_describe() -> None:
    """
    The fields of the contract are there in every state of a session, and are
    plain values.
    """
    pair = Pair(Scenario("portrestricted", "portrestricted", 1))
    pair.ready()
    opened = pair.a.open(pair.identityB.peerId, "echo")
    session = pair.a.peers.sessions[pair.identityB.peerId]
    told = []
    for seconds in (0.0, 0.06, 0.06, 3.0):
        pair.network.advance(seconds)
        told.append(describe(session))
    pair.network.runUntil(opened, 1.0)
    pair.stop()
    told.append(describe(session))
    for each in told:
        assert set(each) >= FIELDS
        assert set(each["path"]) >= PATH
        assert json.loads(json.dumps(each)) == each
    states = [each["state"] for each in told]
    assert states == ["signaling", "signaling", "checking", "direct", "closed"]
    direct = told[3]
    assert direct["path"]["kind"] == "direct"
    assert direct["path"]["strategy"] == "srflx"
    assert direct["path"]["remote"].startswith("192.0.2.10:")
    assert direct["path"]["rtt"] > 0.04
    assert 0 < direct["secondsToFirstByte"] <= direct["secondsToDirect"] < 1.0
    assert direct["bytesSent"] > 1000 < direct["bytesReceived"]
    [verdict] = [v for v in direct["verdicts"] if v["strategy"] == "checks"]
    assert verdict["outcome"] == "succeeded"
    text = why(session, "bob", None)["text"]
    assert text.startswith("There is no session with bob: ")


def test_textOf() -> None:
    """
    IPv6 hosts are put in brackets.
    """
    assert textOf(("192.0.2.1", 1)) == "192.0.2.1:1"
    assert textOf(("2001:db8::1", 1)) == "[2001:db8::1]:1"
