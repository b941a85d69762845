"""
Tests for L{punchd.traversal.explain}.
"""

from __future__ import annotations

from typing import Any

import pytest

from punchd.traversal.explain import Cause, Explanation, Situation, explain
from punchd.traversal.verdict import Outcome, Reason, Verdict
from punchd.traversal.words import ADVICE, REASONS, STRATEGIES


def failed(strategy: str, reason: Reason, **evidence: object) -> Verdict:
    """
    An attempt in vain.
    """
    return Verdict(strategy, Outcome.FAILED, reason, evidence)


def checks(reason: Reason = Reason.NO_ANSWER, heardFrom: int = 0) -> Verdict:
    """
    Checks that failed.
    """
    return failed(
        "checks",
        reason,
        checksSent=40,
        seconds=8.0,
        directPairs=2,
        heardFrom=heardFrom,
    )


def traversal(reason: Reason, ours: str = "random", theirs: str = "random") -> Verdict:
    """
    A traversal that failed.
    """
    return failed("traversal", reason, ours=ours, theirs=theirs)


RELAY = failed("relay", Reason.RELAY_UNREACHABLE, text="no answer")


def relayed(*verdicts: Verdict, **more: Any) -> Explanation:
    """
    @return: why a path is relayed.
    """
    found = {"state": "relayed", "kind": "relayed", "strategy": "relay", **more}
    return explain("bob", Situation(verdicts=verdicts, **found))


@pytest.mark.parametrize("strategy", [*STRATEGIES, "strange"])
def test_direct(strategy: str) -> None:
    """
    A direct path needs one sentence, whatever failed before.
    """
    found = explain(
        "bob",
        Situation(
            state="direct", kind="direct", strategy=strategy, verdicts=[checks()]
        ),
    )
    assert found.cause is Cause.DIRECT
    [line] = found.lines
    assert line.startswith("The path to bob is direct (")


def test_relayed() -> None:
    """
    A relayed path comes with what was tried, and with what the user could do
    about a NAT like his.
    """
    found = relayed(checks(), mapping="address-dependent")
    assert found.lines[0] == "The path to bob goes through the relay."
    assert "40 checks in 8.0 s" in found.lines[1]
    assert "--port" in found.lines[-1]
    over = relayed(checks(), transport="tls")
    assert "reached over TLS" in over.headline


@pytest.mark.parametrize(
    ("verdicts", "more", "cause", "words"),
    [
        ([], {"mode": "relay", "ourUdp": False}, Cause.RELAY_WANTED, "--path=relay"),
        (
            [checks()],
            {"ourUdp": False, "proxied": True, "theirUdp": False},
            Cause.PROXY_ONLY,
            "HTTP proxy",
        ),
        ([checks()], {"ourUdp": False}, Cause.UDP_BLOCKED_HERE, "Your network blocks"),
        (
            [checks(), traversal(Reason.NOT_MEASURED)],
            {"theirUdp": False},
            Cause.UDP_BLOCKED_THERE,
            "The peer's network blocks UDP",
        ),
        (
            [checks()],
            {"ourUdp": False, "theirUdp": False},
            Cause.UDP_BLOCKED_BOTH,
            "Both",
        ),
        (
            [checks(), traversal(Reason.OUT_OF_REACH, "random", "sequential")],
            {},
            Cause.OUT_OF_REACH,
            "cannot be opened by guessing",
        ),
        (
            [checks(), traversal(Reason.NOT_HIT, "sequential", "preserving")],
            {},
            Cause.NOT_HIT,
            "gives every destination the next port, the peer's keeps",
        ),
        (
            [checks(), traversal(Reason.OUT_OF_REACH, "block", "preserving")],
            {"sprays": False},
            Cause.NO_SPRAY,
            "--no-spray",
        ),
        # The peer leads, and does not spray.
        (
            [traversal(Reason.OUT_OF_REACH, "endpoint-independent", "random")],
            {},
            Cause.NO_SPRAY,
            "on one of the sides",
        ),
        # The peer follows, and does not.
        (
            [
                failed("spray", Reason.NOT_WANTED),
                traversal(Reason.NOT_HIT, "random", "preserving"),
            ],
            {},
            Cause.NO_SPRAY,
            "--no-spray",
        ),
        ([traversal(Reason.BUSY)], {}, Cause.BUSY, "behind the same public address"),
        (
            [traversal(Reason.PEER_SILENT, "random", "unknown")],
            {},
            Cause.PEER_SILENT,
            "took no part",
        ),
        ([checks(Reason.ONE_WAY)], {}, Cause.ONE_WAY, "full-size"),
        ([checks(Reason.NO_CANDIDATES)], {}, Cause.NO_CANDIDATES, "in common"),
        ([traversal(Reason.NOT_MEASURED)], {}, Cause.NOT_MEASURED, "nothing to aim"),
        (
            [failed("relay", Reason.NO_RELAY)],
            {"kind": None, "state": "checking"},
            Cause.NO_RELAY,
            "offers no relay",
        ),
        ([checks()], {}, Cause.UNANSWERED, "which of them is not known"),
        ([], {}, Cause.TRYING, "goes through the relay"),
        ([], {"kind": None, "state": "signaling"}, Cause.TRYING, "no path"),
        (
            [],
            {"kind": None, "state": "recovering", "left": True},
            Cause.PEER_LEFT,
            "leave",
        ),
        (
            [],
            {"kind": None, "state": "recovering", "connected": False},
            Cause.RENDEZVOUS_DOWN,
            "cannot be reached",
        ),
    ],
)
def test_causes(
    verdicts: list[Verdict], more: dict[str, Any], cause: Cause, words: str
) -> None:
    """
    The cause is what decides, not what was noticed last, and there is a sentence
    on it.
    """
    found = relayed(*verdicts, **more)
    assert found.cause is cause
    assert words in " ".join(found.lines)


