"""
Workers that live, and do nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from .workerprocess import Child

#: Seconds between two looks, in which a worker that is well says something.
LOOK: Final = 1.0
#: Looks after which a worker that has said nothing is ended.
HUNG: Final = 30


class Watch:
    """
    I end workers that are at work and say nothing any more: what the kernel has for
    them would wait for ever.

    I count looks and not seconds: whoever was held up with me has until the next look.
    """

    log = Logger()

    def __init__(self, clock: Any, children: Sequence[Child]) -> None:
        self._clock = clock
        self._children = children
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """
        Begin to look.
        """
        self._next = self._clock.callLater(LOOK, self._look)

    def stop(self) -> None:
        """
        Look no longer.
        """
        following, self._next = self._next, None
        if following is not None:
            following.cancel()

    def _look(self) -> None:
        self.start()
        for child in self._children:
            if not child.ready:
                # How long one takes to begin depends on the machine alone.
                continue
            child.silence += 1
            if child.silence == HUNG:
                self.log.warn(
                    "worker {number} has said nothing for {seconds:.0f} seconds; "
                    "it is killed",
                    number=child.number,
                    seconds=HUNG * LOOK,
                    event="worker-hung",
                )
                child.kill()
