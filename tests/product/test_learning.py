"""
What got through between two networks is tried first the next time.
"""

from __future__ import annotations

import pytest

from punchd.errors import SessionLost
from punchd.services.memory import Lesson, Memory
from punchd.session.session import Session
from punchd.testing.pair import Pair
from punchd.traversal.verdict import Outcome, Reason, Verdict
from tests.product.talk import firstByte, product

_A, _B = "198.51.100.0/24", "192.0.2.0/24"


def _dial(pair: Pair) -> tuple[Session, float, int, int]:
    """
    Dial, wait until both sides are direct, and end the session.

    @return: the session, the seconds until it was direct, the checks of both
        sides, and all the UDP packets that left the hosts.
    """
    capture = pair.network.capture(
        matches=lambda r: r.protocol == "udp" and r.where != "rendezvous"
    )
    firstByte(pair)
    pair.network.runUntil(lambda: pair.kinds() == ("direct", "direct"), 60.0)
    pair.network.advance(0.5)
    sessions = pair.sessions()
    packets = len(capture.stop())
    checks = 0
    for session in sessions:
        assert session.carrier.agent is not None
        checks += session.carrier.agent.checksSent
    seconds = sessions[0].secondsToDirect
    assert seconds is not None
    sessions[0].stop(SessionLost("enough"))
    # The budget is whole again, the survey over.
    pair.network.advance(60.0)
    return sessions[0], seconds, checks, packets


@pytest.mark.parametrize(
    "kinds", [("portrestricted", "sequential"), ("sequential", "sequential")]
)
def test_secondDialIsFaster(kinds: tuple[str, str]) -> None:
    """
    The second dial reaches a direct path sooner than the first, with fewer checks
    and no more packets: nothing is measured again, and no failure is waited for.
    """
    with product(*kinds) as pair:
        # The survey of the NAT comes after the first dial.
        first, slow, checks, packets = _dial(pair)
        second, fast, fewer, less = _dial(pair)
        assert first.attempts.learning.toDict() is None
        assert second.attempts.learning.toDict() == {
            "strategy": "predicted",
            "times": 1,
        }
        assert fast < slow - 0.05
        assert fewer < checks
        assert less <= packets


def test_rolesChange() -> None:
    """
    The side that was dialled has learned as well.
    """
    with product("portrestricted", "sequential") as pair:
        pair.network.advance(30.0)
        _dial(pair)
        lesson = pair.b.memory.lesson(_B, _A)
        assert lesson is not None
        assert (lesson.strategy, lesson.ourNat) == ("predicted", "sequential")


def test_survivesRestart() -> None:
    """
    Clients that are started anew know it from the state folder.
    """
    saved: list[bytes] = []

    def memory() -> Memory:
        return Memory(lambda: 1e9, lambda: saved[-1] if saved else None, saved.append)

    options = {"memory": memory()}
    with product("portrestricted", "sequential", options=options) as pair:
        _, slow, _, _ = _dial(pair)
        for client in (pair.a, pair.b):
            pair.network.runUntil(client.stopService(), 10.0)
        pair.options["memory"] = memory()
        pair.a = pair.startClient(pair.scenario.hostA, pair.identityA)
        pair.b = pair.startClient(pair.scenario.hostB, pair.identityB)
        pair.ready()
        session, fast, _, _ = _dial(pair)
        assert session.attempts.learning.toDict() is not None
        assert fast < slow - 0.05


def test_itIsTold() -> None:
    """
    C{punchd why} and C{status} say that it was learnt.
    """
    with product("portrestricted", "sequential") as pair:
        pair.network.advance(30.0)
        _dial(pair)
        firstByte(pair)
        pair.network.runUntil(lambda: pair.kinds() == ("direct", "direct"), 10.0)
        described = pair.a.status()["sessions"][0]
        assert described["learnt"] == {"strategy": "predicted", "times": 1}
        text = pair.a.why(pair.identityB.peerId)["text"]
        assert "'predicted' got through once before, so it was tried first" in text


def test_wrongLesson() -> None:
    """
    What cannot get through is not tried because it once did: the NAT is another
    one now.
    """
    with product("portrestricted", "block1024") as pair:
        pair.network.advance(30.0)
        pair.a.memory.noteLesson(
            Lesson(_A, _B, "endpoint-independent", "sequential", "predicted")
        )
        session, _, _, _ = _dial(pair)
        tried = {each.strategy for each in session.verdicts}
        assert "predicted" not in tried
        lesson = pair.a.memory.lesson(_A, _B)
        assert lesson is not None
        assert (lesson.strategy, lesson.theirNat) == ("spray", "block")


def test_failureIsUnlearnt() -> None:
    """
    What was tried first in vain is forgotten; what somebody else was in the way of
    is not.
    """
    with product("portrestricted", "sequential") as pair:
        pair.network.advance(30.0)
        _dial(pair)
        firstByte(pair)
        pair.network.advance(2.0)
        session = pair.sessions()[0]
        for reason, kept in ((Reason.BUSY, True), (Reason.NOT_HIT, False)):
            session.noteVerdict(Verdict("predicted", Outcome.FAILED, reason, {}))
            known = pair.a.memory.lesson(_A, _B)
            assert (known is not None) is kept
            assert (session.attempts.learning.toDict() is not None) is kept


def test_plainChecks() -> None:
    """
    Where checks alone get through there is nothing to hurry, but it is known.
    """
    with product("portrestricted", "portrestricted") as pair:
        _dial(pair)
        session, _, _, _ = _dial(pair)
        assert session.attempts.learning.toDict() is None
        lesson = pair.a.memory.lesson(_A, _B)
        assert lesson is not None
        assert (lesson.strategy, lesson.times) == ("srflx", 2)
