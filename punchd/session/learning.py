"""
Trying first what was successful the last time between two networks.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final, Protocol

from punchd.nat.model import PortModel
from punchd.traversal.coordinator import Coordinator
from punchd.traversal.verdict import Outcome, Reason, Verdict

if TYPE_CHECKING:
    from .session import Session

#: What plain checks find by themselves: there is nothing to hurry.
_PLAIN: Final = ("host", "srflx", "prflx", "ipv6", "mapped")
#: A strategy that ends so is not what gets through here any more.
_WRONG: Final = (Reason.NOT_HIT, Reason.NOT_CONNECTED)


class Lesson(Protocol):
    """
    What got through.

    @ivar strategy: its name.
    @ivar times: how often.
    """

    strategy: str
    times: int


class Lessons(Protocol):
    """
    What was learned; L{punchd.services.teaching.Teaching}.
    """

    def recall(self, hosts: Collection[str]) -> Lesson | None:
        """
        @param hosts: where the rendezvous sees the peer.

        @return: what got through between its network and the one we are in.
        """

    def model(self) -> PortModel | None:
        """
        @return: how our NAT chooses ports, if that was measured lately.
        """

    def learn(
        self,
        hosts: Collection[str],
        strategy: str,
        ourNat: str,
        theirNat: str,
        seconds: float,
    ) -> None:
        """
        This got through.
        """

    def unlearn(self, lesson: Any) -> None:
        """
        It did not, this time.
        """


class Learning:
    """
    I join what was learned with one session.

    @ivar lesson: what was tried first because of it.
    """

    def __init__(self, session: Session) -> None:
        self.lesson: Lesson | None = None
        self._session = session
        self._coordinator: Coordinator | None = None

    def recall(self, coordinator: Coordinator) -> bool:
        """
        An attempt is about to begin.

        @return: whether it need not wait for the plain checks to fail.
        """
        lessons = self._session.context.lessons
        if lessons is None:
            return False
        lesson = lessons.recall(self._session.exchange.hosts)
        if lesson is None or lesson.strategy in _PLAIN:
            return False
        self.lesson, self._coordinator = lesson, coordinator
        coordinator.preferred = lesson.strategy
        model = lessons.model()
        if model is not None:
            coordinator.measuring.recall(model, self._session.context.clock.seconds())
        return True

    def verdict(self, verdict: Verdict) -> None:
        """
        An attempt has ended.
        """
        session, lesson = self._session, self.lesson
        lessons = session.context.lessons
        evidence = verdict.evidence
        if lessons is None:
            return
        if verdict.outcome is Outcome.SUCCEEDED:
            # Checks say what they found, strategies are called by their names.
            plain = evidence.get("path") if verdict.strategy == "checks" else ""
            strategy = str(plain or verdict.strategy)
            if strategy not in ("relay", "restart", "checks"):
                lessons.learn(
                    session.exchange.hosts,
                    strategy,
                    str(evidence.get("ours", "")),
                    str(evidence.get("theirs", "")),
                    session.secondsToDirect or 0.0,
                )
        elif lesson and verdict.strategy == lesson.strategy:
            if verdict.reason in _WRONG and self._coordinator is not None:
                lessons.unlearn(lesson)
                self.lesson = None
                # The NAT may be another one than was remembered.
                self._coordinator.moved()

    def toDict(self) -> dict[str, Any] | None:
        """
        @return: what C{punchd status} tells.
        """
        lesson = self.lesson
        if lesson is None:
            return None
        return {"strategy": lesson.strategy, "times": lesson.times}

    def sentences(self) -> list[str]:
        """
        @return: what C{punchd why} tells.
        """
        lesson = self.lesson
        if lesson is None:
            return []
        times = "once" if lesson.times == 1 else f"{lesson.times} times"
        return [
            f"Between these two networks {lesson.strategy!r} got through {times}"
            " before, so it was tried first."
        ]
