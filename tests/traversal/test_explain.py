"""
Tests for L{punchd.traversal.explain}.
"""

from __future__ import annotations

import pytest

from punchd.traversal.explain import explain
from punchd.traversal.verdict import Outcome, Reason, Verdict


def checks(reason: Reason = Reason.NO_ANSWER, heardFrom: int = 0) -> Verdict:
    """
    Checks that failed.
    """
    evidence = {
        "checksSent": 40,
        "seconds": 8.0,
        "directPairs": 2,
        "heardFrom": heardFrom,
    }
    return Verdict("checks", Outcome.FAILED, reason, evidence)


RELAY = Verdict(
    "relay", Outcome.FAILED, Reason.RELAY_UNREACHABLE, {"text": "no answer"}
)


@pytest.mark.parametrize(
    "strategy",
    [
        "host",
        "srflx",
        "prflx",
        "mapped",
        "ipv6",
        "opener",
        "predicted",
        "spray",
        "tcp",
    ],
)
def test_direct(strategy: str) -> None:
    """
    A direct path needs one sentence, whatever failed before.
    """
    [line] = explain("bob", "direct", "direct", strategy, None, [checks()])
    assert line.startswith("The path to bob is direct (")


def test_relayed() -> None:
    """
    A relayed path comes with what was tried, and with what the user could do
    about a NAT like his.
    """
    lines = explain(
        "bob", "relayed", "relayed", "relay", "address-dependent", [checks()]
    )
    assert lines[0] == "The path to bob goes through the relay."
    assert "40 checks in 8.0 s" in lines[1]
    assert "--port" in lines[2]


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
    verdicts = [checks(heardFrom=heardFrom)]
    lines = explain("bob", "relayed", "relayed", "relay", mapping, verdicts)
    assert words in lines[-1]


def test_nothingAnswers() -> None:
    """
    Where neither relay nor peer answers, UDP is to blame.
    """
    lines = explain("bob", "checking", None, None, None, [checks(), RELAY])
    assert lines[0] == "There is no path to bob yet (checking)."
    assert "Relay: the relay did not answer (no answer)." in lines
    assert "drops it" in lines[-1]


def test_theLastVerdictCounts() -> None:
    """
    Of several verdicts on one strategy the last is told.
    """
    verdicts = [checks(), checks(Reason.NO_CANDIDATES)]
    lines = explain("bob", "relayed", "relayed", "relay", None, verdicts)
    assert len(lines) == 2
    assert Reason.NO_CANDIDATES.value in lines[1]


def test_ended() -> None:
    """
    A session that is over is said to be, with the reason.
    """
    lines = explain("bob", "closed", None, None, None, [], "It was idle.")
    assert lines == ["There is no session with bob: It was idle."]