@pytest.mark.parametrize(
    ("mapping", "heardFrom", "words"),
    [
        ("address-and-port-dependent", 0, "Your NAT gives every destination"),
        ("endpoint-independent", 0, "probably at the peer"),
        ("endpoint-independent", 2, "only one direction"),
        (None, 0, "which of them is not known"),
        (None, 2, "only one direction"),
    ],
)
def test_advice(mapping: str | None, heardFrom: int, words: str) -> None:
    """
    The advice follows from our NAT and from what arrived; nothing is claimed
    of a NAT that was not measured.
    """
    found = relayed(checks(heardFrom=heardFrom), mapping=mapping)
    assert words in " ".join(found.advice)


@pytest.mark.parametrize(
    ("ours", "theirs", "where"),
    [
        ("random", "random", "IPv6 here or at the peer would"),
        ("random", "sequential", "IPv6 here or at the peer would"),
        ("sequential", "preserving", "IPv6 here would"),
        ("endpoint-independent", "sequential", "IPv6 at the peer would"),
    ],
)
def test_whoseChange(ours: str, theirs: str, where: str) -> None:
    """
    The user is told on which side a change would help.
    """
    found = relayed(traversal(Reason.NOT_HIT, ours, theirs))
    assert where in found.advice[0]


def test_outlook() -> None:
    """
    What happens next is told: that something goes on, or when it will.
    """
    assert "being tried" in relayed(checks(), trying=True).outlook
    waiting = relayed(checks(), nextAttempt=12.3)
    assert waiting.outlook == "The next attempt begins in 12 s."
    assert relayed(checks(), mode="relay", trying=True).outlook == ""
    assert relayed(checks()).outlook == ""


def test_theLastVerdictCounts() -> None:
    """
    Of several verdicts on one strategy the last is told.
    """
    found = relayed(checks(), checks(Reason.NO_CANDIDATES))
    assert len(found.tried) == 1
    assert Reason.NO_CANDIDATES.value in found.tried[0]


def test_details() -> None:
    """
    What was tried is told with what it took, or with what was said.
    """
    spray = failed("spray", Reason.NOT_HIT, probes=1750, seconds=36.0)
    found = relayed(RELAY, spray)
    assert found.tried == (
        "Relay: the relay did not answer (no answer).",
        "Trying many ports: no probe met an open port of the other side"
        " (1750 packets in 36.0 s).",
    )


@pytest.mark.parametrize(("offline", "cause"), [(0, Cause.ENDED), (1, "peer-offline")])
def test_ended(offline: int, cause: Cause | str) -> None:
    """
    A session that is over is said to be, with the reason; a peer that is not there
    is another thing.
    """
    found = explain(
        "bob", Situation(state="closed", ended="It was idle.", offline=bool(offline))
    )
    assert found.lines[0] == "There is no session with bob: It was idle."
    assert cause in (found.cause, found.cause.value)
    assert ("--allow" in " ".join(found.advice)) is bool(offline)


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"hairpin": False}, Cause.NO_HAIRPIN),
        ({}, Cause.NO_HAIRPIN),
        ({"hairpin": True}, Cause.NOT_HIT),
        ({"ourUdp": False}, Cause.UDP_BLOCKED_HERE),
    ],
)
def test_oneNat(more: dict[str, Any], cause: Cause) -> None:
    """
    Two behind one NAT are told that it keeps them apart, unless it is known not to.
    """
    missed = traversal(Reason.NOT_HIT, "preserving", "preserving")
    found = relayed(checks(), missed, sameNat=True, **more)
    assert found.cause is cause
    assert ("guests" in " ".join(found.advice)) is (cause is Cause.NO_HAIRPIN)
    # Before checks have ended, nobody knows.
    assert relayed(sameNat=True).cause is Cause.TRYING


def test_exhausted() -> None:
    """
    A session that ended for want of a path is explained like one that has none.
    """
    situation = Situation(
        state="closed",
        ended="No path.",
        exhausted=True,
        ourUdp=False,
        verdicts=[checks(), RELAY],
    )
    found = explain("bob", situation)
    assert found.cause is Cause.UDP_BLOCKED_HERE
    assert found.lines[0] == "There is no session with bob: No path."
    assert len(found.tried) == 2


def test_everyCauseHasWords() -> None:
    """
    Every cause but those that the first sentence says all of has a sentence.
    """
    assert set(REASONS) == set(Cause) - {Cause.DIRECT, Cause.ENDED}
    assert set(ADVICE) <= set(REASONS)
