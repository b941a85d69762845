"""
Workers that live, and do nothing.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from punchd.services.workerprocess import QUIET, Child
from punchd.services.workerwatch import HUNG, LOOK, Watch


class _Process:
    def __init__(self) -> None:
        self.signals: list[str] = []

    def signalProcess(self, name: str) -> None:
        """
        Keep it.
        """
        self.signals.append(name)


class _Exited(_Process):
    def signalProcess(self, name: str) -> None:
        """
        As Twisted's.
        """
        super().signalProcess(name)
        raise ProcessExitedAlready


def _children(count: int) -> list[Any]:
    children: list[Any] = [Child(number) for number in range(1, count + 1)]
    for each in children:
        each.process = _Process()
    return children


def test_hangs() -> None:
    """
    A worker that says nothing is given nothing soon, and killed later, once; one that
    does say something, and one that is not at work yet, are left alone.
    """
    clock = Clock()
    hung, well, new = children = _children(3)
    hung.ready = well.ready = True
    watch = Watch(clock, children)
    watch.start()
    with capturedLogs() as events:
        for look in range(1, HUNG + 3):
            clock.advance(LOOK)
            well.silence = 0
            assert hung.answers is (look < QUIET)
            assert hung.process.signals == (["KILL"] if look >= HUNG else [])
    assert well.answers and not new.answers
    assert well.process.signals == new.process.signals == []
    assert [each["number"] for each in events] == [1]
    watch.stop()
    assert not clock.getDelayedCalls()


def test_exitedAlready() -> None:
    """
    One that the reactor has seen end, and whose output it still reads, may be killed
    again: its pipe breaks in the same turn.
    """
    (child,) = _children(1)
    child.process = asked = _Exited()
    child.kill()
    assert asked.signals == ["KILL"]


def test_heldUpTogether() -> None:
    """
    When the first process was held up itself, workers have not been silent for long.
    """
    clock = Clock()
    (child,) = children = _children(1)
    child.ready = True
    Watch(clock, children).start()
    clock.advance(2 * HUNG * LOOK)
    assert child.answers and child.process.signals == []
